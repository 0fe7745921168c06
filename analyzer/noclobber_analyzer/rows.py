"""Reads the store's `accesses` table: the second reader in front of the one decoder of meaning.

What is read are columns, not rows: a column that says nothing costs nothing, and of one that does, each different
value is understood once. Lists, maps and links, which few rows have, are fetched in a second statement for those rows
alone. A column is named as the contract's attribute without the prefix `noclobber.` and with underscores for dots;
what has no column of its own, or came in another type than the column's, stands in a map by type (`rest` texts,
`rest_ints`, `rest_bools`, `rest_doubles`, `rest_others`) under its full name. In a column an empty text, an empty list
and NULL mean that nothing was said. Everything else is decided in `decode`, so that files and store give identical
accesses.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from noclobber_analyzer.access import Process
from noclobber_analyzer.decode import Fact, fact
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.spans import SpanRecord
from noclobber_collector.columns import COLUMNS, PROCESS_COLUMNS, Column, Holds

__all__ = [
    "SELDOM", "ColumnStore", "StoredSpan", "add_spans", "history_of", "processes_of", "read_outlines", "read_spans",
]  # fmt: skip

PROCESSES_MAX: Final = 1024
"""Processes that are remembered from one portion to the next."""

Columns = Mapping[str, Sequence[Any]]
"""The values of some rows by column, all equally long."""

_LISTS: Final = frozenset({Holds.LIST, Holds.TEXT_OR_LIST})
_PLAIN: Final = tuple(column for column in COLUMNS if column.holds not in _LISTS)
_SELDOM: Final = tuple(column for column in COLUMNS if column.holds in _LISTS)
_RESTS: Final = ("rest", "rest_ints", "rest_bools", "rest_doubles", "rest_others")
_LINKS: Final = ("link_trace_ids", "link_span_ids", "link_edges")
_PLACE: Final = ("collector", "segment", "row")
_FOUND_BY: Final = ("minute", "resource_hash")
_NAMES: Final = (
    *_PLACE, *_FOUND_BY, "start_ns", "end_ns", "trace_id", "span_id", "parent_span_id", "span_name", *PROCESS_COLUMNS,
    *(column.name for column in _PLAIN),
)  # fmt: skip
_MORE: Final = (*(column.name for column in _SELDOM), *_RESTS, *_LINKS)
SELDOM: Final = tuple(name for name in _MORE if name not in _LINKS[1:])
"""Columns, all of them lists or maps, of which most rows tell nothing."""
_HAS_MORE: Final = " OR ".join(f"notEmpty({name})" for name in SELDOM)


class ColumnStore(Protocol):
    """A store that gives columns."""

    def columns(self, sql: str, parameters: Mapping[str, object] = ...) -> dict[str, Sequence[Any]]:
        """The columns of a query by name."""
        ...


class StoredSpan(NamedTuple):
    """A span of the store: which segment brought it, who sent it, what it says.

    Attributes:
        segment, row: which segment brought it, and where it stands in there.
        process, span: who sent it, and what it says.
        place: minute and resource hash, by which it is found again.
        outline: whether only some columns were read.
    """

    segment: tuple[str, int]
    row: int
    process: Process
    span: SpanRecord
    place: tuple[int, int]
    outline: bool = False


def history_of(
    store: ColumnStore,
    *,
    frontiers: Mapping[str, int] | None = None,
    silent: Iterable[str] = (),
    ended: bool = False,
    whole: bool = False,
) -> History:
    """The history of all that a store holds.

    Args:
        store: holds the accesses; marks and spans of others may be among them.
        frontiers: by process: how far it is complete (analysis.md 4); from the marks among the rows where None.
        silent: processes that have stopped speaking.
        ended: nothing more is to come (`analyze`): what a process without marks did is complete.
        whole: the rows hold all that the processes ever did, not a window.
    """
    builder = HistoryBuilder()
    add_spans(builder, read_spans(store, "1", {}))
    return builder.finish(ended=ended, whole=whole, frontiers=frontiers, silent=silent)


def add_spans(builder: HistoryBuilder, spans: Iterable[StoredSpan]) -> None:
    """Take some spans; one of another instrumentation (an empty op) is context."""
    for stored in spans:
        builder.spans += 1
        builder.add_span(stored.process, stored.span)


def read_outlines(
    store: ColumnStore, where: str, parameters: Mapping[str, object], columns: Collection[str]
) -> Iterator[StoredSpan]:
    """The spans in the rows that a condition chooses, as far as some columns tell; as `read_spans` else."""
    own = [column for column in COLUMNS if column.name in columns]
    fixed = (*_PLACE, *_FOUND_BY, "start_ns", "end_ns", "trace_id", "span_id", *PROCESS_COLUMNS)
    names = ", ".join((*fixed, *(column.name for column in own)))
    values = store.columns(f"SELECT {names} FROM accesses WHERE {where}", parameters)  # noqa: S608  constants only
    count = len(values.get("row", ()))
    if not count:
        return iter(())
    facts: list[dict[str, Any]] = [{} for _ in range(count)]
    _tell(own, values, range(count), facts)
    none = {name: [""] * count for name in ("parent_span_id", "span_name")}
    return (stored._replace(outline=True) for stored in _spans({**values, **none}, facts, {}))


def read_spans(store: ColumnStore, where: str, parameters: Mapping[str, object]) -> Iterator[StoredSpan]:
    """The spans in the rows that a condition chooses, by collector, segment and row.

    Args:
        store: holds the table `accesses`.
        where: an SQL condition of this package's own, in which values are bound parameters.
        parameters: these values.
    """
    names = ", ".join(_NAMES)
    columns = store.columns(f"SELECT {names}, {_HAS_MORE} AS more FROM accesses WHERE {where}", parameters)  # noqa: S608  constants only
    if not columns.get("row"):
        return iter(())
    facts: list[dict[str, Any]] = [{} for _ in columns["row"]]
    links: dict[int, tuple[tuple[str, str, str], ...]] = {}
    if any(columns["more"]):
        places = {place: at for at, place in enumerate(zip(*(columns[name] for name in _PLACE), strict=True))}
        sql = f"SELECT {', '.join((*_PLACE, *_MORE))} FROM accesses WHERE ({where}) AND ({_HAS_MORE})"  # noqa: S608  constants only
        more = store.columns(sql, parameters)
        rows = [places[place] for place in zip(*(more[name] for name in _PLACE), strict=True)]
        _tell_rest(more, rows, facts)
        _tell(_SELDOM, more, rows, facts)
        links = _links(more, rows)
    _tell(_PLAIN, columns, range(len(facts)), facts)
    return _spans(columns, facts, links)


def _spans(
    columns: Columns, facts: Sequence[dict[str, Any]], links: Mapping[int, tuple[tuple[str, str, str], ...]]
) -> Iterator[StoredSpan]:
    segments = list(zip(columns["collector"], columns["segment"], strict=True))
    processes = processes_of(columns)
    rows = columns["row"]
    found_by = list(zip(*(columns[name] for name in _FOUND_BY), strict=True))
    ids = [_ids(columns[name]) for name in ("trace_id", "span_id", "parent_span_id")]
    starts, ends, names = columns["start_ns"], columns["end_ns"], columns["span_name"]
    for at in sorted(range(len(rows)), key=lambda at: (segments[at], rows[at])):
        yield StoredSpan(
            segments[at],
            rows[at],
            processes[at],
            SpanRecord(
                ids[0][at], ids[1][at], ids[2][at], starts[at], ends[at], names[at], facts[at], links.get(at, ())
            ),
            found_by[at],
        )


def processes_of(columns: Columns) -> list[Process]:
    """Who sent each row; equal ones are one object."""
    known = _Processes()
    return [known[said] for said in zip(*(columns[name] for name in PROCESS_COLUMNS), strict=True)]


class _Processes(dict[tuple[Any, ...], Process]):
    """Processes by what their columns say."""

    def __missing__(self, said: tuple[Any, ...]) -> Process:
        process = self[said] = _process(said)
        return process


@lru_cache(maxsize=PROCESSES_MAX)
def _process(values: tuple[Any, ...]) -> Process:
    said = dict(zip(PROCESS_COLUMNS, values, strict=True))
    texts = {name: said[name] or None for name in ("clock", "key_id", "host", "service", "contract")}
    return Process(id=said["process"], clock_offset_ns=said["clock_offset_ns"], pid=said["pid"] or None, **texts)


def _tell(columns: Iterable[Column], values: Columns, rows: Sequence[int], facts: Sequence[dict[str, Any]]) -> None:
    """Add what some columns say to the facts of their rows."""
    for column in columns:
        memory = _Memory(column)
        told = values[column.name]
        if column.holds in (Holds.NUMBER, Holds.MAYBE):
            if told.count(None) == len(told):
                continue
            said = ((at, value) for at, value in zip(rows, told, strict=True) if value is not None)
        elif not any(told):
            continue
        elif column.holds in _LISTS:
            said = ((at, tuple(value)) for at, value in zip(rows, told, strict=True) if value)
        else:
            said = ((at, value) for at, value in zip(rows, told, strict=True) if value)
        for at, value in said:
            field, meant = memory[value]
            facts[at][field] = meant


class _Memory(dict[Any, Fact]):
    """What each value of one column says."""

    def __init__(self, column: Column) -> None:
        self._attribute = column.attribute
        self._is_truth = column.holds in (Holds.TRUTH, Holds.MAYBE)

    def __missing__(self, value: Any) -> Fact:
        said = self[value] = fact(self._attribute, bool(value) if self._is_truth else value)
        return said


def _tell_rest(values: Columns, rows: Sequence[int], facts: Sequence[dict[str, Any]]) -> None:
    """Add what stands in the maps: the attributes without a column of their own, or of another type than theirs."""
    for name in _RESTS:
        for at, rest in zip(rows, values[name], strict=True):
            facts[at].update(fact(key, _CONVERT[name](value)) for key, value in rest.items())


def _other(value: str) -> object:
    """A list, which stands there as JSON; what else there is (bytes, nested values) means nothing to the contract."""
    return msgspec.json.decode(value) if value.startswith("[") else None


def _same(value: object) -> object:
    return value


_CONVERT: Final[dict[str, Callable[[Any], object]]] = {
    "rest": _same, "rest_ints": _same, "rest_bools": bool, "rest_doubles": _same, "rest_others": _other,
}  # fmt: skip


def _links(values: Columns, rows: Sequence[int]) -> dict[int, tuple[tuple[str, str, str], ...]]:
    """The links of some rows; they stand in three parallel lists."""
    found = {}
    for at, *of_row in zip(rows, *(values[name] for name in _LINKS), strict=True):
        if of_row[0]:
            found[at] = tuple(zip(_ids(of_row[0]), _ids(of_row[1]), map(str, of_row[2]), strict=False))
    return found


def _ids(values: Sequence[bytes | str]) -> list[str]:
    """Ids as lower-case hex: rows hold bytes or text; all zeros is none."""
    found = [value.hex() if isinstance(value, bytes) else str(value).lower() for value in values]
    zeros = "0" * len(found[0]) if found else ""
    return ["" if value == zeros else value for value in found]
