"""The columns of `accesses`: one table that says for each what it holds and where in a span it comes from.

A column is named as its attribute without `noclobber.`, with underscores for dots. Migration 0001 and the view
`otel_traces` are templates over this table, so that what is flattened on the way in is put together again, attribute
by attribute, on the way out. An attribute that has no column, or comes in another type than its column's, stands in the
map `rest*` of its type: nothing is dropped in silence, and the analyzer decodes what was really sent.

A column that is added later is a migration of its own; this table then says to which migration it belongs.

Source: contract 2 (attributes and their types); storage.md 8.1.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from noclobber.contract import Attr

__all__ = ["COLUMNS", "PROCESS_COLUMNS", "Column", "Holds", "column_of", "placeholders"]


class Holds(StrEnum):
    """What a column holds; the value is its type in ClickHouse."""

    WORD = "LowCardinality(String)"
    """Text of few different values; empty: not said."""
    TEXT = "String CODEC(ZSTD(1))"
    NUMBER = "Nullable(Int64) CODEC(ZSTD(1))"
    COUNTED = "Int64 CODEC(ZSTD(1))"
    """A number that is never rightly 0; 0: not said."""
    TRUTH = "UInt8 CODEC(ZSTD(1))"
    """A boolean that is false where it is not said."""
    MAYBE = "Nullable(UInt8) CODEC(ZSTD(1))"
    """A boolean for which "not said" differs from "false"."""
    LIST = "Array(String) CODEC(ZSTD(1))"
    TEXT_OR_LIST = "Array(String)  CODEC(ZSTD(1))"
    TEXT_OR_NUMBER = "String  CODEC(ZSTD(1))"


class Column(NamedTuple):
    """One attribute's column."""

    attribute: str
    holds: Holds

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return column_of(self.attribute)

    @property
    def picked(self) -> str:
        """The expression that takes it out of the span's maps by type: s texts, i numbers, b booleans, l lists."""
        key = f"'{self.attribute}'"
        match self.holds:
            case Holds.WORD | Holds.TEXT:
                return f"s[{key}]"
            case Holds.COUNTED:
                return f"i[{key}]"
            case Holds.NUMBER:
                return f"if(mapContains(i, {key}), i[{key}], NULL)"
            case Holds.TRUTH:
                return f"b[{key}]"
            case Holds.MAYBE:
                return f"if(mapContains(b, {key}), b[{key}], NULL)"
            case Holds.LIST:
                return f"l[{key}]"
            case Holds.TEXT_OR_LIST:
                return f"if(mapContains(s, {key}), [s[{key}]], l[{key}])"
            case Holds.TEXT_OR_NUMBER:
                return f"if(mapContains(i, {key}), toString(i[{key}]), s[{key}])"

    @property
    def as_text(self) -> str:
        """The expression that gives it back as text; empty: not said."""
        match self.holds:
            case Holds.WORD:
                return f"toString({self.name})"
            case Holds.TEXT | Holds.TEXT_OR_NUMBER:
                return self.name
            case Holds.NUMBER:
                return f"ifNull(toString({self.name}), '')"
            case Holds.COUNTED:
                return f"if({self.name} = 0, '', toString({self.name}))"
            case Holds.TRUTH:
                return f"if({self.name} = 1, 'true', '')"
            case Holds.MAYBE:
                return f"multiIf({self.name} = 1, 'true', {self.name} = 0, 'false', '')"
            case Holds.LIST | Holds.TEXT_OR_LIST:
                return f"if(empty({self.name}), '', toJSONString({self.name}))"


def column_of(attribute: str) -> str:
    """The column's name of an attribute."""
    return attribute.removeprefix("noclobber.").replace(".", "_")


COLUMNS: Final = (
    Column(Attr.OP, Holds.WORD),
    Column(Attr.SYSTEM, Holds.WORD),
    Column(Attr.OUTCOME, Holds.WORD),
    Column(Attr.UNIT_KIND, Holds.WORD),
    Column(Attr.VERSION_KIND, Holds.WORD),
    Column(Attr.VERSION_BASE_SOURCE, Holds.WORD),
    Column(Attr.WRITE_MODE, Holds.WORD),
    Column(Attr.GUARD, Holds.WORD),
    Column(Attr.TXN_ISOLATION, Holds.WORD),
    Column(Attr.LOCK_MODE, Holds.WORD),
    Column(Attr.CODE_FUNCTION, Holds.WORD),
    Column(Attr.CODE_FILE, Holds.WORD),
    Column(Attr.PEER_ADDRESS, Holds.WORD),
    Column(Attr.RESOURCE, Holds.TEXT),
    Column(Attr.AGENT, Holds.TEXT),
    Column(Attr.STRAND, Holds.TEXT),
    Column(Attr.RUN, Holds.TEXT),
    Column(Attr.STEP, Holds.TEXT),
    Column(Attr.STRAND_PARENT, Holds.TEXT),
    Column(Attr.STRAND_OTHER, Holds.TEXT),
    Column(Attr.UNIT, Holds.TEXT),
    Column(Attr.VERSION_READ, Holds.TEXT),
    Column(Attr.VERSION_BASE, Holds.TEXT),
    Column(Attr.VERSION_BASE_STRAND, Holds.TEXT),
    Column(Attr.VERSION_OVERWRITTEN, Holds.TEXT),
    Column(Attr.VERSION_WRITTEN, Holds.TEXT),
    Column(Attr.VERSION_EXPECTED, Holds.TEXT),
    Column(Attr.CONTENT_READ, Holds.TEXT),
    Column(Attr.CONTENT_WRITTEN, Holds.TEXT),
    Column(Attr.BRANCH, Holds.TEXT),
    Column(Attr.TXN_ID, Holds.TEXT),
    Column(Attr.TXN_SAVEPOINT, Holds.TEXT),
    Column(Attr.PREDICATE, Holds.TEXT),
    Column(Attr.SCAN_ID, Holds.TEXT),
    Column(Attr.MESSAGE_ID, Holds.TEXT),
    Column(Attr.MESSAGE_KEY, Holds.TEXT),
    Column(Attr.MESSAGE_GROUP, Holds.TEXT),
    Column(Attr.MESSAGE_SESSION, Holds.TEXT),
    Column(Attr.LOCK_OWNER, Holds.TEXT),
    Column(Attr.EFFECT_KEY, Holds.TEXT),
    Column(Attr.EFFECT_HASH, Holds.TEXT),
    Column(Attr.MODEL_SPAN, Holds.TEXT),
    Column(Attr.SEQ, Holds.COUNTED),
    Column(Attr.CODE_LINE, Holds.COUNTED),
    Column(Attr.STRAND_PARENT_SEQ, Holds.NUMBER),
    Column(Attr.STRAND_OTHER_SEQ, Holds.NUMBER),
    Column(Attr.FRONTIER_NS, Holds.NUMBER),
    Column(Attr.ACCESSES, Holds.NUMBER),
    Column(Attr.DROPPED, Holds.NUMBER),
    Column(Attr.VERSION_BASE_SEQ, Holds.NUMBER),
    Column(Attr.VERSION_BASE_END_NS, Holds.NUMBER),
    Column(Attr.SIZE, Holds.NUMBER),
    Column(Attr.TTL_MS, Holds.NUMBER),
    Column(Attr.SCAN_PART, Holds.NUMBER),
    Column(Attr.SCAN_PARTS, Holds.NUMBER),
    Column(Attr.RESULT_COUNT, Holds.NUMBER),
    Column(Attr.LOCK_TTL_MS, Holds.NUMBER),
    Column(Attr.MESSAGE_SEQ, Holds.NUMBER),
    Column(Attr.MESSAGE_DELIVERY, Holds.NUMBER),
    Column(Attr.HLC, Holds.NUMBER),
    Column(Attr.RESOURCE_HASHED, Holds.TRUTH),
    Column(Attr.CANCELLED, Holds.TRUTH),
    Column(Attr.VERSION_WEAK, Holds.TRUTH),
    Column(Attr.CONTENT_NUMERIC, Holds.TRUTH),
    Column(Attr.CLOSED, Holds.TRUTH),
    Column(Attr.SCAN_APPROXIMATE, Holds.TRUTH),
    Column(Attr.OPEN, Holds.TRUTH),
    Column(Attr.PARTIAL, Holds.TRUTH),
    Column(Attr.VERSION_VERBATIM, Holds.MAYBE),
    Column(Attr.VERSION_CANDIDATES, Holds.LIST),
    Column(Attr.LOCKS, Holds.LIST),
    Column(Attr.PREDICATES, Holds.LIST),
    Column(Attr.RESULT_RESOURCES, Holds.LIST),
    Column(Attr.RESULT_VERSIONS, Holds.LIST),
    Column(Attr.WAITS_FOR, Holds.LIST),
    Column(Attr.PART, Holds.TEXT_OR_LIST),
    Column(Attr.LOCK_TOKEN, Holds.TEXT_OR_NUMBER),
)
"""Attributes of a span that have a column of their own."""

PROCESS_COLUMNS: Final[Mapping[str, str]] = {
    "process": Attr.PROCESS,
    "clock": Attr.CLOCK,
    "key_id": Attr.KEY_ID,
    "host": Attr.HOST_NAME,
    "service": Attr.SERVICE_NAME,
    "contract": Attr.CONTRACT,
    "clock_offset_ns": Attr.CLOCK_OFFSET_NS,
    "pid": Attr.PROCESS_PID,
}
"""Columns of a process -> attributes of an OTLP resource; the last two are numbers."""

_TEXTS: Final = (Holds.WORD, Holds.TEXT, Holds.TEXT_OR_LIST, Holds.TEXT_OR_NUMBER)
_NUMBERS: Final = (Holds.NUMBER, Holds.COUNTED, Holds.TEXT_OR_NUMBER)
_TRUTHS: Final = (Holds.TRUTH, Holds.MAYBE)
_LISTS: Final = (Holds.LIST, Holds.TEXT_OR_LIST)

_LEAF: Final = (
    "Tuple(string_value Nullable(String), bool_value Nullable(UInt8), int_value Nullable(Int64), "
    "double_value Nullable(Float64), {array}, kvlist_value Nullable(String), bytes_value Nullable(String))"
)
_VALUE: Final = _LEAF.format(
    array=f"array_value Tuple(values Array({_LEAF.format(array='array_value Nullable(String)')}))"
)


def placeholders() -> Mapping[str, str]:
    """What stands for each `{name}` in a migration."""
    process = list(PROCESS_COLUMNS.items())
    texts, numbers = process[:-2], process[-2:]
    return {
        "columns": _lines(f"{column.name} {column.holds}" for column in COLUMNS),
        "column_names": _lines(column.name for column in COLUMNS),
        "picked": _lines(f"{_only_ours(column)} AS {column.name}" for column in COLUMNS),
        "process_columns": _lines(
            [f"{name} {Holds.WORD}" for name, _ in texts] + [f"{name} Int64" for name, _ in numbers]
        ),
        "process_names": _lines(PROCESS_COLUMNS),
        "picked_of_process": _lines(
            [f"rs['{attribute}'] AS {name}" for name, attribute in texts]
            + [f"ri['{attribute}'] AS {name}" for name, attribute in numbers]
        ),
        "attributes": f"Array(Tuple(key String, value {_VALUE}))",
        "texts": _by_type("string_value"),
        "numbers": _by_type("int_value"),
        "truths": _by_type("bool_value"),
        "doubles": _by_type("double_value"),
        "lists": _made_of(
            "notEmpty(a.value.array_value.values)", f"arrayMap(x -> {_ELEMENT}, a.value.array_value.values)"
        ),
        "others": _made_of(_NO_SCALAR, _any_text("a.value")),
        "resource_texts": _made_of("1", _any_text("a.value")),
        "event_texts": _made_of("1", _any_text("a.value")).replace("attributes", "e.attributes"),
        "link_texts": _made_of("1", _any_text("a.value")).replace("attributes", "k.attributes"),
        "known_texts": _known(_TEXTS),
        "known_numbers": _known(_NUMBERS),
        "known_truths": _known(_TRUTHS),
        "known_lists": _known(_LISTS),
        "known_of_process": ", ".join(f"'{attribute}'" for attribute in PROCESS_COLUMNS.values()),
        "columns_as_map": ", ".join(f"'{column.attribute}', {column.as_text}" for column in COLUMNS),
        "process_as_map": ", ".join(f"'{attribute}', toString({name})" for name, attribute in PROCESS_COLUMNS.items()),
    }


def _only_ours(column: Column) -> str:
    """A span is an access only if noclobber's own scope and process stand behind it (contract 2.4)."""
    if column.attribute == Attr.OP:
        return f"if(startsWith(scope, 'noclobber.') AND process != '', {column.picked}, '')"
    return column.picked


def _lines(items: Iterable[str]) -> str:
    return ",\n    ".join(items)


def _known(kinds: tuple[Holds, ...]) -> str:
    return ", ".join(f"'{column.attribute}'" for column in COLUMNS if column.holds in kinds)


def _by_type(field: str) -> str:
    """A map of the attributes of one type."""
    return _made_of(f"isNotNull(a.value.{field})", f"assumeNotNull(a.value.{field})")


def _made_of(condition: str, value: str) -> str:
    found = "attributes" if condition == "1" else f"arrayFilter(a -> {condition}, attributes)"
    return f"mapFromArrays(arrayMap(a -> a.key, {found}), arrayMap(a -> {value}, {found}))"


_ELEMENT: Final = "coalesce(x.string_value, toString(x.int_value), '')"
_NO_SCALAR: Final = (
    "isNull(a.value.string_value) AND isNull(a.value.int_value) AND isNull(a.value.bool_value) "
    "AND isNull(a.value.double_value)"
)


def _any_text(value: str) -> str:
    """Any value as text: lists as JSON, bytes and nested values in base64."""
    element = (
        "multiIf(isNotNull(x.string_value), toJSONString(assumeNotNull(x.string_value)), "
        f"{_scalar_text('x')}, toJSONString(base64Encode(coalesce(x.bytes_value, x.kvlist_value, x.array_value, ''))))"
    )
    return (
        f"multiIf(isNotNull({value}.string_value), assumeNotNull({value}.string_value), {_scalar_text(value)}, "
        f"isNotNull({value}.bytes_value), base64Encode(assumeNotNull({value}.bytes_value)), "
        f"isNotNull({value}.kvlist_value), base64Encode(assumeNotNull({value}.kvlist_value)), "
        f"concat('[', arrayStringConcat(arrayMap(x -> {element}, {value}.array_value.values), ','), ']'))"
    )


def _scalar_text(value: str) -> str:
    return (
        f"isNotNull({value}.int_value), toString(assumeNotNull({value}.int_value)), "
        f"isNotNull({value}.bool_value), if(assumeNotNull({value}.bool_value) = 1, 'true', 'false'), "
        f"isNotNull({value}.double_value), toString(assumeNotNull({value}.double_value))"
    )
