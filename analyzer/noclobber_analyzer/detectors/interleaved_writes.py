"""Interleaved writes: the appends of two units alternate where each meant one piece.

Two units append twice or more to one ordered resource, and an append of each lies between two of the other; or one
piece lies whole inside the other. Positions that are versions prove it, clocks make it likely, a bare strand as unit
leaves it open. Who had read the other's append before it added its own took turns and did not race. A lock that both
held, other parts and other ordering keys keep pieces apart.

Only units whose appends are neighbours somewhere are compared, so the work grows with the appends alone.

Source: noclobber; contract 3.1, detection.md 3.2 (adk-python#4751, strands-agents#1176).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from noclobber.contract import Certainty, Kind, Op, UnitKind, VersionKind, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.order import Answer
from noclobber_analyzer.state import NUMBERS, State, conflicting_parts, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, left_open, partial

__all__ = ["interleaved_writes"]

_Ordered = tuple[Sequence[Access], Grade]


def interleaved_writes(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Pairs of units whose appends to one resource alternate."""
    appends = [w for w in state.writes if _is_append(w) and evidence.fates.of(w) is Fate.APPLIED]
    counts: dict[str, int] = defaultdict(int)
    for append in appends:
        counts[append.unit] += 1
    if sum(count > 1 for count in counts.values()) < 2:
        return
    for ordered, grade in _orders([append for append in appends if counts[append.unit] > 1]):
        yield from _pairs(ordered, grade, state, evidence)


def _is_append(write: Access) -> bool:
    return write.mode is WriteMode.APPEND and write.op in (Op.WRITE, Op.UPDATE)


def _orders(appends: list[Access]) -> Iterator[_Ordered]:
    """The appends in their order, as far as it is known: by version, else by each clock."""
    kinds = {append.version_kind for append in appends}
    if len(kinds) == 1 and kinds <= NUMBERS and all(number(a.written) is not None for a in appends):
        yield sorted(appends, key=lambda a: (number(a.written) or 0, a.span_id)), Grade()
        return
    if kinds == {VersionKind.CHAIN}:
        chain = _chain(appends)
        if chain is not None:
            yield chain, Grade()
            return
    clocks: dict[str, list[Access]] = defaultdict(list)
    for append in appends:
        clocks[append.process.clock or append.process.host or append.process.id].append(append)
    grade = Grade().at_most(Certainty.LIKELY, "positions of the appends: a version that grows")
    for own in clocks.values():
        yield sorted(own, key=lambda a: (local_ns(a.process, a.start_ns), a.span_id)), grade


def _chain(appends: list[Access]) -> list[Access] | None:
    """Appends from one to the next by what each was added to; None: the chain is broken."""
    following = {a.overwritten or a.base or "": a for a in appends}
    made = {a.written for a in appends}
    starts = [a for version, a in following.items() if version not in made]
    if len(following) != len(appends) or len(starts) != 1:
        return None
    chain = [starts[0]]
    while (after := following.get(chain[-1].written or "")) is not None and len(chain) < len(appends):
        chain.append(after)
    return chain if len(chain) == len(appends) else None


def _pairs(ordered: Sequence[Access], grade: Grade, state: State, evidence: Evidence) -> Iterator[Candidate]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, append in enumerate(ordered):
        places[append.unit].append(place)
    told: set[tuple[str, ...]] = set()
    for one, other in pairwise(ordered):
        units = tuple(sorted((one.unit, other.unit)))
        if one.unit == other.unit or units in told or one.strand == other.strand:
            continue
        told.add(units)
        found = _alternation(places[one.unit], places[other.unit]) or _alternation(places[other.unit], places[one.unit])
        if found is None:
            continue
        story = [ordered[place] for place in found]
        if _kept_apart(story) or not _unseen(story, grade, evidence):
            continue
        sure = grade
        for before, after in pairwise(story):
            sure = left_open(sure, before, after, evidence.order)
        yield _candidate(story, units, sure, state)


def _alternation(outer: list[int], inner: list[int]) -> tuple[int, ...] | None:
    """First the last outer append before an inner one, then that, then the outer one after it, and an inner one more.

    None: no inner append lies between two outer ones. Three places: the inner piece lies whole inside the outer one.
    """
    around = _around(outer, inner)
    if around is None:
        return None
    low, high = around
    first, last = bisect_left(inner, low), bisect_left(inner, high)
    return (low, inner[first], high, inner[last]) if last < len(inner) else (low, inner[first], high)


def _around(outer: list[int], inner: list[int]) -> tuple[int, int] | None:
    """The first two neighbours of a unit with an append of the other between them; the shorter of the two is walked."""
    if len(outer) <= len(inner):
        for low, high in pairwise(outer):
            first = bisect_left(inner, low)
            if first < len(inner) and inner[first] < high:
                return low, high
        return None
    for place in inner:
        after = bisect_left(outer, place)
        if 0 < after < len(outer):
            return outer[after - 1], outer[after]
    return None


def _kept_apart(story: list[Access]) -> bool:
    """Whether parts, keys or a lock that all held make them no rivals."""
    first = story[0]
    if any(not conflicting_parts(first, each) for each in story):
        return True
    keys = {each.message.key for each in story if each.message is not None}
    return len(keys) > 1 or bool(set.intersection(*({lock_name(held) for held in each.locks} for each in story)))


def _unseen(story: list[Access], grade: Grade, evidence: Evidence) -> bool:
    """Whether neither took turns knowingly, and the places are certain where only clocks tell them."""
    for one, other in pairwise(story):
        if grade.missing and not clock_before(one, other):
            return False
        seen = other.base is not None and other.base == (other.overwritten or other.base) == one.written
        if seen or evidence.order.path(one, other, know=True) is Answer.YES:
            return False
    return True


def _candidate(story: list[Access], units: tuple[str, ...], grade: Grade, state: State) -> Candidate:
    if len(story) == 3:
        grade = grade.at_most(Certainty.LIKELY, "that both were meant as one piece: one lies whole inside the other")
    if any(append.unit_kind is None for append in story):
        grade = grade.at_most(Certainty.POSSIBLE, "what belongs together: a transaction, step or message")
    if state.may_expire:
        grade = grade.at_most(Certainty.LIKELY, "whether the numbers began again: the state may expire")
    names = dict(zip(dict.fromkeys(append.unit for append in story), ("piece", "between"), strict=True))
    links = [Link(one, other, "unordered", "it was added next, unseen") for one, other in pairwise(story)]
    return Candidate(
        kind=Kind.INTERLEAVED_WRITES,
        resource=state.name,
        anchors=(story[2],),
        units=units,
        roles=tuple((append, names[append.unit]) for append in story),
        links=tuple(links),
        grade=partial(grade, story),
        words={"unit": str(story[0].unit_kind or UnitKind.STEP)},
    )
