"""Reads rows of the store's `accesses` table: the second reader in front of the one decoder of meaning.

Columns are named as the contract's attributes without the prefix `noclobber.` and with underscores for dots; what has
no column of its own, or came in another type than the column's, stands in a map by type (`rest` texts, `rest_ints`,
`rest_bools`, `rest_doubles`, `rest_others`) under its full name. In a column an empty text, an empty list and NULL mean
that nothing was said. Everything else is decided in `decode`, so that files and store give identical accesses.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from noclobber.contract import Attr
from noclobber_analyzer.access import Process
from noclobber_analyzer.decode import fact
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.spans import SpanRecord

__all__ = ["Row", "add_row", "from_rows", "span_of"]

Row = Mapping[str, object]

ATTRIBUTE_OF: Final[dict[str, str]] = {
    name.removeprefix("noclobber.").replace(".", "_"): name
    for key, name in vars(Attr).items()
    if key.isupper() and isinstance(name, str)
}
"""The attribute that each column holds."""

BOOLEANS: Final = frozenset(
    {Attr.RESOURCE_HASHED, Attr.CANCELLED, Attr.VERSION_WEAK, Attr.VERSION_VERBATIM, Attr.CONTENT_NUMERIC, Attr.CLOSED,
     Attr.SCAN_APPROXIMATE, Attr.OPEN, Attr.PARTIAL}
)  # fmt: skip
"""Attributes that the store keeps as 0 and 1."""
ZERO_SAYS_NOTHING: Final = frozenset({Attr.SEQ, Attr.CODE_LINE})
"""Numbers whose columns are 0 where nothing was said; in all other columns that is NULL."""


def from_rows(
    rows: Iterable[Row],
    *,
    frontiers: Mapping[str, int] | None = None,
    silent: Iterable[str] = (),
    ended: bool = False,
    whole: bool = False,
) -> History:
    """The history in rows of the store.

    Args:
        rows: dictionaries by column; marks and spans of others may be among them.
        frontiers: by process: how far it is complete (analysis.md 4); from the marks among the rows where None.
        silent: processes that have stopped speaking.
        ended: nothing more is to come (`analyze`): what a process without marks did is complete.
        whole: the rows hold all that the processes ever did, not a window.
    """
    builder = HistoryBuilder()
    for row in rows:
        add_row(builder, row)
    return builder.finish(ended=ended, whole=whole, frontiers=frontiers, silent=silent)


def add_row(builder: HistoryBuilder, row: Row) -> None:
    """Take one row; one of another instrumentation (an empty op) is context."""
    process, span = span_of(row)
    builder.spans += 1
    builder.add_span(process, span)


def span_of(row: Row) -> tuple[Process, SpanRecord]:
    """The span that a row holds, and who sent it."""
    span = SpanRecord(
        _hex(row["trace_id"]),
        _hex(row["span_id"]),
        _hex(row.get("parent_span_id", "")),
        _integer(row["start_ns"]),
        _integer(row["end_ns"]),
        str(row.get("span_name", "")),
        dict(fact(name, value) for name, value in _attributes(row).items()),
        _links(row),
    )
    return _process(row), span


def _process(row: Row) -> Process:
    return Process(
        id=str(row.get("process") or ""),
        clock=_said(row.get("clock")),
        clock_offset_ns=_integer(row.get("clock_offset_ns") or 0),
        key_id=_said(row.get("key_id")),
        host=_said(row.get("host")),
        service=_said(row.get("service")),
        pid=_integer(row["pid"]) if row.get("pid") else None,
        contract=_said(row.get("contract")),
    )


def _said(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _attributes(row: Row) -> dict[str, object]:
    found: dict[str, object] = {}
    for column, convert in _REST.items():
        rest = row.get(column)
        if isinstance(rest, Mapping) and rest:
            found.update((str(name), convert(value)) for name, value in rest.items())
    for column, value in row.items():
        name = ATTRIBUTE_OF.get(column)
        if name is not None:
            _put(found, name, value)
    return found


def _put(found: dict[str, object], name: str, value: object) -> None:
    if value is None or (isinstance(value, str | tuple | list) and not value):
        return
    if name in BOOLEANS:
        truth = value in (1, True, "true", "1")
        if truth or name == Attr.VERSION_VERBATIM:
            found[name] = truth
        return
    if value == 0 and name in ZERO_SAYS_NOTHING:
        return
    found[name] = value


def _other(value: object) -> object:
    """A list, which stands there as JSON; what else there is (bytes, nested values) means nothing to the contract."""
    text = str(value)
    return msgspec.json.decode(text) if text.startswith("[") else None


_REST: Final[dict[str, Callable[[object], object]]] = {
    "rest": str,
    "rest_ints": lambda value: value,
    "rest_bools": bool,
    "rest_doubles": lambda value: value,
    "rest_others": _other,
}


def _links(row: Row) -> tuple[tuple[str, str, str], ...]:
    """Links stand in three parallel lists."""
    traces, spans, edges = (row.get(name) or () for name in ("link_trace_ids", "link_span_ids", "link_edges"))
    if not isinstance(traces, Iterable) or not isinstance(spans, Iterable) or not isinstance(edges, Iterable):
        return ()
    return tuple((_hex(t), _hex(s), str(e)) for t, s, e in zip(traces, spans, edges, strict=False))


def _hex(value: object) -> str:
    """An id as lower-case hex: rows hold bytes or text; all zeros is none."""
    text = value.hex() if isinstance(value, bytes) else str(value).lower()
    return text if text.strip("0") else ""


def _integer(value: object) -> int:
    if isinstance(value, int | str):
        return int(value)
    raise TypeError(value)
