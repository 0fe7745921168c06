"""S3 through boto3 against a real server: versions, guards, outcomes, and nothing that would give a secret away."""

import base64
import functools
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError, EndpointResolutionError, ParamValidationError, ReadTimeoutError
from driver_stage import TIMEOUT_S, findings, judged, together
from moto_stage import KEY_ID, SECRET, aws, client
from within import in_its_thread

from noclobber import testing, versions
from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

BUCKETS = ("plain", "versioned")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own."""
    with aws() as found:
        yield found


@pytest.fixture
def s3(url: str) -> Iterator[Any]:
    """A client, and both buckets with one object each."""
    made = client("s3", url)
    for bucket in BUCKETS:
        made.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    made.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    for bucket in BUCKETS:
        made.put_object(Bucket=bucket, Key="plan.json", Body=b'{"balance": 100}')
    yield made
    made.close()
    import urllib.request

    reset = urllib.request.Request(f"{url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=TIMEOUT_S).close()


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        tuple(each.get(f"noclobber.{name}") for name in ("op", "resource", "outcome", *more))
        for each in captured.accesses
    ]


def printed(etag: str) -> str:
    before = versions.use_key(testing.KEY)
    try:
        return versions.fingerprint(etag.strip('"').encode())
    finally:
        versions.use_key(before)


def test_get_and_put_whole(s3: Any) -> None:
    """A read and the write after it, attribute by attribute; the body is still there to be read."""
    with capture(agent="planner") as captured:
        got = s3.get_object(Bucket="plain", Key="plan.json")
        put = s3.put_object(Bucket="plain", Key="plan.json", Body=b'{"balance": 150}')
        read, write = captured.accesses
    assert got["Body"].read() == b'{"balance": 100}'
    common = {
        "noclobber.resource": "s3://plain/plan.json",
        "noclobber.system": "aws.s3",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.version.kind": "fingerprint",
        "code.function.name": "test_get_and_put_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.size": 16,
        "noclobber.version.read": printed(got["ETag"]),
        "db.operation.name": "GetObject",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.version.written": printed(put["ETag"]),
        "noclobber.version.base": printed(got["ETag"]),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "db.operation.name": "PutObject",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write aws.s3", "botocore")


@pytest.mark.parametrize("bucket", BUCKETS)
def test_conditions(s3: Any, bucket: str) -> None:
    """If-Match gives the base, and a refusal is told as such; a VersionId is the version where there is one."""
    with capture() as captured:
        got = s3.get_object(Bucket=bucket, Key="plan.json")
        made = s3.put_object(Bucket=bucket, Key="plan.json", Body=b"something else", IfMatch=got["ETag"])
        for conditions in ({"IfMatch": got["ETag"]}, {"IfNoneMatch": "*"}):
            with pytest.raises(ClientError):
                s3.put_object(Bucket=bucket, Key="plan.json", Body=b"something more", **conditions)
        with pytest.raises(ClientError):
            s3.put_object(Bucket=bucket, Key="missing", Body=b"something more", IfMatch=got["ETag"])
    read, write = (
        (printed(got["ETag"]), printed(made["ETag"])) if bucket == "plain" else (got["VersionId"], made["VersionId"])
    )
    names = ("version.read", "version.expected", "version.base", "version.base.source", "version.written", "guard")
    plan = f"s3://{bucket}/plan.json"
    assert told(captured, *names)[:4] == [
        ("read", plan, "ok", read, None, None, None, None, None),
        ("write", plan, "ok", None, read, read, "explicit", write, "version"),
        ("write", plan, "rejected", None, read, read, "explicit", None, "version"),
        ("write", plan, "rejected", None, None, None, None, None, "unique"),
    ]
    assert told(captured, "guard")[4] == ("write", f"s3://{bucket}/missing", "rejected", "version")
    kind = "fingerprint" if bucket == "plain" else "chain"
    assert {each["noclobber.version.kind"] for each in captured.accesses[:3]} == {kind}


TABLE: list[tuple[Callable[[Any], Any], list[tuple[str, ...]]]] = [
    (lambda c: c.head_object(Bucket="plain", Key="plan.json"), [("read", "s3://plain/plan.json", "ok")]),
    (lambda c: c.get_object(Bucket="plain", Key="no"), [("read", "s3://plain/no", "not_found")]),
    (lambda c: c.head_object(Bucket="plain", Key="no"), [("read", "s3://plain/no", "not_found")]),
    (lambda c: c.get_object(Bucket="nowhere", Key="no"), [("read", "s3://nowhere/no", "error")]),
    (lambda c: c.put_object(Bucket="plain", Key=7), []),
    (lambda c: c.put_object(Bucket="plain", Key="a b/", Body=b""), [("write", "s3://plain/a%20b%2F", "ok")]),
    (lambda c: c.delete_object(Bucket="plain", Key="plan.json"), [("delete", "s3://plain/plan.json", "ok")]),
    (
        lambda c: c.delete_objects(Bucket="plain", Delete={"Objects": [{"Key": "plan.json"}, {"Key": "no"}]}),
        [("delete", "s3://plain/plan.json", "ok"), ("delete", "s3://plain/no", "ok")],
    ),
    (
        lambda c: c.copy_object(Bucket="plain", Key="copy", CopySource="versioned/plan.json"),
        [("read", "s3://versioned/plan.json", "ok"), ("write", "s3://plain/copy", "ok")],
    ),
    (lambda c: c.list_objects_v2(Bucket="plain", Prefix="p"), [("scan", "s3://plain/", "ok")]),
    (lambda c: c.list_buckets(), []),
]


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_operations(s3: Any, number: int) -> None:
    """What each operation is, whether it raises or not; one that is no access is none."""
    act, expected = TABLE[number]
    with capture() as captured:
        try:
            act(s3)
        except (ClientError, ParamValidationError, EndpointResolutionError):
            assert not any(each[2] == "ok" for each in expected)
        assert told(captured) == expected


def test_old_versions(s3: Any) -> None:
    """What a named old version was says nothing of what is there now."""
    with capture() as captured:
        first = s3.get_object(Bucket="versioned", Key="plan.json")["VersionId"]
        second = s3.put_object(Bucket="versioned", Key="plan.json", Body=b"a second one")["VersionId"]
        s3.get_object(Bucket="versioned", Key="plan.json", VersionId=first)
        s3.put_object(Bucket="versioned", Key="plan.json", Body=b"a third one")
        s3.delete_object(Bucket="versioned", Key="plan.json", VersionId=first)
        _, _, old, write, removed = captured.accesses
    assert old["noclobber.resource"] == f"s3://versioned/plan.json?versionId={first}"
    assert write["noclobber.version.base"] == second
    assert (removed["noclobber.op"], removed["noclobber.partial"]) == ("update", True)


def test_not_modified(s3: Any) -> None:
    """A read that is told that nothing changed has read, and tells no version: which one it knew is not known here."""
    etag = s3.head_object(Bucket="plain", Key="plan.json")["ETag"]
    with capture() as captured:
        with pytest.raises(ClientError):
            s3.get_object(Bucket="plain", Key="plan.json", IfNoneMatch=etag)
        assert told(captured, "version.read") == [("read", "s3://plain/plan.json", "ok", None)]


def test_a_transfer_of_many_parts(s3: Any) -> None:
    """boto3's managed transfers are one write, and the thread that made it has what its caller knew."""
    with capture() as captured:
        s3.get_object(Bucket="plain", Key="plan.json")
        s3.upload_fileobj(io.BytesIO(b"x" * 9_000_000), "plain", "plan.json")
        read, write = [each for each in captured.accesses if each["noclobber.op"] != "join"]
    assert (write["noclobber.op"], write["db.operation.name"]) == ("write", "CompleteMultipartUpload")
    assert write["noclobber.version.base"] == read["noclobber.version.read"]


def test_a_timeout_is_unknown() -> None:
    """A server that takes the request and never answers: it may have been applied."""
    import boto3
    from botocore.config import Config

    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}", region_name="eu-west-1",
            aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=0.2),
        )  # fmt: skip
        with capture() as captured, pytest.raises(ReadTimeoutError):
            mute.put_object(Bucket="plain", Key="plan.json", Body=b"who knows")
        mute.close()
        assert told(captured, "version.written") == [("write", "s3://plain/plan.json", "unknown", None)]


def book(s3: Any, bucket: str, amount: int, read: threading.Barrier, *, guarded: bool) -> None:
    got = s3.get_object(Bucket=bucket, Key="plan.json")
    balance = int(got["Body"].read().split(b":")[1].rstrip(b"}"))
    read.wait(TIMEOUT_S)
    while True:
        body = b'{"balance": %d}' % (balance + amount)
        try:
            conditions = {"IfMatch": got["ETag"]} if guarded else {}
            s3.put_object(Bucket=bucket, Key="plan.json", Body=body, **conditions)
            return
        except ClientError:
            got = s3.get_object(Bucket=bucket, Key="plan.json")
            balance = int(got["Body"].read().split(b":")[1].rstrip(b"}"))


@pytest.mark.parametrize("bucket", BUCKETS)
def test_race_and_twin(s3: Any, bucket: str, tmp_path: Path) -> None:
    """Two agents add to one object: the second put loses the first one; with If-Match it is refused and tries again."""
    read = threading.Barrier(2)
    with capture(fixed=False) as captured:
        together(*(functools.partial(book, s3, bucket, each, read, guarded=False) for each in (50, -20)))
    certainty = "certain" if bucket == "versioned" else "likely"
    assert findings(captured, tmp_path) == [("lost_update", certainty)]
    with capture(fixed=False) as captured:
        together(*(functools.partial(book, s3, bucket, each, read, guarded=True) for each in (50, -20)))
    result = judged(captured, tmp_path)
    assert list(result.findings) == []
    assert [str(each.reason) for each in result.defended] == ["rejected"]


def test_secrets_stay(s3: Any) -> None:
    """Neither bodies nor credentials are in what is sent, in no form; nor is an ETag, which is an unkeyed hash."""
    body = b"planted body: hunter2 and more"
    with capture() as captured:
        put = s3.put_object(Bucket="plain", Key="plan.json", Body=body, Metadata={"note": "planted-note"})
        s3.get_object(Bucket="plain", Key="plan.json")["Body"].read()
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in (body.decode(), KEY_ID, SECRET, "planted-note", put["ETag"].strip('"')):
        raw = secret.encode()
        for form in (secret, base64.b64encode(raw).decode(), raw.hex(), quote(secret, safe="")):
            assert form not in sent


def test_what_a_recorded_call_does_in_its_thread(s3: Any) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        in_its_thread(lambda: s3.get_object(Bucket="plain", Key="plan.json"))
        assert captured.accesses == []
        s3.get_object(Bucket="plain", Key="plan.json")
        assert [each["noclobber.op"] for each in captured.accesses] == ["read"]
