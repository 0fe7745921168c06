"""What goes in by OTLP comes out of the store as the same accesses that the files' reader decodes."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made import ACCESS, PROCESS, as_json, request

from noclobber.contract import FRONTIER_END, Attr
from noclobber_analyzer.history import History
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.rows import history_of
from noclobber_collector.store import Store

Load = Callable[..., Store]

TYPED: dict[str, list[object]] = {
    Attr.OP: ["read", "scan", "write", "delete", "update", "lock", "unlock", "send", "receive", "ack", "nack", "begin",
              "commit", "abort", "effect", "model", "spawn", "join"],
    Attr.RESOURCE: ["file://machine/tmp/a b", "redis://h/0/ünïcode'\\\"\n\t;--"],
    Attr.RESOURCE_HASHED: [True, False],
    Attr.SYSTEM: ["aws.s3"],
    Attr.PART: ["balance", ["balance", "owner"], ["b", "a", "a"], []],
    Attr.OUTCOME: ["ok", "rejected", "no_effect", "not_found", "error", "unknown"],
    Attr.CANCELLED: [True, False],
    Attr.AGENT: ["planner"],
    Attr.STRAND: ["s-9"],
    Attr.RUN: ["run-1"],
    Attr.STEP: ["step-1"],
    Attr.SEQ: [1, 2**62],
    Attr.STRAND_PARENT: ["s0"],
    Attr.STRAND_PARENT_SEQ: [0, 7],
    Attr.STRAND_OTHER: ["s2"],
    Attr.STRAND_OTHER_SEQ: [0, 3],
    Attr.UNIT: ["u1"],
    Attr.UNIT_KIND: ["txn", "step", "message", "lock"],
    Attr.VERSION_KIND: ["counter", "ordered", "chain", "fingerprint"],
    Attr.VERSION_READ: ["0", "absent", "f00d"],
    Attr.VERSION_BASE: ["17"],
    Attr.VERSION_BASE_SOURCE: ["explicit", "observed", "recalled", "remembered"],
    Attr.VERSION_CANDIDATES: [["16", "15"], []],
    Attr.VERSION_BASE_STRAND: ["s1"],
    Attr.VERSION_BASE_SEQ: [0, 4],
    Attr.VERSION_BASE_END_NS: [0, 1_790_000_000_000_000_001],
    Attr.VERSION_OVERWRITTEN: ["18"],
    Attr.VERSION_WRITTEN: ["19"],
    Attr.VERSION_WEAK: [True, False],
    Attr.VERSION_VERBATIM: [True, False],
    Attr.VERSION_EXPECTED: ["18"],
    Attr.CONTENT_READ: ["c0"],
    Attr.CONTENT_WRITTEN: ["c1"],
    Attr.CONTENT_NUMERIC: [True, False],
    Attr.SIZE: [0, 12],
    Attr.TTL_MS: [0, 60_000],
    Attr.CLOSED: [True, False],
    Attr.BRANCH: ["main"],
    Attr.WRITE_MODE: ["overwrite", "merge", "increment", "append", "insert"],
    Attr.GUARD: ["none", "version", "lock", "serializable", "unique"],
    Attr.LOCKS: [["lock://a#7", "lock://b"], []],
    Attr.TXN_ID: ["t1"],
    Attr.TXN_ISOLATION: ["serializable"],
    Attr.TXN_SAVEPOINT: ["1/2"],
    Attr.PREDICATE: ["*"],
    Attr.PREDICATES: [["p1", "p2"]],
    Attr.SCAN_ID: ["scan-1"],
    Attr.SCAN_PART: [0, 1],
    Attr.SCAN_PARTS: [2],
    Attr.SCAN_APPROXIMATE: [True, False],
    Attr.RESULT_RESOURCES: [["r/1", "r/2"]],
    Attr.RESULT_VERSIONS: [["1", ""]],
    Attr.RESULT_COUNT: [0, 2],
    Attr.MESSAGE_ID: ["m1"],
    Attr.MESSAGE_KEY: ["order"],
    Attr.MESSAGE_SEQ: [0, 5],
    Attr.MESSAGE_DELIVERY: [1, 2],
    Attr.MESSAGE_GROUP: ["workers"],
    Attr.MESSAGE_SESSION: ["session"],
    Attr.LOCK_TOKEN: [0, 42, "42", "secret-print"],
    Attr.LOCK_TTL_MS: [0, 30_000],
    Attr.LOCK_OWNER: ["me"],
    Attr.LOCK_MODE: ["exclusive", "shared"],
    Attr.WAITS_FOR: [["s3", "s4"]],
    Attr.OPEN: [True, False],
    Attr.EFFECT_KEY: ["idem"],
    Attr.EFFECT_HASH: ["e0"],
    Attr.MODEL_SPAN: ["00f067aa0ba902b7"],
    Attr.HLC: [0, 1 << 40],
    Attr.PARTIAL: [True, False],
    Attr.CODE_FUNCTION: ["withdraw"],
    Attr.CODE_FILE: ["bank.py"],
    Attr.CODE_LINE: [31],
    Attr.PEER_ADDRESS: ["127.0.0.1"],
}  # fmt: skip
"""Every attribute of a span in contract section 2, each with values of its type."""

OFF: dict[str, list[object]] = {
    Attr.VERSION_READ: [5, True, 1.5, ["a"], b"bytes", {"a": 1}],
    Attr.VERSION_CANDIDATES: ["one", [1, 2]],
    Attr.LOCKS: ["lock://a", 3],
    Attr.SIZE: ["12", "twelve", True, 1.0],
    Attr.SEQ: ["8", 1.0],
    Attr.OPEN: ["true", 1],
    Attr.OP: ["fly", 3],
    Attr.RESOURCE: [["a"], 7],
    Attr.LOCK_TOKEN: [True, 1.5],
    Attr.PART: [7, ["a", 1]],
    Attr.RUN: [""],
    Attr.VERSION_BASE: [""],
    Attr.AGENT: [""],
}
"""The same in another type than the contract's, or empty: a client's mistake, which both readers must treat alike."""


def both(load: Load, tmp_path: Path, made: Any, *, name: str = "in.pb") -> tuple[History, History]:
    """The history by files and the history by the store, of the same bytes."""
    file = tmp_path / name
    file.write_bytes(made.SerializeToString())
    store = load(made.SerializeToString())
    return read_otlp([str(file)]), history_of(store, ended=True, whole=True)


def assert_same(files: History, rows: History) -> None:
    assert [msgspec.to_builtins(a) for a in files.accesses] == [msgspec.to_builtins(a) for a in rows.accesses]
    assert files.processes == rows.processes
    assert files.context.keys() == rows.context.keys()
    told, known = (dict(vars(history.coverage)) for history in (files, rows))
    assert told.pop("_gaps_of").keys() == known.pop("_gaps_of").keys()  # an index of `gaps`
    assert told == known


def test_every_attribute_of_the_contract_is_in_the_table() -> None:
    """A new attribute must be added here too."""
    named = {name for key, name in vars(Attr).items() if key.isupper()}
    about_marks = {Attr.FRONTIER_NS, Attr.ACCESSES, Attr.DROPPED}
    elsewhere = {*PROCESS, Attr.EDGE, *about_marks}
    assert named - elsewhere == TYPED.keys()


def test_every_attribute_comes_out_as_the_files_reader_sees_it(load: Load, tmp_path: Path) -> None:
    """Each attribute with each kind of value, one to a span, is the same access from the store and from a file."""
    spans = [{**ACCESS, name: value} for name, values in TYPED.items() for value in values]
    files, rows = both(load, tmp_path, request(spans))
    assert len(files.accesses) == len(spans)
    assert_same(files, rows)


def test_all_attributes_at_once(load: Load, tmp_path: Path) -> None:
    """Spans that say everything lose nothing."""
    spans = [{**{name: values[-1] for name, values in TYPED.items()}, Attr.OP: op} for op in TYPED[Attr.OP]]
    files, rows = both(load, tmp_path, request(spans))
    assert len(files.accesses) == len(spans)
    assert_same(files, rows)


def test_values_of_the_wrong_type_are_judged_alike(load: Load, tmp_path: Path) -> None:
    """What one reader finds unreadable the other does too, and a number where text belongs is the same text."""
    spans = [{**ACCESS, name: value} for name, values in OFF.items() for value in values]
    files, rows = both(load, tmp_path, request(spans))
    assert 0 < len(files.accesses) < len(spans)
    assert_same(files, rows)


@pytest.mark.parametrize("missing", ["noclobber.op", "noclobber.resource", "noclobber.strand", "noclobber.seq"])
def test_what_lacks_a_required_attribute_is_no_access_in_either(load: Load, tmp_path: Path, missing: str) -> None:
    """Both count it, as context or as unreadable."""
    spans = [dict(ACCESS), {name: value for name, value in ACCESS.items() if name != missing}]
    files, rows = both(load, tmp_path, request(spans))
    assert len(files.accesses) == 1
    assert_same(files, rows)


@pytest.mark.parametrize(
    ("process", "scope"),
    [(PROCESS, "opentelemetry.instrumentation.redis"), ({"service.name": "other"}, "noclobber.redis"), (PROCESS, "")],
)
def test_spans_of_others_are_context(load: Load, tmp_path: Path, process: dict[str, object], scope: str) -> None:
    """A span is an access only with noclobber's scope and process, whatever attributes it copies."""
    files, rows = both(load, tmp_path, request([dict(ACCESS), {"db.system.name": "redis"}], process, scope))
    assert files.accesses == []
    assert len(files.context) == 2
    assert_same(files, rows)


def test_marks_and_their_frontiers(load: Load, tmp_path: Path) -> None:
    """A mark's zero is a zero, and what it does not say stays unsaid."""
    mark = {
        Attr.OP: "mark",
        Attr.RESOURCE: "process://a1b2c3d4e5f60718",
        Attr.SYSTEM: "noclobber",
        Attr.OUTCOME: "ok",
    }
    spans = [
        dict(ACCESS),
        {**mark, Attr.FRONTIER_NS: 0, Attr.ACCESSES: 0, Attr.DROPPED: 0},
        {**mark, Attr.FRONTIER_NS: FRONTIER_END, Attr.ACCESSES: 3, Attr.DROPPED: 2},
    ]
    files, rows = both(load, tmp_path, request(spans))
    assert files.coverage.frontiers == {"a1b2c3d4e5f60718": FRONTIER_END}
    assert_same(files, rows)


def test_links_keep_their_edge(load: Load, tmp_path: Path) -> None:
    """Ids of links are bytes that need not be text."""
    made = request([dict(ACCESS)])
    span = made.resource_spans[0].scope_spans[0].spans[0]
    for number, edge in ((0x41, "message"), (0xFF, "")):
        link = span.links.add()
        link.trace_id, link.span_id = bytes([number] * 16), bytes([number] * 8)
        if edge:
            pair = link.attributes.add()
            pair.key, pair.value.string_value = "noclobber.edge", edge
    files, rows = both(load, tmp_path, made)
    assert files.accesses[0].links == (("41" * 16, "41" * 8, "message"), ("ff" * 16, "ff" * 8, ""))
    assert_same(files, rows)


def test_json_and_protobuf_give_the_same(load: Load, tmp_path: Path) -> None:
    """A file of OTLP/JSON decodes to what the store made of the protobuf."""
    spans = [{**ACCESS, name: value} for name, values in TYPED.items() for value in values]
    made = request(spans)
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(as_json(made) + b"\n"))
    store = load(made.SerializeToString())
    rows = history_of(store, ended=True, whole=True)
    assert_same(read_otlp([str(tmp_path / "in.jsonl.gz")]), rows)
