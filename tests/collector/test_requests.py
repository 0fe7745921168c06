"""Reading what clients send: compression, protobuf, OTLP/JSON, and everything that is none of these."""

import contextlib
import gzip
import json
import os
import random
import time
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from made import ACCESS, accesses, as_json, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber_collector.errors import MalformedError
from noclobber_collector.requests import (
    BODY_MAX,
    FIELDS_MAX,
    JSON_MEMORY_MAX,
    PIECES_MAX,
    TooLargeError,
    check,
    from_json,
    sift,
    unpack,
)

DATA = accesses(20).SerializeToString()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", DATA),
        ("identity", DATA),
        ("gzip", gzip.compress(DATA)),
        ("GZIP ", gzip.compress(DATA)),
        ("gzip", gzip.compress(DATA[:100]) + gzip.compress(DATA[100:])),
        ("deflate", zlib.compress(DATA)),
        ("zstd", zstandard.compress(DATA)),
        ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(DATA)),
    ],
)
def test_compressed_bodies_come_out_whole(encoding: str, packed: bytes) -> None:
    """Also a gzip file of several members, which is one body."""
    assert unpack(packed, encoding) == DATA


@pytest.mark.parametrize(
    ("encoding", "packed", "reason"),
    [
        ("br", DATA, "not known"),
        ("gzip, gzip", gzip.compress(gzip.compress(DATA)), "not known"),
        ("gzip", DATA, "not what its content-encoding says"),
        ("gzip", gzip.compress(DATA)[:-9], "cut off"),
        ("gzip", gzip.compress(DATA) + b"junk", "not what its content-encoding says"),
        ("zstd", DATA, "not what its content-encoding says"),
        ("zstd", zstandard.compress(DATA)[:-9], "cut off"),
        ("zstd", b"", "cut off"),
        ("deflate", DATA, "not what its content-encoding says"),
    ],
)
def test_bodies_that_are_not_what_they_say(encoding: str, packed: bytes, reason: str) -> None:
    """Each is refused with a reason; half a body is never taken for a whole one."""
    with pytest.raises(MalformedError, match=reason):
        unpack(packed, encoding)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, zstandard.compress], ids=["gzip", "deflate", "zstd"])
def test_a_bomb_stops_at_the_limit(pack: Any) -> None:
    """A small body that becomes a large one is unpacked to the limit and no further."""
    encoding = {"compress": "zstd"}.get(pack.__name__, "zstd") if pack is zstandard.compress else "gzip"
    bomb = pack(bytes(BODY_MAX + 4096))
    assert len(bomb) < BODY_MAX // 100
    with pytest.raises(TooLargeError):
        unpack(bomb, "deflate" if pack is zlib.compress else encoding)


def test_protobuf_is_counted() -> None:
    """Spans are counted over all resources and scopes."""
    two = accesses(3)
    two.MergeFrom(accesses(4))
    assert check(two.SerializeToString()) == 7
    assert check(b"") == 0


def test_json_becomes_the_same_protobuf() -> None:
    """Ids in hex, integers as text or number, every kind of value, events, links, status."""
    made = request(
        [{**ACCESS, "b": True, "f": 1.5, "raw": b"\x00\xff", "list": ["a", 1, [2]], "map": {"k": {"n": -1}}}]
    )
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.parent_span_id, span.trace_state, span.flags = bytes(range(8)), "a=b", 257
    span.status.code, span.status.message = 2, "bad"
    event = span.events.add()
    event.time_unix_nano, event.name = 7, "retry"
    link = span.links.add()
    link.trace_id, link.span_id = bytes(range(16)), bytes(range(8))
    assert ExportTraceServiceRequest.FromString(from_json(as_json(made))) == made


def test_json_takes_null_for_nothing_and_enums_by_name() -> None:
    """As protobuf's JSON mapping does."""
    document = {
        "resourceSpans": [
            {
                "resource": None,
                "scopeSpans": [
                    {"scope": None, "spans": [
                        {"traceId": "0" * 31 + "1", "spanId": "f" * 16, "kind": "SPAN_KIND_CLIENT", "events": None,
                         "startTimeUnixNano": "5", "endTimeUnixNano": 6, "status": {"code": "STATUS_CODE_ERROR"},
                         "attributes": [{"key": "a", "value": {"stringValue": None}}, {"key": "b", "value": None}]},
                    ]},
                ],
            }
        ]
    }  # fmt: skip
    span = ExportTraceServiceRequest.FromString(from_json(json.dumps(document).encode())).resource_spans[0]
    made = span.scope_spans[0].spans[0]
    assert (made.kind, made.start_time_unix_nano, made.end_time_unix_nano, made.status.code) == (3, 5, 6, 2)
    assert [pair.value.WhichOneof("value") for pair in made.attributes] == [None, None]


def _nested(depth: int) -> str:
    return '{"arrayValue":{"values":[' * depth + '{"intValue":1}' + "]}}" * depth


def _with(**span: object) -> bytes:
    whole = {"traceId": "0" * 31 + "1", "spanId": "f" * 16, "name": "x", **span}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [whole]}]}]}).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no OTLP"),
        (b'"text"', "no OTLP"),
        (b'{"resourceSpans": {}}', "must be a list"),
        (b'{"resourceSpans": [3]}', "no OTLP"),
        (_with(traceId="AAAx"), "traceId must be hex digits"),
        (_with(spanId="zz" * 8), "no OTLP"),
        (_with(traceId=5), "no OTLP"),
        (_with(startTimeUnixNano="soon"), "no OTLP"),
        (_with(startTimeUnixNano=2**64), "no OTLP"),
        (_with(kind="SPAN_KIND_ODD"), "no OTLP"),
        (_with(attributes=[{"key": 1, "value": {"intValue": 1}}]), "no OTLP"),
        (_with(attributes=[{"key": "a", "value": {"bytesValue": "!"}}]), "no OTLP"),
        (_with(attributes=[{"key": "a", "value": {"intValue": "1e3"}}]), "no OTLP"),
        (_with(attributes=[{"key": "a", "value": {"stringValue": 1}}]), "no OTLP"),
        (_with(attributes=[{"key": "a", "value": {"intValue": 1.5}}]), "no whole number"),
        (_with(attributes=[{"key": "a", "value": {"intValue": True}}]), "no whole number"),
        (_with(attributes={"a": 1}), "must be a list"),
        (_with().replace(b'"x"', b'"\\ud800"'), "no JSON"),
        (_with(attributes=[{"key": "a", "value": json.loads(_nested(150))}]), "nested"),
    ],
)
def test_json_that_is_no_request_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    """Whatever is wrong, it is a MalformedError and nothing else."""
    with pytest.raises(MalformedError, match=reason):
        from_json(body)


NAMES = ["resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "traceId", "arrayValue", "values",
         "intValue", "events", "status", "code"]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@given(
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    )
)
@settings(max_examples=300, deadline=None)
def test_any_json_is_read_or_refused(document: Any) -> None:
    """No shape of JSON makes anything else than bytes or a MalformedError."""
    with contextlib.suppress(MalformedError):
        assert isinstance(check(from_json(json.dumps(document).encode())), int)


def test_damaged_protobuf_is_read_or_refused() -> None:
    """20,000 mutations of a request give a count or a MalformedError."""
    rng = random.Random(7)
    outcomes = set()
    for _ in range(20_000):
        data = bytearray(DATA[: rng.randrange(1, 600)])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            outcomes.add(type(check(bytes(data))))
        except MalformedError as error:
            outcomes.add(str(error).partition(":")[0])
    assert outcomes == {int, "this is no OTLP trace request"}


def test_a_value_nested_300_deep_is_refused() -> None:
    """The parser's own limit holds, as a MalformedError."""
    inner = b""
    for _ in range(300):
        body = b"\x2a" + _length(b"\x0a" + _length(inner))
        inner = body
    attribute = b"\x0a\x01a\x12" + _length(inner)
    span = b"\x4a" + _length(attribute)
    scope = b"\x12" + _length(span)
    resource = b"\x12" + _length(scope)
    with pytest.raises(MalformedError):
        check(b"\x0a" + _length(resource))


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 0x7F:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size]) + data


# -- Limits of messages, ids ---------------------------------------------------------------------------------------


def _messages(count: int, content: bytes = b"") -> bytes:
    """A request of so many resources, each with `content`."""
    return (b"\x0a" + _length(content)) * count


@pytest.mark.parametrize(
    "data",
    [
        _messages(PIECES_MAX + 1),
        b"\x8a\x00\x00" * (PIECES_MAX + 1),
        _messages(PIECES_MAX // 2 + 1, b"\x12\x00"),
        b"\x0a" + _length(b"\x12" + _length(b"\x12" + _length(b"\x4a\x05\x0a\x01a\x12\x00" * (PIECES_MAX // 2 + 1)))),
        b"\x0a" + _length(b"\x12" + _length(b"\x12\x00" * (PIECES_MAX // 2 + 1))),
        b"\x0a" + _length(b"\x12" + _length(b"\x92\x00\x00" * (PIECES_MAX // 3 + 1))),
        b"\x0a" + _length(b"\x12" + _length(b"\x12" + _length(b"\x6a\x00" * (PIECES_MAX // 2 + 1)))),
        b"\x0a" + _length(b"\x0a" + _length(b"\x1a" + _length(b"\x1a\x00" * (FIELDS_MAX + 1)))),
    ],
    ids=["resources", "with long tags", "scopes", "attributes", "spans", "spans with long tags", "links", "fields"],
)
def test_more_messages_than_memory_has_room_for(data: bytes) -> None:
    """Refused before they are made, however they are written."""
    with pytest.raises(TooLargeError, match="messages"):
        check(data)


def test_as_many_messages_as_may_be() -> None:
    """The limit is a limit of what is above it; text that looks like many messages is none."""
    assert check(_messages(PIECES_MAX)) == 0
    assert check(accesses(1, note="J\n*2Zjz" * 500_000).SerializeToString()) == 1


def test_groups_can_not_hide_messages() -> None:
    """OTLP has none; where messages are counted they are refused."""
    with pytest.raises(MalformedError, match="group"):
        check(b"\x0b\x0c" + _messages(PIECES_MAX + 1))


OBJECTS = JSON_MEMORY_MAX // 384


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceSpans":[' + b"{}," * OBJECTS + b"{}]}",
        b"[" * OBJECTS,
        b"[" + b"1," * (JSON_MEMORY_MAX // 64) + b"1]",
        b'{"a":"' + b"x" * (JSON_MEMORY_MAX // 3) + b'"}',
        b'{"a":"' + "ü".encode() * (JSON_MEMORY_MAX // 12) + b'"}',
        b'{"a":"' + b"x" * (JSON_MEMORY_MAX // 6) + b'\\ud83d\\ude00"}',
    ],
    ids=["objects", "lists", "numbers", "text", "text that is not ASCII", "text with an escape"],
)
def test_json_that_would_take_too_much_memory(body: bytes) -> None:
    """Refused before it is read, whatever it is that takes it."""
    with pytest.raises(TooLargeError, match="memory"):
        from_json(body)


def test_json_that_is_large_is_taken() -> None:
    """As many bytes as a request may have in few texts, and as many spans as an exporter sends at once."""
    assert check(from_json(as_json(accesses(1, text="x" * (15 << 20))))) == 1
    assert check(from_json(as_json(accesses(512, prompt="x" * 10_000, answer="y" * 5_000)))) == 512
    more = {f"attribute.{number}": "what it says" for number in range(14)}
    assert check(from_json(as_json(accesses(2_000, **more)))) == 2_000


def test_packed_and_unpacked_have_a_limit_together() -> None:
    """What can't be packed takes its room twice."""
    with pytest.raises(TooLargeError, match="unpacked"):
        unpack(gzip.compress(os.urandom(13 << 20), 0), "gzip")
    assert len(unpack(gzip.compress(os.urandom(11 << 20), 0), "gzip")) == 11 << 20


def test_what_comes_out_is_told_as_it_does() -> None:
    """So that it can be refused before all of it is there."""
    found: list[int] = []
    assert len(unpack(gzip.compress(bytes(10 << 20)), "gzip", found.append)) == sum(found) == 10 << 20
    packed = gzip.compress(os.urandom(1 << 20))

    def refuse(size: int) -> None:
        found.append(size)
        if len(found) == 2:
            raise MemoryError

    found.clear()
    with pytest.raises(MemoryError):
        unpack(packed, "gzip", refuse)
    assert sum(found) < 1 << 18


def test_spans_without_ids_are_taken_out() -> None:
    """Those with ids stay as they came; where all have them nothing is touched."""
    made = accesses(6)
    spans = made.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id, spans[2].span_id, spans[3].trace_id, spans[5].span_id = b"", b"", bytes(16), bytes(9)
    sifted = sift(made.SerializeToString())
    assert (sifted.spans, sifted.rejected) == (2, 4)
    kept = ExportTraceServiceRequest.FromString(sifted.data).resource_spans[0].scope_spans[0].spans
    assert list(kept) == [spans[1], spans[4]]
    assert sift(DATA) == (DATA, 20, 0)


def test_half_of_many_spans_without_ids_take_no_square() -> None:
    """100,000 spans, every second without ids, in seconds."""
    span = b"\x12" + _length(b"\x0a\x10" + b"t" * 16 + b"\x12\x08" + b"s" * 8)
    data = b"\x0a" + _length(b"\x12" + _length((span + b"\x12\x00") * 50_000))
    begun = time.process_time()
    assert sift(data)[1:] == (50_000, 50_000)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_all_members_of_a_compressed_body_are_read(pack: Any) -> None:
    """Up to a limit, in time that grows with their bytes only."""
    encoding = "gzip" if pack is gzip.compress else "zstd"
    assert unpack(pack(DATA[:50]) + pack(DATA[50:]), encoding) == DATA
    with pytest.raises(MalformedError, match="compressed members"):
        unpack(pack(b"") * 200_000, encoding)


def test_json_keeps_every_field() -> None:
    """Counts of what was dropped, flags of links, schemas, entities; base64 of either alphabet."""
    made = request([{**ACCESS, "raw": b"\xfb\xff\xfe"}])
    resource = made.resource_spans[0]
    resource.schema_url, resource.resource.dropped_attributes_count = "https://schema", 1
    resource.resource.entity_refs.add(schema_url="s", type="host", id_keys=["host.id"], description_keys=["host.name"])
    scope = resource.scope_spans[0]
    scope.schema_url, scope.scope.dropped_attributes_count = "https://other", 2
    span = scope.spans[0]
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 3, 4, 5
    span.events.add(name="e", dropped_attributes_count=6)
    span.links.add(trace_id=bytes(range(16)), span_id=bytes(range(8)), dropped_attributes_count=7, flags=256)
    body = as_json(made)
    assert ExportTraceServiceRequest.FromString(from_json(body)) == made
    url_safe = body.replace(b"+//+", b"-__-")
    assert url_safe != body
    assert ExportTraceServiceRequest.FromString(from_json(url_safe)) == made


@pytest.mark.parametrize(
    "value", [{"boolValue": 2**70}, {"boolValue": "true"}, {"doubleValue": True}, {"doubleValue": {}}]
)
def test_json_values_of_another_type(value: dict[str, Any]) -> None:
    """Bad data, whatever Python makes of it."""
    with pytest.raises(MalformedError, match="no OTLP"):
        from_json(_with(attributes=[{"key": "a", "value": value}]))
