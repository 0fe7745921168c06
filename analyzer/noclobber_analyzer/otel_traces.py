"""Reads somebody's `otel_traces`: the table of the OpenTelemetry Collector's ClickHouse exporter, as a history.

Agents may send to a collector that is there already. Its exporter turns every attribute into text: numbers, booleans
and lists come back by what the contract says of each attribute, so that the accesses, and the ids of findings, are
those that noclobber's own receiver would have given. Only spans of noclobber's own libraries are read; nothing is
written there. The exporter's table of earlier versions, without columns for the scope, keeps it among the attributes.

Source: opentelemetry-collector-contrib, exporter/clickhouseexporter (traces_table.sql, exporter_traces.go); contract 2.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Protocol

import msgspec

from noclobber.contract import Attr
from noclobber.declarations import Declarations
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.decode import fact
from noclobber_analyzer.errors import AnalyzerError
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.replay import ACCESSES_MAX, END_OF_TIME_NS, WARM_UP_NS, Stretch, TooMuchError, portions
from noclobber_analyzer.spans import SpanGroup, SpanRecord
from noclobber_collector.columns import COLUMNS, Holds

__all__ = ["TABLE", "ForeignTableError", "history_in_otel_traces"]

TABLE: Final = "otel_traces"
NEEDED: Final = (
    "Timestamp", "TraceId", "SpanId", "ParentSpanId", "SpanName", "ResourceAttributes", "SpanAttributes", "Duration",
    "Links.TraceId", "Links.SpanId", "Links.Attributes",
)  # fmt: skip
SCOPE_BEFORE: Final = ("otel.scope.name", "otel.library.name")
"""Where the scope stands in tables without a column for it."""
NEGATIVE: Final = 1 << 63
"""A duration from here on is a negative one that was put into an unsigned column: the span has no end."""
_NUMBERS: Final = frozenset(c.attribute for c in COLUMNS if c.holds in (Holds.NUMBER, Holds.COUNTED))
_TRUTHS: Final = frozenset(c.attribute for c in COLUMNS if c.holds in (Holds.TRUTH, Holds.MAYBE))
_LISTS: Final = frozenset(c.attribute for c in COLUMNS if c.holds in (Holds.LIST, Holds.TEXT_OR_LIST))
_WORDS: Final[Mapping[str, bool]] = {"true": True, "false": False}


class ForeignTableError(AnalyzerError):
    """The table is not there, or not the exporter's; says what to do."""


class Source(Protocol):
    """A store that gives rows and columns, and says how people know it."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def rows(self, sql: str, parameters: Mapping[str, object] = ...) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        ...

    def columns(self, sql: str, parameters: Mapping[str, object] = ...) -> dict[str, Sequence[Any]]:
        """The columns of a query by name."""
        ...


def history_in_otel_traces(
    source: Source,
    table: str = TABLE,
    stretch: Stretch | None = None,
    progress: Callable[[int], None] | None = None,
    declarations: Declarations = NOTHING_DECLARED,
) -> History:
    """The history in an exporter's table.

    Args:
        source: the database that has it.
        table: its name.
        stretch: of time, with what came shortly before; None: all there is.
        progress: told how many spans have been read.
        declarations: what owners know of their resources.

    Raises:
        ForeignTableError: there is no such table, or it is not the exporter's.
        TooMuchError: it has more accesses than one run judges.
    """
    stretch = stretch or Stretch()
    scope = _scope_of(source, table)
    where = f"startsWith({scope}, 'noclobber.') AND {_TIME} >= {{from:Int64}} AND {_TIME} < {{until:Int64}}"
    asked = {
        "table": table,
        "from": max(0, (stretch.since_ns or 0) - WARM_UP_NS),
        "until": stretch.until_ns or END_OF_TIME_NS,
    }
    by_minute = f"SELECT {_MINUTE} AS m, count() FROM {{table:Identifier}} WHERE {where} GROUP BY m ORDER BY m"  # noqa: S608  constants only
    minutes = [(int(minute), int(count)) for minute, count in source.rows(by_minute, asked)]
    total = sum(count for _, count in minutes)
    if total > ACCESSES_MAX:
        raise TooMuchError(
            f"the stretch has {total:,} accesses, and one run judges {ACCESSES_MAX:,}: narrow it (--since, --until)"
        )
    builder = HistoryBuilder(declarations)
    sql = (
        f"SELECT {_SPAN}, {scope} AS scope FROM {{table:Identifier}} "  # noqa: S608  constants only
        f"WHERE {_MINUTE} >= {{first:UInt32}} AND {_MINUTE} <= {{last:UInt32}} AND {where}"
    )
    for first, last in portions(minutes):
        for group in _groups(source.columns(sql, {**asked, "first": first, "last": last})):
            builder.add_group(group)
        if progress is not None:
            progress(builder.spans)
    return builder.finish(ended=True, whole=stretch == Stretch())


_TIME: Final = "toUnixTimestamp64Nano(Timestamp)"
_MINUTE: Final = "toUInt32(intDiv(toUnixTimestamp64Nano(Timestamp), 60000000000))"
_SPAN: Final = (
    f"{_TIME} AS start_ns, TraceId, SpanId, ParentSpanId, SpanName, ResourceAttributes, SpanAttributes, "
    "toUInt64(Duration) AS took_ns, `Links.TraceId` AS link_traces, `Links.SpanId` AS link_spans, "
    "arrayMap(m -> m['noclobber.edge'], `Links.Attributes`) AS link_edges"
)


def _scope_of(source: Source, table: str) -> str:
    """The expression for a span's scope, once it is clear that the table is the exporter's."""
    told = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
    types = {str(name): str(kind) for name, kind in source.rows(told, {"table": table})}
    if not types:
        raise ForeignTableError(f"{source.name} has no table {table}: name the exporter's database in the URL (/otel)")
    lacking = [name for name in NEEDED if name not in types]
    if lacking:
        raise ForeignTableError(
            f"{source.name}: {table} is not the ClickHouse exporter's: it has no column {lacking[0]}"
        )
    if not types["SpanAttributes"].startswith("Map("):
        raise ForeignTableError(
            f"{source.name}: {table} keeps attributes as {types['SpanAttributes']}, and only the exporter's form with "
            "Map columns can be read: set its `json` option off, or send to noclobber beside it"
        )
    if "ScopeName" in types:
        return "ScopeName"
    first, second = (f"SpanAttributes['{name}']" for name in SCOPE_BEFORE)
    return f"if({first} != '', {first}, {second})"


def _groups(columns: Mapping[str, Sequence[Any]]) -> Iterator[SpanGroup]:
    """The rows of a query, those that follow one another of one process and library together."""
    senders = list(zip(columns.get("ResourceAttributes", ()), columns.get("scope", ()), strict=True))
    for (resource, scope), rows in groupby(range(len(senders)), key=senders.__getitem__):
        yield SpanGroup(resource, scope, [_record(columns, row) for row in rows])


def _record(columns: Mapping[str, Sequence[Any]], row: int) -> SpanRecord:
    start_ns, took_ns = columns["start_ns"][row], columns["took_ns"][row]
    links = zip(*(columns[name][row] for name in ("link_traces", "link_spans", "link_edges")), strict=True)
    attributes = columns["SpanAttributes"][row]
    unended = took_ns >= NEGATIVE or (took_ns == 0 and attributes.get(Attr.OPEN) == "true")
    return SpanRecord(
        columns["TraceId"][row].lower(),
        columns["SpanId"][row].lower(),
        columns["ParentSpanId"][row].lower(),
        start_ns,
        0 if unended else start_ns + took_ns,
        columns["SpanName"][row],
        dict(fact(name, _typed(name, text)) for name, text in attributes.items()),
        tuple((trace.lower(), span.lower(), edge) for trace, span, edge in links),
    )


def _typed(name: str, text: str) -> object:
    """The value that an attribute had before the exporter made text of it; as it stands where it had another type."""
    if name in _NUMBERS:
        return int(text) if text.lstrip("-").isdecimal() else text
    if name in _TRUTHS:
        return _WORDS.get(text, text)
    if name in _LISTS and text.startswith("["):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text
