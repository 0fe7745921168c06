"""Agents that use boto3, under `noclobber run`: the race is found, its safe twin is silent and defended."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judging_agents
import pytest
from moto_stage import aws, client

AGENT = Path(__file__).parent / "agents" / "cloud.py"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that keeps what the agents share."""
    with aws() as found:
        s3 = client("s3", found)
        for bucket in ("agents", "agents-versioned"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_bucket_versioning(Bucket="agents-versioned", VersioningConfiguration={"Status": "Enabled"})
        for bucket in ("agents", "agents-versioned"):
            s3.put_object(Bucket=bucket, Key="balance.json", Body=b'{"balance": 100}')
        s3.close()
        dynamodb = client("dynamodb", found)
        dynamodb.create_table(
            TableName="accounts", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )  # fmt: skip
        keys = ("lock_key", "HASH"), ("sort_key", "RANGE")
        dynamodb.create_table(
            TableName="locks", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        )  # fmt: skip
        for name in ("acct-1", "acct-2", "acct-3", "acct-4"):
            start = {"id": {"S": name}, "balance": {"N": "10000100"}, "version": {"N": "10000001"}}
            dynamodb.put_item(TableName="accounts", Item=start)
        dynamodb.close()
        sqs = client("sqs", found)
        sqs.create_queue(QueueName="tasks")
        sqs.close()
        yield found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judged(file: Path, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the agents, then `noclobber check`: findings and summary."""
    agent = run("run", "--file", str(file), "--file-only", "--", sys.executable, str(AGENT), *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    assert '"noclobber.botocore"' in file.read_text()
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert last["summary"]["coverage"] == {"lost_spans": 0, "partial": 0}
    return findings, last["summary"]


@pytest.mark.parametrize(
    ("service", "resource", "certainty"),
    [
        ("s3", "s3://agents/balance.json", "likely"),
        ("versioned", "s3://agents-versioned/balance.json", "certain"),
        ("dynamodb", "dynamodb://eu-west-1/accounts/id=acct-1", "likely"),
    ],
)
def test_race_and_twin(service: str, resource: str, certainty: str, url: str, tmp_path: Path) -> None:
    """One line of difference in the agents, and nothing of noclobber in them."""
    (finding,), _ = judged(tmp_path / "plain.jsonl", service, "plain", url)
    assert (finding["kind"], finding["certainty"], finding["resource"]) == ("lost_update", certainty, resource)
    findings, summary = judged(tmp_path / "safe.jsonl", service, "safe", url)
    assert findings == []
    assert summary["defended"] == {"rejected": 1}


def test_transactions_and_twin(url: str, tmp_path: Path) -> None:
    """A transaction is all or none, and yet both of its items lose an update; with conditions both are refused."""
    plain = judging_agents.judged(tmp_path / "plain.jsonl", "cloud.py", "transaction", "plain", url, scope="botocore")
    assert plain.kinds == [("lost_update", "likely")] * 2
    assert {each["resource"] for each in plain.findings} == {
        f"dynamodb://eu-west-1/accounts/id={name}" for name in ("acct-2", "acct-3")
    }
    safe = judging_agents.judged(tmp_path / "safe.jsonl", "cloud.py", "transaction", "safe", url, scope="botocore")
    assert (safe.findings, safe.summary["defended"]) == ([], {"rejected": 2})
    assert plain.printed == safe.printed == ""


def test_lock_and_twin(url: str, tmp_path: Path) -> None:
    """Who takes python-dynamodb-lock's lock waits for the other, and is defended by it; its items are no accesses."""
    plain = judging_agents.judged(tmp_path / "plain.jsonl", "cloud.py", "locked", "plain", url, scope="botocore")
    assert plain.kinds == [("lost_update", "likely")]
    scope = "python_dynamodb_lock"
    safe = judging_agents.judged(tmp_path / "safe.jsonl", "cloud.py", "locked", "safe", url, scope=scope)
    assert (safe.findings, "lock" in safe.summary["defended"]) == ([], True)
    named = [line for line in safe.spans.splitlines() if "dynamodb://eu-west-1/locks/" in line]
    assert named
    assert '"write aws.dynamodb"' in safe.spans
    assert "dynamodb://eu-west-1/locks/lock_key=acct-4,sort_key=-" in safe.spans


def test_two_workers_and_one_task(url: str, tmp_path: Path) -> None:
    """A task whose lease ran out is counted twice; with a lease that lasts it is handed out once."""
    sqs = client("sqs", url)
    queue = sqs.get_queue_url(QueueName="tasks")["QueueUrl"]
    found = []
    for how in ("plain", "safe"):
        sqs.send_message(QueueUrl=queue, MessageBody="an order")
        findings, _ = judged(tmp_path / f"{how}.jsonl", "sqs", how, url)
        found.append([(each["kind"], each["certainty"]) for each in findings])
    sqs.close()
    assert found == [[("duplicate_delivery", "certain")], []]
