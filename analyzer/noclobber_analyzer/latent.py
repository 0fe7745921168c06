"""Latent races: conflicting units that ran one after the other though nothing made the later one wait.

The accesses show no damage; luck kept the two apart, and `margin_ns` says by how much: from the end of the earlier
unit's write to the start of the later one's read. Both have the shape that loses work when it overlaps: read, then
overwrite what was read (a lost update in waiting); or take two locks in opposite orders (a deadlock in waiting). A
guard, a common lock, or any path of sync order between them means that it was no luck; that one read what the other
wrote proves nothing of the kind. Versions cannot prove it, so it is `likely` at most, and rests on a complete record.

One finding for an issue and a day, with the smallest margin; the rest are counted.

Source: detection.md 5; ACIDRain (Warszawski and Bailis 2017) for predicting from serial traces.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Guard, Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.detectors.basis import guarded, is_overwrite
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.finding import issue_fingerprint
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.order import Answer
from noclobber_analyzer.state import State, conflicting_parts, is_foreign
from noclobber_analyzer.verdict import SPENT, Candidate, Grade, Link, Name, hole_between, partial

__all__ = ["MARGIN_NS", "inverted_locks", "latent_candidates", "latent_lost_update"]

MARGIN_NS: Final = 60_000_000_000
"""A margin that is wider than this, and than both windows, is no luck."""
DAY_NS: Final = 86_400_000_000_000
BACK_MAX: Final = 8
"""Earlier units of one resource that a later one is compared with."""


class _Change(NamedTuple):
    """One unit's read of a resource and its overwrite from it."""

    read: Access
    write: Access

    @property
    def window_ns(self) -> int:
        """From the call of the read to the return of the write."""
        return self.write.end_ns - self.read.start_ns


def latent_candidates(
    evidence: Evidence, found: Iterable[Candidate], resources: frozenset[str] | None
) -> tuple[list[Candidate], int]:
    """The latent candidates that are told, the narrowest escape first; and how many more there are.

    Args:
        evidence: of the history.
        found: what is manifest: no accesses of it are told again.
        resources: only of these; None: of all.
    """
    accused: set[Name] = set()
    for candidate in found:
        sure = candidate.grade.certainty is not Certainty.POSSIBLE
        accused |= candidate.core if sure else {anchor.name for anchor in candidate.anchors}
    narrowest: dict[tuple[str, int], Candidate] = {}
    count = 0
    for candidate in _all(evidence, resources):
        if accused & {anchor.name for anchor in candidate.anchors}:
            continue
        count += 1
        first = candidate.anchors[0]
        issue = issue_fingerprint(candidate.kind, candidate.resource, candidate.all("either"))
        day = (issue, first.start_ns // DAY_NS)
        other = narrowest.get(day)
        if other is None or _margin(candidate) < _margin(other):
            narrowest[day] = candidate
    told = [_graded(candidate, evidence) for candidate in sorted(narrowest.values(), key=_luck)]
    return told, count - len(told)


def _margin(candidate: Candidate) -> tuple[int, tuple[str, ...]]:
    return candidate.margin_ns or 0, candidate.anchor_names


def _luck(candidate: Candidate) -> tuple[float, tuple[str, ...]]:
    return (candidate.margin_ns or 0) / max(1, int(candidate.words["window_ns"])), candidate.anchor_names


def _all(evidence: Evidence, resources: frozenset[str] | None) -> Iterator[Candidate]:
    for name in sorted(evidence.history.resources):
        if resources is None or name in resources:
            yield from latent_lost_update(evidence.state(name), evidence)
    for candidate in inverted_locks(evidence):
        if resources is None or candidate.resource in resources:
            yield candidate


def latent_lost_update(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Read-modify-writes of one resource that luck kept apart; each later one is at most one."""
    by_clock: dict[str, list[_Change]] = defaultdict(list)
    for change in _changes(state, evidence) if state.is_shared else ():
        process = change.write.process
        by_clock[process.clock or process.host or process.id].append(change)
    for changes in by_clock.values():
        changes.sort(key=lambda c: (local_ns(c.read.process, c.read.start_ns), c.read.span_id))
        for place, later in enumerate(changes):
            for earlier in reversed(changes[max(0, place - BACK_MAX) : place]):
                if is_foreign(earlier.write, later.write):
                    candidate = _apart(state, earlier, later, evidence)
                    if candidate is not None:
                        yield candidate
                    break


def _changes(state: State, evidence: Evidence) -> Iterator[_Change]:
    for write in state.writes:
        if not is_overwrite(write) or guarded(write) or write.guard in (Guard.LOCK, Guard.SERIALIZABLE):
            continue
        read = state.base_of(write) if evidence.fates.of(write) is Fate.APPLIED else None
        if read is not None and read.op is Op.READ and read.strand == write.strand:
            yield _Change(read, write)


def _apart(state: State, earlier: _Change, later: _Change, evidence: Evidence) -> Candidate | None:
    slack = slack_ns(earlier.write.process, later.read.process)
    if slack is None or not conflicting_parts(earlier.write, later.write) or _common_lock(earlier, later):
        return None
    seen_from = evidence.fates.seen_from(earlier.write)
    margin = local_ns(later.read.process, later.read.start_ns) - local_ns(seen_from.process, seen_from.end_ns) - slack
    window = max(earlier.window_ns, later.window_ns)
    if not 0 < margin < max(window, MARGIN_NS):
        return None
    path = evidence.order.path(earlier.write, later.read)
    if path is Answer.YES:
        return None
    return Candidate(
        kind=Kind.LOST_UPDATE,
        resource=state.name,
        anchors=(later.write,),
        roles=(
            (earlier.read, "reader"), (earlier.write, "either"), (later.read, "reader"), (later.write, "either")
        ),
        links=(
            Link(earlier.read, earlier.write, "base", "the value was computed from what this returned"),
            Link(later.read, later.write, "base", "the value was computed from what this returned"),
            Link(earlier.write, later.read, "unordered", "nothing made this wait for the other"),
        ),
        grade=_unordered(path),
        manifest=False,
        margin_ns=margin,
        words={"window_ns": str(window), "why": "luck kept them apart"},
    )  # fmt: skip


def _common_lock(one: _Change, other: _Change) -> bool:
    held = [{lock_name(lock) for lock in access.locks} for access in (*one, *other)]
    return bool(set.intersection(*held))


def _unordered(path: Answer) -> Grade:
    grade = Grade().at_most(Certainty.LIKELY, "a run in which the two overlap: versions can't show what did not happen")
    if path is Answer.UNKNOWN:
        grade = grade.at_most(Certainty.POSSIBLE, SPENT)
    return grade


def _graded(candidate: Candidate, evidence: Evidence) -> Candidate:
    """A candidate with what the completeness of the record makes of it: only those that are told pay for that."""
    earlier, later = candidate.all("either")
    grade = candidate.grade.resting_on(evidence.absence(candidate.resource, candidate.roles[0][0], later))
    if any(hole_between(evidence.history, None, access) for access in (earlier, later)):
        grade = grade.at_most(
            Certainty.POSSIBLE, "the lost spans of the two strands: one may have waited for the other"
        )
    return replace(candidate, grade=partial(grade, [access for access, _ in candidate.roles]))


def inverted_locks(evidence: Evidence) -> Iterator[Candidate]:
    """Two locks that two strands took in opposite orders; each pair of locks is at most one."""
    nested: dict[tuple[str, str], list[Access]] = defaultdict(list)
    for access in evidence.history.accesses:
        if access.op is Op.LOCK and access.outcome is Outcome.OK:
            for held in access.locks:
                if lock_name(held) != access.resource:
                    nested[lock_name(held), access.resource].append(access)
    for (outer, inner), taken in sorted(nested.items()):
        if outer < inner and (inner, outer) in nested:
            found = _inverted(taken, nested[inner, outer], (outer, inner), evidence)
            if found is not None:
                yield found


def _inverted(
    taken: list[Access], against: list[Access], locks: tuple[str, str], evidence: Evidence
) -> Candidate | None:
    """The two of opposite orders that came nearest to each other, if nothing but these locks ordered them."""
    best: tuple[int, Access, Access] | None = None
    by_time = sorted((*taken, *against), key=lambda a: (a.start_ns, a.span_id))
    opposite = {access.name for access in against}
    for place, later in enumerate(by_time):
        for earlier in reversed(by_time[max(0, place - BACK_MAX) : place]):
            if (earlier.name in opposite) == (later.name in opposite) or earlier.strand == later.strand:
                continue
            slack = slack_ns(earlier.process, later.process)
            others = [{lock_name(lock) for lock in a.locks} - set(locks) for a in (earlier, later)]
            if slack is None or others[0] & others[1]:
                continue  # another lock around both
            margin = local_ns(later.process, later.start_ns) - local_ns(earlier.process, earlier.end_ns) - slack
            if 0 < margin < MARGIN_NS and (best is None or margin < best[0]):
                best = margin, earlier, later
            break
    if best is None:
        return None
    margin, earlier, later = best
    path = evidence.order.path(earlier, later, locks=False)
    if path is Answer.YES:
        return None
    return Candidate(
        kind=Kind.DEADLOCK,
        resource=later.resource,
        anchors=(earlier, later),
        roles=((earlier, "either"), (later, "either")),
        links=(Link(earlier, later, "unordered", "each took these two locks in the other's opposite order"),),
        grade=_unordered(path),
        crosses=True,
        manifest=False,
        margin_ns=margin,
        words={"window_ns": str(MARGIN_NS), "outer": locks[0], "inner": locks[1]},
    )
