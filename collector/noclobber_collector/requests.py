"""Reads what clients send, just far enough to know that it is an OTLP request.

Bodies are unpacked and parsed within limits: of bytes, and of the messages in them, because an empty message costs two
bytes on the wire and sixty in memory. The library's parser checks the bytes; of a span only its ids are looked at. A
span without an id could not be told from others and is taken out, so that the client can be told of it; ClickHouse
reads the rest.

Source: OTLP specification 1.9, "OTLP/HTTP Request" (20 MiB, after decompression too); protobuf, "Encoding"; RFC 1952
(gzip members), RFC 8878 (zstd frames).
"""

import zlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber_collector.errors import MalformedError
from noclobber_collector.otlp_json import from_json as read_json

__all__ = [
    "BODY_MAX", "JSON_MEMORY_MAX", "PACKED_MAX", "PIECES_MAX", "Sifted", "TooLargeError", "check", "count_spans",
    "from_json", "halves", "sift", "unpack",
]  # fmt: skip

BODY_MAX: Final = 20 << 20
"""Most bytes of a request, after decompression."""
PACKED_MAX: Final = 24 << 20
"""Most bytes of one before and after together: both are held for a moment."""
PIECES_MAX: Final = 3 << 18
"""Most messages in a request, a span counted as three and a link as two, which is how large the parser makes them (50
bytes each): 17,000 spans with 21 attributes each have 765,000."""
FIELDS_MAX: Final = 2 * PIECES_MAX
"""Most fields in a request that has to be walked through, whatever is in them."""
JSON_MEMORY_MAX: Final = 48 << 20
"""Most bytes of memory that a request of JSON may take while it is read, by the three figures below."""
OBJECT_BYTES: Final = 384
"""An object or list, with the message that becomes of it."""
ITEM_BYTES: Final = 64
"""What stands behind a comma: a name and its value, a number in a list."""
COPIES: Final = {True: 3, False: 6}
"""So often a text is held: read, in the message, written. Python has four bytes for each character of a text in which
one is beyond U+FFFF; so this goes by whether all is ASCII and nothing is escaped."""
MEMBERS_MAX: Final = 1024
"""Most members of a gzip body, or frames of a zstd body."""
STEP: Final = {"gzip": 64 << 10, "deflate": 64 << 10, "zstd": 512}
"""Compressed bytes unpacked between two looks at the size: a block of zstd may become 32,768 times as large."""
_ID_SIZES, _SPAN_ID_SIZES = {16}, {8}
_NO_ID, _NO_SPAN_ID = bytes(16), bytes(8)
_TRACE_ID, _SPAN_ID = attrgetter("trace_id"), attrgetter("span_id")


class TooLargeError(MalformedError):
    """A request of more than BODY_MAX bytes, PIECES_MAX messages or, as JSON, JSON_MEMORY_MAX of memory."""


class Sifted(NamedTuple):
    """A request without the spans that could not be kept.

    Attributes:
        data: the request. spans: how many it holds. rejected: how many were taken out of it.
    """

    data: bytes
    spans: int
    rejected: int


def unpack(body: bytes, encoding: str, hold: Callable[[int], None] = lambda _size: None) -> bytes:
    """`body` without its compression.

    Args:
        body: what was sent.
        encoding: its Content-Encoding.
        hold: called with the size of each further part that comes out, before the next one does; may refuse.

    Raises:
        TooLargeError: more than BODY_MAX bytes come out.
        MalformedError: an unknown encoding, or bytes that are not in it.
    """
    encoding = encoding.strip().lower()
    if encoding in STEP:
        body = _inflated(body, encoding, hold)
    elif encoding not in ("", "identity"):
        raise MalformedError(f"the content-encoding {encoding!r} is not known; use gzip, zstd or none")
    if len(body) > BODY_MAX:
        raise TooLargeError(f"the request has more than {BODY_MAX} bytes")
    return body


def _inflated(body: bytes, encoding: str, hold: Callable[[int], None]) -> bytes:
    """All members or frames of `body`, one after the other; little more than BODY_MAX bytes at most."""
    parts: list[bytes] = []
    size = members = 0
    stream: Any = None
    for at in range(0, len(body), STEP[encoding]):
        left = body[at : at + STEP[encoding]]
        while left:
            if stream is None:
                members += 1
                if members > MEMBERS_MAX:
                    raise MalformedError(f"the body has more than {MEMBERS_MAX} compressed members")
                stream = _decompressor(encoding)
            try:
                parts.append(stream.decompress(left, *(() if encoding == "zstd" else (BODY_MAX + 1 - size,))))
            except Exception as error:  # zlib.error and ZstdError have no base of their own
                raise MalformedError(f"the body is not what its content-encoding says: {error}") from error
            size += len(parts[-1])
            if size > BODY_MAX:
                return b"".join(parts)
            if size + len(body) > PACKED_MAX:
                raise TooLargeError(f"the request has more than {PACKED_MAX} bytes, packed and unpacked")
            hold(len(parts[-1]))
            left, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
    if stream is not None or not members:
        raise MalformedError("the compressed body is cut off")
    return b"".join(parts)


def _decompressor(encoding: str) -> Any:
    """Of one member or frame."""
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=BODY_MAX).decompressobj()
    return zlib.decompressobj(31 if encoding == "gzip" else 15)


def from_json(body: bytes) -> bytes:
    """The protobuf bytes of an OTLP/JSON trace request.

    Raises:
        TooLargeError: it would take more memory than a request may.
        MalformedError: it is none; says where.
    """
    if _json_memory(body) > JSON_MEMORY_MAX:
        raise TooLargeError(
            f"this JSON would take more than {JSON_MEMORY_MAX} bytes of memory; send smaller batches, or protobuf"
        )
    return read_json(body)


def _json_memory(body: bytes) -> int:
    """Bytes of memory that it takes to read a request of JSON: never too few by much, often too many."""
    copies = COPIES[body.isascii() and b"\\u" not in body]
    objects = body.count(b"{") + body.count(b"[")
    return copies * len(body) + OBJECT_BYTES * objects + ITEM_BYTES * body.count(b",")


def sift(data: bytes) -> Sifted:
    """An ExportTraceServiceRequest without the spans whose ids are none.

    Raises:
        TooLargeError: it has more messages than a request may have.
        MalformedError: it is none.
    """
    request = _parsed(data)
    spans = nameless = 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            spans += len(scope.spans)
            if not _all_have_ids(scope.spans):
                nameless += _take_out_nameless(scope)
    return Sifted(request.SerializeToString() if nameless else data, spans - nameless, nameless)


def _all_have_ids(spans: Any) -> bool:
    """Judged by the sets of their ids and of these ids' lengths, which is half as much work as span by span."""
    trace_ids, span_ids = set(map(_TRACE_ID, spans)), set(map(_SPAN_ID, spans))
    return (
        {*map(len, trace_ids)} <= _ID_SIZES
        and {*map(len, span_ids)} <= _SPAN_ID_SIZES
        and _NO_ID not in trace_ids
        and _NO_SPAN_ID not in span_ids
    )


def _take_out_nameless(scope: Any) -> int:
    kept = [span for span in scope.spans if _all_have_ids((span,))]
    nameless = len(scope.spans) - len(kept)
    del scope.spans[:]  # one by one would take the square of their number
    scope.spans.extend(kept)
    return nameless


def check(data: bytes) -> int:
    """How many spans `data`, an ExportTraceServiceRequest, holds.

    Raises:
        MalformedError: it is none, or too large.
    """
    return _count(_parsed(data))


def _parsed(data: bytes) -> ExportTraceServiceRequest:
    _guard(data)
    try:
        request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(data)
    except DecodeError as error:
        raise MalformedError(f"this is no OTLP trace request: {error}") from error
    return request


def count_spans(data: bytes) -> int:
    """The same for bytes that were checked before; fields of our own at their end do no harm."""
    return _count(ExportTraceServiceRequest.FromString(data))


def halves(data: bytes) -> tuple[bytes, ...]:
    """A request that was checked before as two, each with half of its spans in their order; none if it has but one."""
    half = count_spans(data) // 2
    return (_some(data, 0, half), _some(data, half, None)) if half else ()


def _some(data: bytes, first: int, end: int | None) -> bytes:
    """The spans from `first` to before `end`, in the resources and scopes that they are in."""
    request, at = ExportTraceServiceRequest.FromString(data), 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            here = len(scope.spans)
            kept = scope.spans[max(0, first - at) : None if end is None else max(0, end - at)]
            at += here
            del scope.spans[:]
            scope.spans.extend(kept)
        _keep(resource.scope_spans, "spans")
    _keep(request.resource_spans, "scope_spans")
    some: bytes = request.SerializeToString()
    return some


def _keep(messages: Any, inside: str) -> None:
    """Take out those that have nothing inside any more."""
    kept = [each for each in messages if getattr(each, inside)]
    del messages[:]
    messages.extend(kept)


def _count(request: ExportTraceServiceRequest) -> int:
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


# -- How many messages ---------------------------------------------------------------------------------------------


def _too_many() -> TooLargeError:
    return TooLargeError(f"the request has more than {PIECES_MAX} messages; send smaller batches")


def _guard(data: bytes) -> None:
    """Refuse more messages than memory has room for, before they are made.

    Each message begins with its field's tag: so many bytes that could be one bound the messages from above, in one
    pass. Only what could have too many is walked through.

    Raises:
        TooLargeError: there are more than PIECES_MAX, or more than FIELDS_MAX fields to look at.
        MalformedError: it uses groups, which no OTLP has and which could hide messages.
    """
    if len(data) <= PIECES_MAX:  # few enough, whatever they are
        return
    tags = data.translate(None, _NO_TAGS)
    if len(tags) + sum((weight - 1) * tags.count(tag) for tag, weight in _HEAVY_TAGS) > PIECES_MAX:
        _walk(data)


def _walk(data: bytes) -> None:
    """Count the messages of `data`; what is broken is left to the parser."""
    at, end, fields, found, seen = 0, len(data), _REQUEST, 0, 0
    outer: list[tuple[int, dict[int, Any]]] = []
    while True:
        while at >= end:
            if not outer:
                return
            end, fields = outer.pop()
        tag, at = data[at], at + 1
        seen += 1
        if seen > FIELDS_MAX:
            raise _too_many()
        if tag > 0x7F:
            tag, at = _varint(data, at - 1)
        kind = tag & 7
        if kind == _BYTES and at < end:
            size, at = data[at], at + 1
            if size > 0x7F:
                size, at = _varint(data, at - 1)
            inner = fields.get(tag >> 3)
            if at + size > end:
                return
            if inner is None:
                at += size
                continue
            found += _WEIGHTS.get(id(inner), 1)
            if found > PIECES_MAX:
                raise _too_many()
            outer.append((end, fields))
            end, fields = at + size, inner
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind != _BYTES:
            raise MalformedError("this is no OTLP trace request: it has a group, or a field of no type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    size = len(data)
    while at < size:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            break
    return number, at


_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}
_VALUE: dict[int, Any] = {}
_PAIR: Final = {2: _VALUE}
_VALUE |= {5: {1: _VALUE}, 6: {1: _PAIR}}
_LINK: Final = {4: _PAIR}
_SPAN: Final = {9: _PAIR, 11: {3: _PAIR}, 13: _LINK, 15: {}}
_WEIGHTS: Final = {id(_SPAN): 3, id(_LINK): 2}
_REQUEST: Final = {1: {1: {1: _PAIR, 3: {}}, 2: {1: {3: _PAIR}, 2: _SPAN}}}
"""Fields that are messages, and the fields of these that are."""
_TAGS: Final = frozenset(field << 3 | _BYTES for field in (1, 2, 3, 4, 5, 6, 9, 11, 13, 15))
_HEAVY_TAGS: Final = [
    (bytes([number << 3 | _BYTES | high]), weight) for number, weight in ((2, 3), (13, 2)) for high in (0, 0x80)
]
_NO_TAGS: Final = bytes(byte for byte in range(256) if byte & 0x7F not in _TAGS)
"""All bytes that can't begin a message: a tag may be written longer than it needs, with its high bit set."""
