"""What rows of `accesses` does a segment hold?

The spans of a segment are read side by side (`wire`), and each attribute's name and type say where its value goes: into
the column that it has, or into the map `rest*` of its type. So a column is filled by a few operations on arrays,
whatever the order in which a client writes its attributes; only what few spans have (events, links, lists of anything
but texts, nested values) is read one by one. ClickHouse gets columns that are ready, and only those in which something
stands.

The first of two attributes of one name counts. A span is an access only if noclobber's own scope and process stand
behind it (contract 2.4). `UnreadableError` means that the segment is left to ClickHouse's own reader of protobuf
(`incoming_to_accesses`), which gives the same rows at several times the cost.

Source: opentelemetry-proto 1.x, trace.proto and common.proto (field numbers); Apache Arrow, "Columnar Format".
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from noclobber.contract import Attr
from noclobber_collector.any_value import as_text, pairs_as_text
from noclobber_collector.columns import COLUMNS, Column, Holds
from noclobber_collector.origins import LISTS, MAPS, SELDOM, WHOLES, WORDS, Origins, origins_of
from noclobber_collector.wire import (
    Bytes,
    Fields,
    Places,
    TooManyError,
    UnreadableError,
    fields,
    fixed64,
    padded,
    varints,
)

__all__ = ["flatten", "release_unused", "rows_of", "written"]

TRACE_ID, SPAN_ID, TRACE_STATE, PARENT, NAME = 0x0A, 0x12, 0x1A, 0x22, 0x2A
KIND, START, END, ATTRIBUTES, EVENTS, LINKS, STATUS = 0x30, 0x39, 0x41, 0x4A, 0x5A, 0x6A, 0x7A
FLAGS: Final = 16 << 3 | 5
DROPPED: Final[Mapping[str, int]] = {"dropped_attributes": 0x50, "dropped_events": 0x60, "dropped_links": 0x70}
STATUS_MESSAGE, STATUS_CODE = 0x12, 0x18
KEY, VALUE = 0x0A, 0x12
ARRAY_ITEM = 0x0A
NOTHING, TEXT, TRUTH, NUMBER, DOUBLE, LIST, OTHER = range(7)
"""Types of a value."""
_TYPE_OF: Final = {0x0A: TEXT, 0x10: TRUTH, 0x18: NUMBER, 0x21: DOUBLE, 0x2A: LIST, 0x32: OTHER, 0x3A: OTHER}
_TYPES: Final = np.array([_TYPE_OF.get(tag, NOTHING) for tag in range(256)], np.uint8)
_NULLABLE: Final = frozenset(column.name for column in COLUMNS if column.holds in (Holds.NUMBER, Holds.MAYBE))
_RESTS: Final = ("rest", "rest_ints", "rest_bools", "rest_doubles", "rest_others")
_REST_OF: Final = {NOTHING: 4, TEXT: 0, NUMBER: 1, TRUTH: 2, DOUBLE: 3, LIST: 4, OTHER: 4}
_FITS: Final[Mapping[Holds, tuple[int, ...]]] = {
    Holds.WORD: (TEXT,),
    Holds.TEXT: (TEXT,),
    Holds.NUMBER: (NUMBER,),
    Holds.COUNTED: (NUMBER,),
    Holds.TRUTH: (TRUTH,),
    Holds.MAYBE: (TRUTH,),
    Holds.LIST: (LIST,),
    Holds.TEXT_OR_LIST: (TEXT, LIST),
    Holds.TEXT_OR_NUMBER: (TEXT, NUMBER),
}
MINUTE_NS: Final = 60_000_000_000
SPANS_AT_ONCE: Final = 5_000
MESSAGES_MAX: Final = 50_000
"""Events or links of spans that are read at once, each of which is a Python object or more."""
NAMES_MAX: Final = 20_000
"""Names of their attributes."""
OTHERS_MAX: Final = 4 << 20
"""Bytes of their lists and maps, which become text by way of Python objects."""


def flatten(segments: Iterable[bytes]) -> bytes:
    """The rows of all requests in some segments, as an Arrow stream of one batch, in their order.

    Columns in which nothing stands are left out.

    Raises:
        UnreadableError: something is written there that only ClickHouse's reader may understand.
    """
    return written(rows_of(padded(segments)))


def rows_of(data: bytes) -> pa.RecordBatch:
    """The same as a batch, of segments that were `padded`; it holds none of their bytes.

    Raises:
        UnreadableError: as above, or there is more of something than memory should be taken for.
    """
    try:
        return _joined(list(_portions(np.frombuffer(data, np.uint8), origins_of(data))))
    except (IndexError, ValueError, DecodeError, pa.ArrowException) as error:
        raise UnreadableError(str(error)) from error


def _portions(data: Bytes, origins: Origins) -> Iterator[pa.RecordBatch]:
    """The rows, so many at once that all that is made of them stays in the processor's and malloc's near memory."""
    for first in range(0, len(origins.begin), SPANS_AT_ONCE):
        yield from _portion(data, origins, first, min(first + SPANS_AT_ONCE, len(origins.begin)))


def _portion(data: Bytes, origins: Origins, first: int, last: int) -> Iterator[pa.RecordBatch]:
    """The rows of some spans: by halves where there is too much in all."""
    batch = None
    try:
        batch = _Rows(data, origins, slice(first, last)).batch()
    except TooManyError:
        if last - first == 1:
            raise
    if batch is not None:
        yield batch
    else:  # not before the error is gone, whose frames hold what was too much
        middle = (first + last) // 2
        yield from _portion(data, origins, first, middle)
        yield from _portion(data, origins, middle, last)


def _joined(portions: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Portions of rows as one; a column that stands in some of them only says nothing in the others."""
    if len(portions) == 1:
        return portions[0]
    types = {field.name: field.type for portion in portions for field in portion.schema}
    apart = [(dict(zip(each.schema.names, each.columns, strict=True)), each.num_rows) for each in portions]
    portions.clear()
    columns = {}
    for name, kind in types.items():  # each column goes as soon as it is joined: together they are as large as all
        chunks = [found.pop(name) if name in found else _nothing(name, kind, rows) for found, rows in apart]
        columns[name] = pa.chunked_array(chunks, kind).unify_dictionaries().combine_chunks()
        del chunks
    return pa.RecordBatch.from_pydict(columns)


def _nothing(name: str, kind: pa.DataType, rows: int) -> pa.Array:
    """A column in which nothing stands."""
    if name in _NULLABLE:
        return pa.nulls(rows, kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([b""], kind.value_type))
    if pa.types.is_nested(kind):
        return pa.array([()] * rows, kind)
    return pa.array([b"" if pa.types.is_binary(kind) else 0] * rows, kind)


def written(batch: pa.RecordBatch) -> bytes:
    """A batch as an Arrow stream."""
    out = BytesIO()
    with pa.ipc.new_stream(out, batch.schema) as stream:
        stream.write_batch(batch)
    return out.getvalue()


def release_unused() -> None:
    """Give memory of columns that are gone back to the system."""
    pa.default_memory_pool().release_unused()


# -- What spans say, as columns --------------------------------------------------------------------------------------


class _Rows:
    """The rows of some spans; `batch` puts their columns together."""

    def __init__(self, data: Bytes, origins: Origins, which: slice) -> None:
        begin, end = (np.array(each[which], np.int32) for each in (origins.begin, origins.end))
        self._data, self._origin = data, origins
        self._first, self._count = which.start, len(begin)
        self._spans = fields(data, begin, end)
        self._scope = np.repeat(np.arange(len(origins.counts), dtype=np.int32), origins.counts)[which]

    def batch(self) -> pa.RecordBatch:
        """All columns in which something stands."""
        columns: dict[str, pa.Array] = {}
        columns.update(self._origins())
        columns.update(self._plain())
        columns.update(self._attributes())
        columns.update(self._events())
        columns.update(self._links())
        return pa.RecordBatch.from_pydict(columns)

    def _origins(self) -> Iterator[tuple[str, pa.Array]]:
        said, of_row = self._origin.said, pa.array(self._scope)
        for name in (*WORDS, *WHOLES, *MAPS, *LISTS):
            if name in SELDOM and not any(said[name]):
                continue
            if name in WORDS:
                codes = {value: code for code, value in enumerate(dict.fromkeys(said[name]))}
                of_scope = np.array([codes[value] for value in said[name]], np.int32)
                words = pa.array([word.encode() for word in codes], pa.binary())
                yield name, pa.DictionaryArray.from_arrays(of_scope[self._scope], words)
            elif name in WHOLES:
                yield name, pa.array(np.array(said[name], _WHOLE_TYPES.get(name, np.int64))[self._scope])
            elif name in MAPS:
                maps = pa.array([list(each.items()) for each in said[name]], pa.map_(pa.string(), pa.string()))
                yield name, maps.take(of_row)
            else:
                yield name, pa.array(said[name], _ENTITIES_TYPE).take(of_row)
        yield "row", pa.array(np.arange(self._first, self._first + self._count, dtype=np.uint64))

    def _plain(self) -> Iterator[tuple[str, pa.Array]]:
        start, end = self._fixed64(START), self._fixed64(END)
        yield "minute", pa.array((start // np.uint64(MINUTE_NS)).astype(np.uint32))
        yield "start_ns", pa.array(start)
        yield "end_ns", pa.array(end)
        yield "trace_id", self._id(TRACE_ID, 16)
        yield "span_id", self._id(SPAN_ID, 8)
        yield "parent_span_id", self._id(PARENT, 8)
        yield "span_name", self._texts(self._spans.of(NAME)).dictionary_encode()
        yield "span_kind", pa.array(self._numbers(self._spans.of(KIND)).astype(np.int8))
        states = self._spans.of(TRACE_STATE)
        if len(states.owner):
            yield "trace_state", self._texts(states)
        status = self._spans.of(STATUS)
        if len(status.owner):
            inside = fields(self._data, status.begin, status.end)
            inside = inside._replace(owner=status.owner[inside.owner])
            yield "status_code", pa.array(self._numbers(inside.of(STATUS_CODE)).astype(np.int8))
            yield "status_message", self._texts(inside.of(STATUS_MESSAGE))
        flags = self._spans.of(FLAGS)
        if len(flags.owner):
            values = np.zeros(self._count, np.uint32)
            values[flags.owner] = fixed64(self._data, flags.begin).astype(np.uint32)
            yield "flags", pa.array(values)
        for name, tag in DROPPED.items():
            found = self._spans.of(tag)
            if len(found.owner):
                yield name, pa.array(self._numbers(found).astype(np.uint32))

    def _fixed64(self, tag: int) -> npt.NDArray[np.uint64]:
        found = self._spans.of(tag)
        values = np.zeros(self._count, np.uint64)
        values[found.owner] = fixed64(self._data, found.begin)
        return values

    def _id(self, tag: int, size: int) -> pa.Array:
        """Ids of `size` bytes; one of another size is none."""
        found = self._spans.of(tag)
        found = found.at(np.flatnonzero(found.end - found.begin == size))
        ids = np.zeros((self._count, size // 8), np.uint64)
        for word in range(size // 8):
            ids[found.owner, word] = fixed64(self._data, found.begin + np.int32(8 * word))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), self._count, [None, pa.py_buffer(ids)])

    def _numbers(self, found: Fields) -> npt.NDArray[np.int64]:
        values = np.zeros(self._count, np.int64)
        values[found.owner[::-1]] = varints(self._data, found.begin, found.end).view(np.int64)[::-1]
        return values

    def _texts(self, found: Fields) -> pa.Array:
        """A text for each row; the first counts, and where there is none it is empty."""
        begin, end = np.zeros(self._count, np.int32), np.zeros(self._count, np.int32)
        rows = found.owner[::-1]
        begin[rows], end[rows] = found.begin[::-1], found.end[::-1]
        return _pieces(self._data, begin, end)

    # -- attributes --

    def _attributes(self) -> Iterator[tuple[str, pa.Array]]:
        pairs = self._spans.of(ATTRIBUTES)
        if not len(pairs.owner):
            return
        names, types, values = _pairs(self._data, pairs)
        if len(names.dictionary) > NAMES_MAX:
            raise TooManyError(f"more than {NAMES_MAX} names of attributes")
        routes = np.array([_routes(name) for name in names.dictionary.to_pylist()], np.uint8)
        route = routes[names.indices.to_numpy(), types]
        order = np.argsort(route, kind="stable")
        ends = np.cumsum(np.bincount(route, minlength=len(COLUMNS) + len(_RESTS)))
        for number, (begin, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
            if begin == end:
                continue
            some = order[begin:end]
            if number < len(COLUMNS):
                column = COLUMNS[number]
                yield column.name, self._column(column, values.at(some), types[some])
            else:
                name = _RESTS[number - len(COLUMNS)]
                yield name, self._rest(name, names.take(pa.array(some)), values.at(some), types[some])

    def _column(self, column: Column, values: Fields, types: Bytes) -> pa.Array:
        match column.holds:
            case Holds.WORD:
                if column.attribute == Attr.OP:
                    values = values.at(np.flatnonzero(np.array(self._origin.ours)[self._scope[values.owner]]))
                return self._texts(values).dictionary_encode()
            case Holds.TEXT:
                return self._texts(values)
            case Holds.COUNTED:
                return pa.array(self._numbers(values))
            case Holds.NUMBER:
                return pa.array(self._numbers(values), mask=self._lacking(values))
            case Holds.TRUTH:
                return pa.array((self._numbers(values) != 0).astype(np.uint8))
            case Holds.MAYBE:
                return pa.array((self._numbers(values) != 0).astype(np.uint8), mask=self._lacking(values))
            case Holds.TEXT_OR_NUMBER:
                numbers, texts = (values.at(np.flatnonzero(types == kind)) for kind in (NUMBER, TEXT))
                words = pa.array(self._numbers(numbers)).cast(pa.string()).cast(pa.binary())
                return pc.if_else(pa.array(self._lacking(numbers)), self._texts(texts), words)
            case Holds.LIST | Holds.TEXT_OR_LIST:
                return self._lists(values, types)

    def _lacking(self, values: Fields) -> npt.NDArray[np.bool_]:
        """Which rows have none of some values."""
        lacking = np.ones(self._count, np.bool_)
        lacking[values.owner] = False
        return lacking

    def _lists(self, values: Fields, types: Bytes) -> pa.Array:
        """Lists of texts; a text alone is a list of one, and comes before a list of the same name."""
        order = np.lexsort((np.arange(len(types)), types, values.owner))
        values, types = values.at(order), types[order]
        first = np.flatnonzero(np.diff(values.owner, prepend=-1))
        values, types = values.at(first), types[first]
        lists = values.at(np.flatnonzero(types == LIST))
        items = fields(self._data, lists.begin, lists.end).of(ARRAY_ITEM)
        inside = fields(self._data, items.begin, items.end)
        if len(inside.owner) != len(items.owner) or (inside.tag != _TEXT_TAG).any():
            return self._odd_lists(values, types)
        texts = values.at(np.flatnonzero(types == TEXT))
        owner = np.concatenate([texts.owner, lists.owner[items.owner[inside.owner]]])
        within = np.argsort(owner, kind="stable")
        begin, end = (np.concatenate(each)[within] for each in ((texts.begin, inside.begin), (texts.end, inside.end)))
        return pa.ListArray.from_arrays(self._offsets(owner), _pieces(self._data, begin, end))

    def _odd_lists(self, values: Fields, types: Bytes) -> pa.Array:
        """The same where an item is no text: numbers are written as text, others are empty."""
        made: list[list[bytes]] = [[] for _ in range(self._count)]
        for row, kind, data in zip(values.owner.tolist(), types.tolist(), self._contents(values), strict=True):
            if kind == TEXT:
                made[row] = [data]
            else:
                made[row] = [_item_text(each).encode() for each in ArrayValue.FromString(data).values]
        return pa.array(made, pa.list_(pa.binary()))

    def _rest(self, name: str, names: pa.Array, values: Fields, types: Bytes) -> pa.Array:
        order = np.argsort(values.owner, kind="stable")
        values, types, keys = values.at(order), types[order], names.take(pa.array(order)).dictionary_decode()
        match name:
            case "rest":
                items = _pieces(self._data, values.begin, values.end)
            case "rest_ints":
                items = pa.array(varints(self._data, values.begin, values.end).view(np.int64))
            case "rest_bools":
                items = pa.array((varints(self._data, values.begin, values.end) != 0).astype(np.uint8))
            case "rest_doubles":
                items = pa.array(fixed64(self._data, values.begin).view(np.float64))
            case _:
                if int((values.end - values.begin).sum(dtype=np.int64)) > OTHERS_MAX:
                    raise TooManyError(f"lists and maps of more than {OTHERS_MAX} bytes")
                items = pa.array(map(_other_text, self._tags(values, types), self._contents(values)), pa.string())
        return pa.MapArray.from_arrays(self._offsets(values.owner), keys, items)

    def _tags(self, values: Fields, types: Bytes) -> list[int]:
        return [tag if kind != NOTHING else 0 for tag, kind in zip(values.tag.tolist(), types.tolist(), strict=True)]

    def _contents(self, values: Fields) -> Iterator[bytes]:
        for begin, end in zip(values.begin.tolist(), values.end.tolist(), strict=True):
            yield self._data[begin:end].tobytes()

    def _offsets(self, owner: Places) -> pa.Array:
        """Where the items of each row begin, if they stand row after row."""
        return pa.array(np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=self._count))]).astype(np.int32))

    # -- what few spans have --

    def _messages(self, tag: int, kind: Any) -> list[list[Any]]:
        """The messages of one field, of each row; empty where no row has any."""
        found = self._spans.of(tag)
        if not len(found.owner):
            return []
        if len(found.owner) > MESSAGES_MAX:
            raise TooManyError(f"more than {MESSAGES_MAX} events or links")
        of_row: list[list[Any]] = [[] for _ in range(self._count)]
        for row, data in zip(found.owner.tolist(), self._contents(found), strict=True):
            of_row[row].append(kind.FromString(data))
        return of_row

    def _events(self) -> Iterator[tuple[str, pa.Array]]:
        of_row = self._messages(EVENTS, Span.Event)
        if of_row:
            yield "events", pa.array([[_event(each) for each in events] for events in of_row], _EVENTS_TYPE)
            yield from _counted("event_dropped", of_row, "dropped_attributes_count")

    def _links(self) -> Iterator[tuple[str, pa.Array]]:
        of_row = self._messages(LINKS, Span.Link)
        if not of_row:
            return
        said = [[pairs_as_text(link.attributes) for link in links] for links in of_row]
        yield "link_trace_ids", pa.array([[_sized(each.trace_id, 16) for each in links] for links in of_row],
                                         pa.list_(pa.binary(16)))  # fmt: skip
        yield "link_span_ids", pa.array([[_sized(each.span_id, 8) for each in links] for links in of_row],
                                        pa.list_(pa.binary(8)))  # fmt: skip
        yield "link_states", pa.array([[each.trace_state for each in links] for links in of_row], _TEXTS_TYPE)
        edges = [[dict(pairs).get(LINK_EDGE, "") for pairs in links] for links in said]
        yield "link_edges", pa.array(edges, _TEXTS_TYPE)
        yield "link_attributes", pa.array(said, pa.list_(pa.map_(pa.string(), pa.string())))
        yield from _counted("link_flags", of_row, "flags")
        yield from _counted("link_dropped", of_row, "dropped_attributes_count")


LINK_EDGE: Final = "noclobber.edge"
_TEXT_TAG: Final = 0x0A
_TEXTS_TYPE: Final = pa.list_(pa.string())
_EVENTS_TYPE: Final = pa.list_(
    pa.struct([("at_ns", pa.uint64()), ("name", pa.string()), ("attributes", pa.map_(pa.string(), pa.string()))])
)
_ENTITIES_TYPE: Final = pa.list_(
    pa.struct([("schema_url", pa.string()), ("type", pa.string()), ("id_keys", pa.list_(pa.string())),
               ("description_keys", pa.list_(pa.string()))])
)  # fmt: skip
_WHOLE_TYPES: Final = {"segment": np.uint64, "scope_dropped": np.uint32, "resource_dropped": np.uint32}
_NUMBER_OF: Final = {column.attribute.encode(): number for number, column in enumerate(COLUMNS)}


def _pieces(data: Bytes, begin: Places, end: Places) -> pa.Array:
    """The bytes at `begin` to `end`, as one array: every second of a list of pieces and what lies between them."""
    offsets = np.empty(2 * len(begin) + 1, np.int32)
    offsets[:-1:2], offsets[1::2], offsets[-1] = begin, end, len(data)
    both = pa.Array.from_buffers(pa.binary(), 2 * len(begin), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return both.take(pa.array(np.arange(0, 2 * len(begin), 2, dtype=np.int32)))


def _pairs(data: Bytes, pairs: Fields) -> tuple[pa.DictionaryArray, Bytes, Fields]:
    """Names, types and values of attributes; a value's owner is the row of its span."""
    inside = fields(data, pairs.begin, pairs.end)
    begin, end = np.zeros((2, len(pairs.owner)), np.int32), np.zeros((2, len(pairs.owner)), np.int32)
    for at, tag in enumerate((KEY, VALUE)):
        found = inside.of(tag)
        begin[at][found.owner], end[at][found.owner] = found.begin, found.end
    names = _pieces(data, begin[0], end[0]).dictionary_encode()
    members = fields(data, begin[1], end[1])
    known = _TYPES.take(members.tag, mode="clip") != NOTHING
    if not known.all():
        members = members.at(np.flatnonzero(known))
    tags = np.zeros(len(pairs.owner), np.int32)
    first, last = np.zeros(len(pairs.owner), np.int32), np.zeros(len(pairs.owner), np.int32)
    tags[members.owner], first[members.owner], last[members.owner] = members.tag, members.begin, members.end
    return names, _TYPES[tags], Fields(pairs.owner, tags, first, last)


@lru_cache(4096)
def _routes(name: bytes) -> tuple[int, ...]:
    """Where the values of an attribute go, by their type: to which column, or behind the columns to which map."""
    number = _NUMBER_OF.get(name)
    fits = _FITS[COLUMNS[number].holds] if number is not None else ()
    return tuple(number if kind in fits and number is not None else len(COLUMNS) + _REST_OF[kind] for kind in range(7))


def _item_text(item: AnyValue) -> str:
    return item.string_value or (str(item.int_value) if item.HasField("int_value") else "")


def _event(event: Span.Event) -> dict[str, object]:
    return {"at_ns": event.time_unix_nano, "name": event.name, "attributes": pairs_as_text(event.attributes)}


def _counted(name: str, of_row: list[list[Any]], field: str) -> Iterator[tuple[str, pa.Array]]:
    """A number of each message, as a list for each row; empty where they are all zero, and left out where all are."""
    numbers = [[getattr(each, field) for each in messages] for messages in of_row]
    if any(map(any, numbers)):
        yield name, pa.array([found if any(found) else [] for found in numbers], pa.list_(pa.uint32()))


def _sized(data: bytes, size: int) -> bytes:
    return data if len(data) == size else bytes(size)


def _other_text(tag: int, data: bytes) -> str:
    """A value that is no text, number or boolean; `data` is its content."""
    value = AnyValue()
    match tag:
        case 0x2A:
            value.array_value.ParseFromString(data)
        case 0x32:
            value.kvlist_value.ParseFromString(data)
        case 0x3A:
            value.bytes_value = data
    return as_text(value)
