"""Which foreign writes lie between a base and the write that was computed from it: by versions, and by time.

By versions: numbers from base to what was replaced, or the chain back from it. By time: a write that took effect after
the base had been got and before the write was called, told by sync order, one machine's clock, or the rows' locks,
what may lie there, but need not, is kept
apart, and of that only a measured bound between clocks can make more.

Source: contract 2.2 (what is there needs no completeness) and 3.1, analysis.md 16.
"""

from collections.abc import Sequence
from typing import Final

from noclobber.contract import ABSENT, Op, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clocks import nominally_before
from noclobber_analyzer.detectors.basis import guarded, is_overwrite
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.holds import lock_name, lock_token
from noclobber_analyzer.order import Answer, By
from noclobber_analyzer.state import NUMBERS, Side, Sighting, State, conflicting_parts, differ, is_foreign, number
from noclobber_analyzer.verdict import Grade

__all__ = ["between_versions", "may_lie_between", "measured_between", "overlapping", "placed", "restored"]

NUMBERS_MAX: Final = 128
"""Numbers between a base and what was replaced that are looked at: the last ones, which name the victim."""
CHAIN_MAX: Final = 64
OPEN_MAX: Final = 8
"""Unplaced writes that are looked at more closely, nearest first: they can make a possibility, never more."""


def between_versions(
    state: State, write: Access, over: Version, evidence: Evidence
) -> tuple[list[Access], list[Version]]:
    """Foreign writes that made a version after the base up to `over`, oldest first; and versions without a maker."""
    victims: list[Access] = []
    unknown: list[Version] = []
    base = state.base_of(write)
    own = {a.written for a in state.own_between(base, write) if evidence.fates.of(a) is not Fate.UNAPPLIED}
    for version in _versions_between(state, write, over):
        makers = [m for m in state.makers.get(version, ()) if m is not write and _may_be(m, base, write, evidence)]
        foreign = [maker for maker in makers if is_foreign(maker, write)]
        victims += [maker for maker in foreign if conflicting_parts(maker, write)]
        unknown += [] if makers or version in own else [version]
    return victims, unknown


def _may_be(maker: Access, base: Access | None, write: Access, evidence: Evidence) -> bool:
    """Whether a maker of what was replaced may have made it then: not after the write, and content not long before."""
    if evidence.writes_before(write, maker) is not None:
        return False
    known = write.version_kind is VersionKind.FINGERPRINT and base is not None
    return not (known and base is not None and evidence.took_effect_before(maker, base) is not None)


def _versions_between(state: State, write: Access, over: Version) -> list[Version]:
    if write.version_kind in NUMBERS:
        low, high = number(write.base), number(over)
        if low is None or high is None:
            return [over]
        if write.version_kind is VersionKind.ORDERED:
            return [str(n) for n in sorted({n for n, _ in state.numbered_between(low, high)} | {high})]
        return [str(n) for n in range(max(low + 1, high - NUMBERS_MAX), high + 1)]
    chain = [over]
    while write.version_kind is VersionKind.CHAIN and len(chain) < CHAIN_MAX:
        makers = state.makers.get(chain[-1], ())
        before = (makers[0].overwritten or makers[0].base) if len(makers) == 1 else None
        if before is None or before in (write.base, ABSENT) or before in chain:
            break
        chain.append(before)
    return chain[::-1]


def placed(state: State, write: Access, base: Access | None, evidence: Evidence) -> tuple[list[Access], list[Access]]:
    """Foreign writes that certainly lie between base and write, by the end of their calls; and those not placed yet."""
    between: list[Access] = []
    open_: list[Access] = []
    seen_from = evidence.fates.seen_from
    for other in state.foreign_around(base, write):
        if other.strand == write.strand or (other.written is not None and other.written == write.base):
            continue  # its own, or what it had seen
        if evidence.writes_before(write, other) is not None:
            continue
        if base is not None and evidence.took_effect_before(other, base) is not None:
            continue
        applied = evidence.fates.of(other) is Fate.APPLIED
        earlier = evidence.writes_before(other, write) is not None
        if base is not None and earlier and _not_seen(state, other, base, write, evidence):
            (between if applied else open_).append(other)
        elif (base is None or not nominally_before(seen_from(other), base)) and not nominally_before(write, other):
            open_.append(other)
    between.sort(key=lambda w: (w.end_ns, w.span_id))
    return between, open_


def measured_between(
    state: State, write: Access, open_: Sequence[Access], evidence: Evidence
) -> tuple[Access, Grade] | None:
    """Of foreign writes that nothing has placed, the nearest that measured bounds of clocks put between base and write.

    Returns:
        The write, and a grade that names the bounds that it rests on.
    """
    base = state.base_of(write)
    if base is None:
        return None
    near = []
    for other in open_:
        distance = evidence.measured_distance_ns(other, write) if evidence.fates.of(other) is Fate.APPLIED else None
        if distance is not None:
            near.append((distance, other.span_id, other))
    for _, _, other in sorted(near)[:OPEN_MAX]:
        seen_from = evidence.fates.seen_from(other)
        after, before = evidence.measured_before(base, seen_from), evidence.measured_before(seen_from, write)
        if after is None or before is None:
            continue
        grade = Grade()
        grade = evidence.as_measured(grade, base, seen_from) if after is By.MEASURED else grade
        return other, evidence.as_measured(grade, seen_from, write) if before is By.MEASURED else grade
    return None


def may_lie_between(state: State, write: Access, open_: Sequence[Access], evidence: Evidence) -> Access | None:
    """Of foreign writes that nothing has placed yet, the nearest that versions and knowledge leave possible."""
    if not open_:
        return None
    known = state.ancestors(write.base or "")
    nearest = sorted(open_, key=lambda w: (abs(w.start_ns - write.start_ns), w.span_id))[:OPEN_MAX]
    for other in nearest:
        if other.written in known or _kept_apart(state, other, write):
            continue
        if not _clearly_apart(state, other, write, evidence):
            return other
    return None


def _not_seen(state: State, other: Access, base: Access, write: Access, evidence: Evidence) -> bool:
    """Whether a write certainly took effect after the base was got."""
    if evidence.took_effect_after(other, base) is not None:
        return True
    if not evidence.overlap(evidence.fates.seen_from(other), base) or other.written is None or write.base is None:
        return False
    # They overlap, but what was read is not what the other made, and it stood there before the other was called.
    made = Sighting(other.written, other, Side.REQUEST)
    if not differ(made, state.base_seen(write)) or not _stood_before(state, write.base, other, evidence):
        return False
    return state.is_unique(write.base) or not _may_be_back(state, write.base, other, base, evidence)


def _may_be_back(state: State, version: Version, other: Access, base: Access, evidence: Evidence) -> bool:
    """Whether a captured write may have put a version back between another write and a read that overlaps it."""
    return any(
        w is not other
        and w.written in (version, None)
        and evidence.took_effect_before(w, other) is None
        and evidence.took_effect_after(w, base) is None
        for w in state.timeline.around(other, base)
    )


def _stood_before(state: State, version: Version, other: Access, evidence: Evidence) -> bool:
    """Whether a version was made, or read by anybody, before a write: captured, not assumed."""
    seen = (*state.makers.get(version, ()), *state.readers.get(version, ()))
    return any(
        evidence.took_effect_before(a, other) if a.op is not Op.READ else evidence.order.before(a, other) for a in seen
    )


def _kept_apart(state: State, other: Access, write: Access) -> bool:
    """Whether one hold of a lock covers base and write, and the other write was made under that lock, too.

    Such a lock defends until versions, or a clock, place the other write in between.
    """
    base = state.base_of(write)
    held = set(write.locks) & set(base.locks if base is not None else ())
    names = {lock_name(each) for each in other.locks}
    return any(lock_token(each) is not None and lock_name(each) in names for each in held)


def _clearly_apart(state: State, other: Access, write: Access, evidence: Evidence) -> bool:
    """Whether versions or know order put the other write before the base, or after this write."""
    if write.written is not None and other.written is not None and write.written in state.ancestors(other.written):
        return True
    if _made_after(state, write.base, other, evidence) or _made_after(state, other.base, write, evidence):
        return True
    base = state.base_of(write)
    return evidence.order.path(write, other, know=True) is Answer.YES or (
        base is not None and evidence.order.path(other, base, know=True) is Answer.YES
    )


def _made_after(state: State, version: Version | None, other: Access, evidence: Evidence) -> bool:
    """Whether the one write that made a version came after another write."""
    if version is None or not state.is_unique(version):
        return False
    return any(evidence.writes_before(other, maker) is not None for maker in state.makers.get(version, ()))


def restored(state: State, write: Access, victim: Access, evidence: Evidence) -> bool | None:
    """Whether the content that the write replaced is known to be another than its base: None where it was equal.

    Under `fingerprint` only the version replaced counts. The last write before this one may have put back what the
    base was; several may have been the last. Without versions nobody knows.
    """
    if write.base is None:
        return False
    later = [
        other
        for other in state.timeline.around(victim, write)
        if other is not write
        and other is not victim
        and evidence.took_effect_before(other, victim) is None
        and evidence.writes_before(other, victim) is None
        and evidence.writes_before(write, other) is None
        and conflicting_parts(other, write)
    ]
    base = state.base_of(write)
    unique = base is not None and state.is_unique(write.base or "")
    equal = [
        other
        for other in later
        if other.written == write.base
        and not (
            unique and base is not None and evidence.took_effect_after(other, base) is None
        )  # where the base is from
    ]
    if not equal:
        return not any(other.written is None for other in later)
    last = [
        other
        for other in equal
        if all(evidence.writes_before(each, other) is not None for each in (*later, victim) if each is not other)
    ]
    return None if last else False


def overlapping(state: State, write: Access, base: Access | None, evidence: Evidence) -> Access | None:
    """An overlapping foreign overwrite, both bases got before either was called; the later start is named."""
    if base is None:
        return None
    for other in state.foreign_around(base, write):
        if not is_overwrite(other) or other.base is None or guarded(other) or other.written == write.base:
            continue
        theirs = state.base_of(other)
        if theirs is None or (other.start_ns, other.span_id) > (write.start_ns, write.span_id):
            continue
        if (
            evidence.overlap(write, other)
            and evidence.order.before(base, other) is not None
            and evidence.order.before(theirs, write) is not None
            and evidence.writes_before(other, write) is None
            and evidence.fates.of(other) is Fate.APPLIED
        ):
            return other
    return None
