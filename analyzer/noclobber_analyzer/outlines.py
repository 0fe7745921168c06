"""Accesses to other analyzers' resources, as outlines: enough to know what a verdict needs, filled in where it does.

What of a segment lies in one's own ranges is read whole, and so is what every judgement looks at (marks, spawns, joins,
locks, messages). Of the rest come some forty columns out of a hundred: who, when, on what, in which unit. With these
the window knows the same strands, holes and units as that of a single analyzer, so that it picks the same accesses for
a judgement; those of them that are outlines are then fetched whole, once, by the store's primary key. A judgement
therefore sees exactly what it would see if nobody shared the store.

An outline has the columns from which `window`, `knowledge`, `reach` and `coverage` decide, and those in which a span
could be unreadable: a row that has attributes in another type than their columns' is read whole. A span that comes
again under a known name is outlined again: which of its forms counts is decided when it is fetched. Where most outlines
have to be filled in, since units reach over all ranges, everything is read whole at once, and now and then tried in
outline again.

Source: analysis.md 6 (second fetch by unit) and 10, docs/decisions/0006-ranges.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final

from noclobber.contract import Op
from noclobber_analyzer.access import Access, Mark, ids_of
from noclobber_analyzer.columnar import Stored, decoded, read_accesses
from noclobber_analyzer.cursor import SegmentId, Store, read_segments
from noclobber_analyzer.history import that_counts
from noclobber_analyzer.ranges import SHIFT, Share
from noclobber_analyzer.rows import StoredSpan, read_outlines, read_spans
from noclobber_analyzer.window import SYNC, Name, Window

__all__ = ["Outlines"]

COLUMNS: Final = (
    "op", "resource", "system", "outcome", "agent", "strand", "seq", "step", "unit", "unit_kind", "txn_id", "open",
    "version_kind", "version_base_source", "write_mode", "guard", "message_id", "effect_hash", "result_resources",
    "version_read", "version_base", "version_written", "version_weak", "result_versions",
)  # fmt: skip
"""What an outline tells, beside its process, its times and its place."""
WHOLE: Final = (
    f"(bitShiftRight(resource_hash, {SHIFT}) IN {{ranges:Array(UInt8)}} OR op IN {{always:Array(String)}} "
    "OR strand_parent != '' OR notEmpty(link_trace_ids) OR arrayExists(k -> startsWith(k, 'noclobber.'), "
    "arrayConcat(mapKeys(rest), mapKeys(rest_ints), mapKeys(rest_bools), mapKeys(rest_doubles), mapKeys(rest_others))))"
)
"""Which rows are read whole."""
ALWAYS: Final = sorted(str(op) for op in (*SYNC, Op.MARK))
FETCHED_MAX: Final = 500
"""Accesses fetched by one statement: their ids stand in a URL, where the store is a server."""

WORTH_IT: Final = 0.4
"""Share of outlines that are filled in, from which on it is cheaper to read everything whole."""
LATELY: Final = 20_000
"""Outlines over which that share is taken."""
TRY_EVERY: Final = 16
"""Pulls after which outlines are tried again where they were not worth it."""

Decoder = Callable[[StoredSpan], Access | Mark | None]


class Outlines:
    """What a window has of others' resources, for one analyzer.

    Args:
        share: which resources are its own.
        window: where accesses are kept.
        decoded: what a row is; None where it cannot be read.

    Attributes:
        fetched: accesses that were filled in.
    """

    def __init__(self, share: Share, window: Window, decoded: Decoder) -> None:
        self.fetched = 0
        self._share, self._window, self._decoded = share, window, decoded
        self._lacking: dict[Name, tuple[int, int]] = {}
        self._pulls = 0
        self._outlined = self._filled = 0.0

    def __len__(self) -> int:
        return len(self._lacking)

    def read(self, store: Store, segments: Sequence[SegmentId]) -> list[Stored]:
        """The rows of some segments, by the times of their calls: one's own whole, those of others in outline."""
        self._pulls += 1
        if self._share.is_all or not self._are_worth_it():
            return read_segments(store, segments)
        return self._parted(store, segments)

    def _are_worth_it(self) -> bool:
        if self._outlined > LATELY:
            self._outlined, self._filled = self._outlined / 2, self._filled / 2
        return self._filled <= WORTH_IT * self._outlined or self._pulls % TRY_EVERY == 0

    def _parted(self, store: Store, segments: Sequence[SegmentId]) -> list[Stored]:
        within = "collector = {name:String} AND segment IN {segments:Array(UInt64)} AND op != ''"
        found: list[Stored] = []
        for name in dict.fromkeys(name for name, _ in segments):
            numbers = [segment for of, segment in segments if of == name]
            asked: dict[str, object] = {"name": name, "segments": numbers, "always": ALWAYS}
            asked["ranges"] = sorted(self._share.ranges)
            found += read_accesses(store, f"{within} AND {WHOLE}", asked)
            found += map(decoded, read_outlines(store, f"{within} AND NOT {WHOLE}", asked, COLUMNS))
        found.sort(key=itemgetter(0))
        return found

    def add(self, access: Access, stored: Stored) -> set[str]:
        """Take an access, whole or in outline; returns the resources whose verdicts it may change."""
        if self._share.is_all and not self._lacking:
            return self._window.add(access)
        name, outline = access.name, stored.outline
        if stored.item is not None and not isinstance(stored.item, Mark) and stored.item.resource == access.resource:
            self._share.learn(access.resource, stored.place[4])
        known = self._window.get(name)
        if known is None or not (outline or name in self._lacking):
            concerned = self._window.add(access)
        else:
            outline = True
            concerned = self._window.replace(max(known, access, key=lambda a: (not a.open, a.end_ns)))
        if outline:
            self._lacking[name] = stored.place[3:]
            self._outlined += 1
        return concerned

    def fill(self, store: Store, accesses: Iterable[Access]) -> tuple[bool, set[str]]:
        """Fetch what is lacking of some accesses.

        Returns:
            Whether anything was fetched, and the resources to which what was fetched turned out to belong beside those
            of the outlines: verdicts on them may change.
        """
        wanted = {access.name: self._lacking[access.name] for access in accesses if access.name in self._lacking}
        if not wanted:
            return False, set()
        before = {name: self._window.get(name) for name in wanted}
        found: dict[Name, Access] = {}
        for stored in _spans(store, wanted):
            name = (stored.span.trace_id, stored.span.span_id)
            item = self._decoded(stored) if name in self._lacking else None
            if isinstance(item, Access):
                found[name] = that_counts(found[name], item) if name in found else item
        touched: set[str] = set()
        for name, access in found.items():
            concerned = self._window.replace(access)
            outline = before.get(name)
            if outline is not None and _facts(outline) != _facts(access):
                touched |= concerned
        for name in (*wanted, *found):
            self._lacking.pop(name, None)
        self.fetched += len(found)
        self._filled += len(found)
        return True, touched | self._window.measure()

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop accesses that fell out of the window."""
        for key in keys if self._lacking else ():
            self._lacking.pop(ids_of(key), None)


def _spans(store: Store, places: Mapping[Name, tuple[int, int]]) -> Iterator[StoredSpan]:
    """The spans of some accesses, by minute and hash of their resources; each as often as it came."""
    where = (
        "minute IN {minutes:Array(UInt32)} AND resource_hash IN {hashes:Array(UInt64)} "
        "AND lower(hex(span_id)) IN {spans:Array(String)} AND op != ''"
    )
    names = sorted(places, key=places.__getitem__)
    for at in range(0, len(names), FETCHED_MAX):
        part = names[at : at + FETCHED_MAX]
        asked: dict[str, object] = {
            "minutes": sorted({places[name][0] for name in part}),
            "hashes": sorted({places[name][1] for name in part}),
            "spans": [span_id for _, span_id in part],
        }
        yield from read_spans(store, where, asked)


def _facts(access: Access) -> tuple[object, ...]:
    """What an outline says of where an access belongs."""
    members = access.scan.resources if access.scan is not None else ()
    return access.resource, members, access.unit, access.txn_id, access.start_ns, access.end_ns, access.op
