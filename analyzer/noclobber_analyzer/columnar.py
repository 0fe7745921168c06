"""Reads accesses out of the store's columns many at a time: what live analysis can keep up with.

Row by row, with a dictionary of facts for each, reading costs more than all that follows. But most rows of a portion
tell the same facts: a few dozen shapes make up a hundred thousand rows. So the store says of each row which columns
tell something (a bit for each), and rows of one shape are made into accesses together, column by column, with no step
of this program for each. What is odd (lists, links, attributes without a column, marks, scans, a lack of what every
access must have) is read row by row (`rows`), and so is a shape that holds a word which nobody knows; what a word or a
value means is decided in `decode` alone. Both ways give identical accesses, by test.

Source: P. Boncz, M. Zukowski, N. Nes: MonetDB/X100, CIDR 2005 (vectors of values in place of tuples);
docs/decisions/0011.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import repeat
from operator import itemgetter, or_
from typing import Any, Final, NamedTuple

from noclobber.contract import Attr, Op
from noclobber_analyzer.access import Access, Mark, Process
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.decode import MISREAD, Unreadable, decode_span, fact, facts, record_of
from noclobber_analyzer.forms import TIME_BITS, form_of
from noclobber_analyzer.rows import SELDOM, ColumnStore, StoredSpan, processes_of, read_spans
from noclobber_analyzer.spans import SpanRecord
from noclobber_collector.columns import COLUMNS, PROCESS_COLUMNS, Column, Holds

__all__ = ["Place", "Stored", "decoded", "read_accesses"]

Place = tuple[str, int, int, int, int]
"""Where a row stands: collector, segment, its number in there; minute and resource hash, by which it is found again."""


class Stored(NamedTuple):
    """A row of the store.

    Attributes:
        called_ns: the call, on its machine's clock.
        item: what it is; None: it cannot be read.
        place: where it stands.
        outline: whether only some columns were read.
    """

    called_ns: int
    item: Access | Mark | None
    place: Place
    outline: bool = False


SHAPES_MAX: Final = 4096
"""Shapes that are remembered at a time: what repeats is learnt again at once."""
_WORDS: Final = (
    Attr.OP, Attr.SYSTEM, Attr.OUTCOME, Attr.UNIT_KIND, Attr.VERSION_KIND, Attr.VERSION_BASE_SOURCE, Attr.WRITE_MODE,
    Attr.GUARD,
)  # fmt: skip
"""Attributes of few values: they are part of a shape."""
_ALWAYS: Final = (Attr.RESOURCE, Attr.AGENT, Attr.STRAND, Attr.SEQ)
"""What else every access has."""
_LISTS: Final = frozenset({Holds.LIST, Holds.TEXT_OR_LIST})
_LOCKS: Final = "locks"
"""The one list that is not odd."""
_TRUTHS: Final = frozenset({Holds.TRUTH, Holds.MAYBE})
_OF_COLUMNS: Final = {column.attribute: column for column in COLUMNS}
_TOLD: Final = tuple(
    column
    for column in COLUMNS
    if (column.holds not in _LISTS or column.name == _LOCKS)
    and column.attribute not in {*_WORDS, *_ALWAYS, Attr.HLC, Attr.RESOURCE_HASHED}
)
"""Columns that a row may tell something in, by bit."""
assert len(_TOLD) < 64, "a row says in one number which columns tell anything"


def _tells(column: Column) -> str:
    """An SQL condition: whether a column tells anything; of a truth that is true by default, whether it is false."""
    match column.holds:
        case Holds.NUMBER:
            return f"isNotNull({column.name})"
        case Holds.MAYBE:
            return f"ifNull({column.name} = 0, 0)"
        case Holds.LIST:
            return f"notEmpty({column.name})"
        case Holds.COUNTED | Holds.TRUTH:
            return f"{column.name} != 0"
        case _:
            return f"{column.name} != ''"


_BITS: Final = " + ".join(f"bitShiftLeft(toUInt64({_tells(column)}), {bit})" for bit, column in enumerate(_TOLD))
_IS_WHOLE: Final = " AND ".join(_tells(_OF_COLUMNS[name]) for name in (*_ALWAYS, Attr.OP, Attr.SYSTEM))
_HAS_MORE: Final = " OR ".join(f"notEmpty({name})" for name in SELDOM if name != _LOCKS)
_ODD: Final = (
    f"(NOT ({_IS_WHOLE}) OR op IN ('{Op.MARK}', '{Op.SCAN}') OR {_HAS_MORE} "
    "OR trace_id = toFixedString('', 16) OR span_id = toFixedString('', 8) "
    f"OR isNotNull({_OF_COLUMNS[Attr.FRONTIER_NS].name}))"
)
_CALLED: Final = "toInt64(start_ns) - clock_offset_ns"
_FIXED: Final = (
    "collector", "segment", "row", "minute", "resource_hash", f"{_CALLED} AS called_ns", "start_ns AS begun_ns",
    "greatest(start_ns, end_ns) AS ended_ns", "toFixedString(concat(span_id, trace_id), 24) AS key", f"{_BITS} AS told",
    *PROCESS_COLUMNS, *(_OF_COLUMNS[attribute].name for attribute in (*_WORDS, *_ALWAYS)),
)  # fmt: skip
_by_call: Final = itemgetter(0)


def read_accesses(store: ColumnStore, where: str, parameters: Mapping[str, object]) -> list[Stored]:
    """The accesses and marks in the rows that a condition chooses, by the times of their calls.

    Args:
        store: holds the table `accesses`.
        where: an SQL condition of this package's own, in which values are bound parameters.
        parameters: these values.
    """
    found = _plain(store, where, parameters)
    found += map(decoded, read_spans(store, f"({where}) AND {_ODD}", parameters))
    found.sort(key=_by_call)
    return found


def _plain(store: ColumnStore, where: str, parameters: Mapping[str, object]) -> list[Stored]:
    """The rows that are not odd.

    Only columns are read that told something lately; if any other does, all that do are read.
    """
    while True:
        asked = _lately.told
        columns = (column for bit, column in enumerate(_TOLD) if asked >> bit & 1 and column.holds not in _TRUTHS)
        names = ", ".join((*_FIXED, *(column.name for column in columns)))
        values = store.columns(f"SELECT {names} FROM accesses WHERE ({where}) AND NOT {_ODD}", parameters)  # noqa: S608  constants only
        if not values.get("told"):
            return []
        told = reduce(or_, set(values["told"]))
        if not told & ~asked:
            return _Portion(values).stored()
        _lately.told |= told


class _Lately:
    """Which columns told something lately, by bit; where two threads add to it at once, one may have to ask again."""

    told = 0


_lately: Final = _Lately()


def decoded(stored: StoredSpan) -> Stored:
    """A row that was read by itself."""
    span, process = stored.span, stored.process
    place = (*stored.segment, stored.row, *stored.place)
    return Stored(local_ns(process, span.start_ns), _item(span, process), place, stored.outline)


def _item(span: SpanRecord, process: Process) -> Access | Mark | None:
    try:
        return decode_span(span, process)
    except (Unreadable, TypeError, ValueError):
        return None


Part = Callable[["_Portion", Callable[[Sequence[Any]], Sequence[Any]]], Iterable[Any]]
"""Gives the values of one fact, of the rows that something picks out of the columns of a portion."""


class _Shape(NamedTuple):
    """How accesses of one shape are made: of which values of each row."""

    made_of: Callable[..., Access]
    parts: tuple[Part, ...]


_SHAPES: Final[dict[tuple[Any, ...], _Shape | None]] = {}
_UNKNOWN: Final = _Shape(Access, ())
"""Stands for one that was not learnt yet; None is a shape whose rows are read one by one."""


class _Portion:
    """Rows by column, none of them odd."""

    def __init__(self, values: Mapping[str, Sequence[Any]]) -> None:
        self.values = values
        self.process = processes_of(values)
        self.times = [
            begun << TIME_BITS | ended for begun, ended in zip(values["begun_ns"], values["ended_ns"], strict=True)
        ]

    def stored(self) -> list[Stored]:
        """All rows."""
        values = self.values
        items: list[Access | Mark | None] = [None] * len(self.times)
        words = [values[_OF_COLUMNS[attribute].name] for attribute in _WORDS]
        rows: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for at, signs in enumerate(zip(values["told"], *words, strict=True)):
            rows[signs].append(at)
        for signs, of_shape in rows.items():
            for at, item in zip(of_shape, self._items(signs, of_shape), strict=True):
                items[at] = item
        places = zip(*(values[name] for name in _FIXED[:5]), strict=True)
        told = zip(values["called_ns"], items, places, repeat(False))
        return list(map(tuple.__new__, repeat(Stored), told))  # what `Stored._make` does, without a call for each

    def _items(self, signs: tuple[Any, ...], rows: Sequence[int]) -> Iterable[Access | Mark | None]:
        shape = _SHAPES.get(signs, _UNKNOWN)
        if shape is _UNKNOWN:
            if len(_SHAPES) >= SHAPES_MAX:
                _SHAPES.clear()
            shape = _SHAPES[signs] = _shape_of(signs[0], signs[1:])
        if shape is None:
            return map(self._by_itself, rows)
        pick: Callable[[Sequence[Any]], Sequence[Any]] = (
            itemgetter(*rows) if len(rows) > 1 else lambda values: (values[rows[0]],)
        )
        return map(shape.made_of, pick(self.times), *(part(self, pick) for part in shape.parts))

    def _by_itself(self, at: int) -> Access | Mark | None:
        """A row of a shape that cannot be told beforehand: what it says may be misread."""
        values = self.values
        said = [(name, values[_OF_COLUMNS[name].name][at]) for name in (*_WORDS, *_ALWAYS)]
        for bit, column in enumerate(_TOLD):
            if values["told"][at] >> bit & 1:
                truth = column.holds in _TRUTHS
                said.append((column.attribute, column.holds is Holds.TRUTH if truth else values[column.name][at]))
        key = values["key"][at].hex()
        known_facts = dict(fact(name, value) for name, value in said)
        span = SpanRecord(key[16:], key[:16], "", values["begun_ns"][at], values["ended_ns"][at], "", known_facts, ())
        return _item(span, self.process[at])


def _shape_of(told: int, words: Sequence[str]) -> _Shape | None:
    """How accesses are made whose columns tell something by bit, and that say these words; None: one by one."""
    shared: dict[str, Any] = {}
    parts: dict[str, Part] = {"key": _column("key"), "process": lambda portion, pick: pick(portion.process)}
    groups: dict[str, dict[str, Part]] = defaultdict(dict)
    columns = [column for bit, column in enumerate(_TOLD) if told >> bit & 1]
    for attribute, word in zip(_WORDS, words, strict=True):
        field, value = fact(attribute, word)
        if field == MISREAD:
            return None
        if field:
            shared[field] = value
    for column in (*(_OF_COLUMNS[attribute] for attribute in _ALWAYS), *columns):
        if column.holds in _TRUTHS:
            field, value = fact(column.attribute, column.holds is Holds.TRUTH)
            shared[field] = value
            continue
        field, part = _said(column)
        group, _, name = field.rpartition(".")
        (groups[group] if group else parts)[name] = part
    for group, of_group in groups.items():
        record = record_of(group, of_group)
        if record is not None:
            parts[group] = _record(record, of_group)
    parts.setdefault("unit", parts.get("step", parts["strand"]))
    if any("." in field for field in shared):
        return None
    made_of, kept = form_of(parts, shared)
    return _Shape(made_of, tuple(parts[name] for name in kept))


def _column(name: str) -> Part:
    return lambda portion, pick: pick(portion.values[name])


def _said(column: Column) -> tuple[str, Part]:
    """The fact that a column tells, and its values."""
    field, understood = facts(column.attribute)
    name = column.name
    return field, lambda portion, pick: understood(pick(portion.values[name]))


def _record(record: Callable[..., Any], of_group: Mapping[str, Part]) -> Part:
    """The records that some columns tell together."""
    names = tuple(of_group)

    def made(portion: _Portion, pick: Callable[[Sequence[Any]], Sequence[Any]]) -> Iterator[Any]:
        told = zip(*(part(portion, pick) for part in of_group.values()), strict=True)
        return (record(**dict(zip(names, each, strict=True))) for each in told)

    return made
