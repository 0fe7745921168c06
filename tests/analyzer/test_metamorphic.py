"""Metamorphic tests: told in another order, other portions, another form or under other names, it is the same story.

They are asked of a story for every kind, and of generated histories into which every kind was injected that the
generator knows (`NOCLOBBER_HISTORIES`), by four kinds of versions, with locks, guards, loss and lateness.
"""

import base64
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from every_kind import STORIES, Told
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber.contract import FRONTIER_END, Certainty, Kind, Op
from noclobber_analyzer.access import Access, Mark
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.kinds import KINDS
from noclobber_analyzer.otlp_files import read_otlp

Shape = list[tuple[Any, ...]]


def _judge(story: Told, accesses: Sequence[Access]) -> Evaluation:
    builder = HistoryBuilder(story.declarations)
    for access in accesses:
        builder.add(changed(access), access.name)
    for number, process in enumerate({a.process.id: a.process for a in accesses}.values()):
        builder.add(Mark(process, FRONTIER_END, None, 0, 10**19), (f"{number:032x}", "f" * 16))
    return evaluate(builder.finish(ended=True), declarations=story.declarations, latent=True)


def _shape(evaluation: Evaluation) -> Shape:
    """Findings without names: kinds, how sure, and which access plays which role."""
    return sorted(
        (str(f.kind), *map(str, f.also), str(f.certainty), f.manifest, *sorted((a.span_id, a.role) for a in f.accesses))
        for f in evaluation.findings
    )


def _told(kind: Kind) -> tuple[Told, list[Access], Evaluation]:
    story = STORIES[kind]
    accesses = story.accesses()
    return story, accesses, _judge(story, accesses)


every_kind = pytest.mark.parametrize("kind", STORIES, ids=str)


def test_there_is_a_story_for_every_kind() -> None:
    """No kind is left out."""
    assert STORIES.keys() == set(KINDS)


@every_kind
def test_story(kind: Kind) -> None:
    """The story yields its kind."""
    _, _, judged = _told(kind)
    assert kind in {each for finding in judged.findings for each in (finding.kind, *finding.also)}


@every_kind
def test_arrival_and_repetition(kind: Kind) -> None:
    """Any order of arrival, and everything three times: the same, ids and all."""
    story, accesses, judged = _told(kind)
    for seed in range(5):
        arrived = accesses * 3
        random.Random(seed).shuffle(arrived)
        assert _judge(story, arrived) == judged


def _other(name: str) -> str:
    """Another name, that sorts anyhow."""
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def _elsewhere(resource: str) -> str:
    """Another resource: each part of its path has another name; a lock's token stays."""
    scheme, _, path = resource.partition("://")
    path, at, token = path.partition("#")
    return f"{scheme}://" + "/".join(_other(part) if part else "" for part in path.split("/")) + at + token


def _renamed(access: Access) -> Access:
    def known(name: str | None) -> str | None:
        return None if name is None else _other(name)

    lock, scan = access.lock, access.scan
    return changed(
        access,
        trace_id=hashlib.blake2b(access.trace_id.encode(), digest_size=16).hexdigest(),
        agent=_other(access.agent), strand=_other(access.strand), unit=_other(access.unit), run=known(access.run),
        step=known(access.step), txn_id=known(access.txn_id), strand_parent=known(access.strand_parent),
        base_strand=known(access.base_strand), strand_other=known(access.strand_other),
        resource=_elsewhere(access.resource), locks=tuple(map(_elsewhere, access.locks)),
        waits_for=tuple(map(_other, access.waits_for)),
        lock=lock and msgspec.structs.replace(lock, owner=known(lock.owner)),
        scan=scan and msgspec.structs.replace(scan, resources=tuple(map(_elsewhere, scan.resources))),
        process=msgspec.structs.replace(
            access.process, id=_other(access.process.id), clock=known(access.process.clock),
            host=known(access.process.host),
        ),
    )  # fmt: skip


@every_kind
def test_names_mean_nothing(kind: Kind) -> None:
    """Other names of everything: the same kinds, as sure, and the same accesses in the same roles."""
    story, accesses, judged = _told(kind)
    assert _shape(_judge(story, list(map(_renamed, accesses)))) == _shape(judged)


@every_kind
def test_less_is_never_surer(kind: Kind) -> None:
    """Without one of its spans nothing is certain that was not, unless it was what ended a transaction or a life.

    That somebody made what nobody is known to have made is so all the more.
    """
    story, accesses, judged = _told(kind)
    known = {(each, a.span_id) for f in judged.findings if f.certainty is Certainty.CERTAIN
             for each in (f.kind, *f.also) for a in f.accesses}  # fmt: skip
    for gone in accesses:
        if gone.op in (Op.COMMIT, Op.ABORT, Op.DELETE, Op.BEGIN):
            continue
        fewer = [access for access in accesses if access is not gone]
        for finding in _judge(story, fewer).findings if fewer else ():
            told = any((finding.kind, access.span_id) in known for access in finding.accesses)
            unmade = finding.kind is Kind.UNKNOWN_WRITER
            assert finding.certainty is not Certainty.CERTAIN or told or unmade, (gone.span_id, finding.explanation)


LESS: dict[str, Callable[[Access], Access]] = {
    "overwritten": lambda a: changed(a, overwritten=None),
    "clock": lambda a: changed(a, process=msgspec.structs.replace(a.process, clock=None, host=None)),
    "base source": lambda a: changed(a, base_source="remembered" if a.base_source else None),
    "all of it": lambda a: changed(a, partial=True),
    "message": lambda a: changed(a, message=None),
    "unit": lambda a: changed(a, unit=a.strand, unit_kind=None, step=None, txn_id=None, isolation=None)
    if a.txn_id is None else a,
}  # fmt: skip


@every_kind
@pytest.mark.parametrize("what", LESS)
def test_less_told_is_no_new_certainty(kind: Kind, what: str) -> None:
    """An attribute that is not recorded makes nothing certain that was not."""
    story, accesses, judged = _told(kind)
    known = {(each, a.span_id) for f in judged.findings if f.certainty is Certainty.CERTAIN
             for each in (f.kind, *f.also) for a in f.accesses}  # fmt: skip
    for finding in _judge(story, list(map(LESS[what], accesses))).findings:
        told = any((finding.kind, access.span_id) in known for access in finding.accesses)
        assert finding.certainty is not Certainty.CERTAIN or told, finding.explanation


# Files

FOLDER = os.environ.get("NOCLOBBER_HISTORIES")
generated = pytest.mark.skipif(not FOLDER, reason="NOCLOBBER_HISTORIES names no folder with the generator")
INJECTED = (
    "lost_update", "dirty_read", "intermediate_read", "stale_read", "non_repeatable_read", "write_skew", "phantom_read",
    "fork", "lock_violation", "double_claim", "duplicate_effect", "out_of_order",
)  # fmt: skip
HISTORIES = {
    "counter": ("--versions", "counter", "--mode", "txn", "--guarded", "0.3", "--locked", "0.3"),
    "chain": ("--versions", "chain", "--mode", "single", "--late", "5", "--duplicate", "0.2"),
    "fingerprint": ("--versions", "fingerprint", "--mode", "txn", "--loss", "0.02", "--hosts", "3", "--skew", "50"),
    "none": ("--versions", "none", "--mode", "single", "--locked", "0.3"),
}


@pytest.fixture(scope="module", params=HISTORIES)
def lines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The requests of a generated history that holds every kind that the generator injects."""
    base = tmp_path_factory.mktemp("generated") / "h"
    words = [word for kind in INJECTED for word in ("--inject", f"{kind}=1")]
    subprocess.run(
        [sys.executable, str(Path(str(FOLDER)) / "generate.py"), "--out", str(base), "--seed", "11", "--ops", "400",
         "--strands", "8", "--resources", "16", *words, *HISTORIES[request.param]],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return [json.loads(line) for line in Path(f"{base}.otlp.jsonl").read_text().splitlines()]


def _written(folder: Path, requests: Iterable[dict[str, Any]]) -> Evaluation:
    path = folder / "h.jsonl"
    path.write_text("".join(f"{json.dumps(request)}\n" for request in requests))
    return evaluate(read_otlp([str(path)]), latent=True)


def _single_spans(requests: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each span in a request of its own."""
    for request in requests:
        for resource in request["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    alone = {**resource, "scopeSpans": [{**scope, "spans": [span]}]}
                    yield {"resourceSpans": [alone]}


@generated
def test_portions_and_order(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """Spans one by one in any order, three times, over several files: the same, ids and all."""
    expected = _written(tmp_path, lines)
    assert expected.findings
    spans = list(_single_spans(lines)) * 3
    random.Random(5).shuffle(spans)
    folder = tmp_path / "several"
    folder.mkdir()
    for number in range(4):
        part = "".join(f"{json.dumps(request)}\n" for request in spans[number::4])
        (folder / f"{number}.jsonl").write_text(part)
    assert evaluate(read_otlp([str(folder)]), latent=True) == expected


@generated
def test_forms(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """JSON, protobuf, and both compressed: the same, ids and all."""
    expected = _written(tmp_path, lines)
    text = "".join(f"{json.dumps(request)}\n" for request in lines).encode()
    whole = {"resourceSpans": [each for request in lines for each in request["resourceSpans"]]}
    binary = _protobuf(whole)
    forms = {"h.jsonl.gz": gzip.compress(text), "h.pb": binary, "h.pb.gz": gzip.compress(binary)}
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        assert evaluate(read_otlp([str(tmp_path / name)]), latent=True) == expected, name


def _protobuf(request: dict[str, Any]) -> bytes:
    """OTLP/JSON writes ids as hex, protobuf's own JSON as base64."""
    as_text = json.loads(json.dumps(request))
    for _, span in _spans(as_text):
        for field in ("traceId", "spanId", "parentSpanId"):
            if span.get(field):
                span[field] = _base64(span[field])
    message = json_format.ParseDict(as_text, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    return bytes(message.SerializeToString())


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def _spans(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for resource in request["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield resource, span


NAMES = {f"noclobber.{name}" for name in (
    "agent", "strand", "strand.parent", "strand.other", "unit", "run", "step", "txn.id", "version.base.strand",
    "lock.owner", "waits.for",
)}  # fmt: skip
RESOURCES = {f"noclobber.{name}" for name in ("resource", "locks", "result.resources")}


def _with_other_names(request: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(request))
    for _, span in _spans(changed):
        span["traceId"] = hashlib.blake2b(span["traceId"].encode(), digest_size=16).hexdigest()
        for link in span.get("links", ()):
            link["traceId"] = hashlib.blake2b(link["traceId"].encode(), digest_size=16).hexdigest()
        for attribute in span["attributes"]:
            if attribute["key"] in NAMES | RESOURCES:
                rename = _other if attribute["key"] in NAMES else _elsewhere
                _rename(attribute["value"], rename)
    return changed


def _rename(value: dict[str, Any], rename: Callable[[str], str]) -> None:
    if "stringValue" in value:
        value["stringValue"] = rename(value["stringValue"])
    for each in value.get("arrayValue", {}).get("values", ()):
        each["stringValue"] = rename(each["stringValue"])


@generated
def test_other_names(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """All names changed, in whatever order they now sort: the same kinds, as sure, of the same accesses."""
    manifest = [f for f in _shape(_written(tmp_path, lines)) if True in f]
    renamed = [f for f in _shape(_written(tmp_path, map(_with_other_names, lines))) if True in f]
    assert renamed == manifest
