"""Ready columns: the same rows that ClickHouse's own reader of protobuf makes, from whatever clients may send."""

import contextlib
import json
import random
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from made import ACCESS, NASTY, PROCESS, attributes, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber_collector.columns import COLUMNS, Holds
from noclobber_collector.errors import MalformedError
from noclobber_collector.flatten import flatten
from noclobber_collector.requests import check
from noclobber_collector.segments import frame
from noclobber_collector.store import Store
from noclobber_collector.wire import UnreadableError

NOW = int(time.time() * 1000) << 16
PROTOBUF = {
    "format_schema_source": "string",
    "format_schema_message_name": "Request",
    "format_schema": files("noclobber_collector.schema").joinpath("otlp.proto").read_text(),
}
FITTING: dict[Holds, Callable[[random.Random], object]] = {
    Holds.WORD: lambda rng: rng.choice(["a", "b", ""]),
    Holds.TEXT: lambda rng: rng.choice([*NASTY, "x" * 300]),
    Holds.NUMBER: lambda rng: rng.choice([0, 1, -1, 2**62, -(2**63)]),
    Holds.COUNTED: lambda rng: rng.randrange(1, 2**40),
    Holds.TRUTH: lambda rng: rng.random() < 0.5,
    Holds.MAYBE: lambda rng: rng.random() < 0.5,
    Holds.LIST: lambda rng: [rng.choice(NASTY) for _ in range(rng.randrange(4))],
    Holds.TEXT_OR_LIST: lambda rng: rng.choice(["one", ["one", "two"], []]),
    Holds.TEXT_OR_NUMBER: lambda rng: rng.choice(["token", 42, -7]),
}
ANY: tuple[Callable[[random.Random], object], ...] = (
    lambda _: None, lambda _: True, lambda rng: rng.randrange(-5, 300), lambda rng: rng.random(),
    lambda rng: rng.choice(NASTY), lambda rng: rng.randbytes(rng.randrange(5)), lambda _: ["a", 1, True, 0.5, ""],
    lambda _: [1, 2], lambda _: [],
)  # fmt: skip
OTHERS = ("db.system.name", "", "k" * 200, "noclobber.new", "n'\"\n")


def odd_request(rng: random.Random) -> ExportTraceServiceRequest:
    """A request with any attributes in any type, twice the same name, several scopes, events, links, states."""
    names = [column.attribute for column in COLUMNS]
    made = ExportTraceServiceRequest()
    for _ in range(rng.randrange(1, 4)):
        spans = []
        for _ in range(rng.choice((0, 1, 5, 70))):
            fitting = {column.attribute: FITTING[column.holds](rng) for column in rng.sample(COLUMNS, 12)}
            unfitting = {name: rng.choice(ANY)(rng) for name in rng.sample(names, 3)}
            spans.append({**fitting, **unfitting, **{name: rng.choice(ANY)(rng) for name in rng.sample(OTHERS, 2)}})
        process = {**PROCESS, "a": 1.5, "l": ["x"], **rng.choice(({}, {"process.pid": 7}, {"noclobber.process": ""}))}
        part = request(spans, process, rng.choice(("noclobber.redis", "other", "")))
        for span in part.resource_spans[0].scope_spans[0].spans:
            embellish(rng, span)
        embellish_origin(rng, part.resource_spans[0])
        made.MergeFrom(part)
    return made


def embellish(rng: random.Random, span: Any) -> None:
    """Give a span what few spans have."""
    span.parent_span_id = rng.randbytes(rng.choice((0, 8, 8, 3)))
    span.trace_state = rng.choice(("", "a=b"))
    span.kind, span.status.code = rng.randrange(6), rng.randrange(3)
    span.status.message = rng.choice(("", "bad"))
    span.flags = rng.choice((0, 0x101, 2**32 - 1))
    span.dropped_attributes_count, span.dropped_events_count = rng.choice((0, 3)), rng.choice((0, 2**32 - 1))
    span.dropped_links_count = 1
    attributes(span.attributes, {"noclobber.agent": "the second of this name", "db.system.name": "second"})
    if rng.random() < 0.3:
        event = span.events.add(name="retry", time_unix_nano=rng.randrange(2**63))
        attributes(event.attributes, {"t": "x", "n": 1, "l": ["y"]})
        event.dropped_attributes_count = rng.choice((0, 0, 7))
    for _ in range(rng.choice((0, 0, 1, 3))):
        link = span.links.add(trace_id=rng.randbytes(16), span_id=rng.randbytes(8), trace_state="s")
        attributes(link.attributes, {"noclobber.edge": "message", "b": True})
        link.flags, link.dropped_attributes_count = rng.choice((0, 0x300)), rng.choice((0, 5))


def embellish_origin(rng: random.Random, spans: Any) -> None:
    """Give a resource and its scope what few of them say."""
    resource, scope = spans.resource, spans.scope_spans[0].scope
    spans.schema_url, spans.scope_spans[0].schema_url = rng.choice(("", "https://a/1")), rng.choice(("", "https://b/2"))
    resource.dropped_attributes_count, scope.dropped_attributes_count = rng.choice((0, 2)), rng.choice((0, 4))
    if rng.random() < 0.5:
        attributes(scope.attributes, {"short": "s", "n": 1, "list": ["x", 2], "": True})
        resource.entity_refs.add(schema_url="https://c", type="service", id_keys=["a", "b"], description_keys=["d"])


def framed(segment: int, *requests: ExportTraceServiceRequest) -> bytes:
    return b"".join(frame(each.SerializeToString(), segment, at, b"local") for at, each in enumerate(requests))


def rows(store: Store, segment: int) -> list[dict[str, Any]]:
    """All that the table holds of a segment, JSON read and maps as pairs, in order."""
    found = store.dicts("SELECT * EXCEPT segment FROM accesses WHERE segment = {s:UInt64} ORDER BY row", {"s": segment})
    for row in found:
        row["rest_others"] = {key: text[:1] == "[" and json.loads(text) for key, text in row["rest_others"].items()}
    return found


@pytest.mark.parametrize("seed", range(3))
def test_both_readers_make_the_same_rows(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Column by column, for attributes of every type in every place, fitting or not, in portions of any size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("noclobber_collector.flatten.SPANS_AT_ONCE", (5_000, 40, 7)[seed])
    rng = random.Random(seed)
    requests = [odd_request(rng) for _ in range(6)]
    store.load("accesses", flatten([framed(NOW, *requests)]), "ArrowStream", {})
    store.load("incoming", framed(NOW + 1, *requests), "Protobuf", PROTOBUF)
    ours, theirs = rows(store, NOW), rows(store, NOW + 1)
    assert len(ours) == len(theirs) > 50
    lists = {column.attribute for column in COLUMNS if column.holds in (Holds.LIST, Holds.TEXT_OR_LIST)}
    for one, other in zip(ours, theirs, strict=True):
        # of a list's attribute their reader keeps nothing that is no list; of a process's no other type
        one["rest_others"] = {key: value for key, value in one["rest_others"].items() if key not in lists}
        assert one == other


def test_nested_values_are_kept_as_json(store: Store) -> None:
    """Down to the last of them; bytes in base64."""
    nested = {"map": {"k": {"n": -1}, "l": [1, ["x", None]]}, "list": [[1, 2], {"a": b"\x00\xff"}], "raw": b"\x01"}
    store.load("accesses", flatten([framed(NOW, request([nested]))]), "ArrowStream", {})
    (row,) = store.dicts("SELECT rest_others FROM accesses")
    assert {key: value if key == "raw" else json.loads(value) for key, value in row["rest_others"].items()} == {
        "map": {"k": {"n": -1}, "l": [1, ["x", None]]},
        "list": [[1, 2], {"a": "AP8="}],
        "raw": "AQ==",
    }


def test_only_columns_in_which_something_stands_are_written() -> None:
    """A plain access fills few of the hundred columns."""
    names = pa.ipc.open_stream(flatten([framed(NOW, request([ACCESS]))])).schema.names
    assert {"op", "resource", "seq", "start_ns", "process"} <= set(names)
    assert not {"rest", "events", "link_edges", "version_base", "part", "resource_hash"} & set(names)


def test_what_it_does_not_read_is_left_to_the_store() -> None:
    """A group, which proto3 never writes, and bytes that are no protobuf."""
    sound = request([ACCESS]).SerializeToString()
    for broken in (b"\x0a\x05\xff\xff\xff\xff\xff", sound + b"\x0b\x0c", sound[:-3]):
        with pytest.raises(UnreadableError):
            flatten([frame(broken, NOW, 1, b"local")])
    with pytest.raises(UnreadableError):
        flatten([framed(NOW, request([ACCESS]))[:-1]])


def test_a_field_in_another_wire_type_is_not_that_field(store: Store) -> None:
    """As every protobuf parser has it: it is unknown, and passed over."""
    made = request([ACCESS])
    span = made.resource_spans[0].scope_spans[0].spans[0]
    data = span.SerializeToString() + b"\x08\x05"  # field 1, the trace id, as a number
    span.ParseFromString(data)
    store.load("accesses", flatten([framed(NOW, made)]), "ArrowStream", {})
    assert store.rows("SELECT trace_id, op FROM accesses") == [(span.trace_id, "write")]


def test_damaged_requests_are_read_or_left() -> None:
    """Whatever the receiver lets in makes as many rows as it has spans, or an UnreadableError and nothing else."""
    rng = random.Random(9)
    data = odd_request(rng).SerializeToString()
    read = 0
    for _ in range(4_000):
        changed = bytearray(data[: rng.choice((len(data), 3_000))])
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            spans = check(bytes(changed))
        except MalformedError:
            continue
        with contextlib.suppress(UnreadableError):
            batch = pa.ipc.open_stream(flatten([frame(bytes(changed), NOW, 1, b"local")])).read_next_batch()
            assert batch.num_rows == spans
            batch.validate(full=True)
            read += 1
    assert read > 300
