"""Lost update: a write computed from one version replaced another one, and its author never knew.

An applied, unguarded overwrite or delete whose *overwritten* version is not its *base*, and what stood there came from
another strand or transaction. The access itself may certify it (it carries both versions); else versions in between
do (numbers, chains); else a captured foreign write that lies between the return of the base's access and the call of
the write, by sync order or by one machine's clock. What was captured needs no complete record.

Not judged here: inserts (fork), appends and merges decided from an old state (stale_write), writes without a base
(blind_overwrite).

Source: Berenson et al. 1995 (P4); contract 3.1 and 2.3; detection.md 3.2; analysis.md 16.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from noclobber.contract import ABSENT, BaseSource, Certainty, Guard, Kind, Op, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clocks import nominally_before
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.order import Answer
from noclobber_analyzer.state import NUMBERS, Side, State, conflicting_parts, is_foreign, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, partial

__all__ = ["EXACT", "between_versions", "guarded", "is_overwrite", "lost_update", "source_grade", "unseen_before"]

EXACT: Final = "what the write replaced: let noclobber ask the store for it (`noclobber run --exact`)"
OWN_UNKNOWN: Final = "the version that the writer's own script or unanswered write made in between"
NUMBERS_MAX: Final = 1000
CHAIN_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a write replaced unseen.

    Attributes:
        victim: the foreign write; None where nobody captured it.
        grade: how sure.
        why: how it is known.
        ordered: whether the victim was before the overwriter in sync order.
        either: whether it may have been the other way round.
    """

    victim: Access | None
    grade: Grade
    why: str
    ordered: bool = False
    either: bool = False


def lost_update(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Lost updates on one resource; each overwriting write is at most one."""
    found: list[tuple[Access, Replaced]] = []
    for write in state.writes:
        if not is_overwrite(write) or evidence.fates.serializable_rejected(write):
            continue
        if write.base is None and (write.version_kind is not None or state.base_of(write) is None):
            continue  # blind
        replaced = _replaced(state, write, evidence)
        if replaced is not None:
            found.append((write, replaced))
    lost = {r.victim.name for _, r in found if r.victim is not None and r.grade.certainty is not Certainty.POSSIBLE}
    for write, replaced in found:
        if replaced.grade.certainty is Certainty.POSSIBLE and write.name in lost:
            continue  # the pair stands already, the other way round and surer
        yield _candidate(state, write, replaced, evidence)


def is_overwrite(write: Access) -> bool:
    """Whether a write replaces what is there: mode `overwrite`, or a delete."""
    return write.op is Op.DELETE or (write.op is Op.WRITE and write.mode is WriteMode.OVERWRITE)


def guarded(write: Access) -> bool:
    """Whether the store compared the write's own base before it applied it."""
    if write.guard is Guard.UNIQUE:
        return True
    if write.guard is not Guard.VERSION:
        return False
    return write.expected is None or write.base is None or write.expected == write.base


def source_grade(write: Access, *, recorded: bool) -> Grade:
    """The most that the base's source carries; `recorded`: the store itself says what was replaced."""
    if write.base_source in (BaseSource.EXPLICIT, BaseSource.OBSERVED):
        return Grade()
    if write.base_source is BaseSource.RECALLED:
        return Grade() if recorded else Grade().at_most(Certainty.LIKELY, EXACT)
    missing = "the read that the value was computed from, within the step or the run of the write"
    return Grade().at_most(Certainty.POSSIBLE, missing)


def _replaced(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    if guarded(write):
        return None
    if write.version_kind is None:
        return _unversioned(state, write, evidence)
    over = _overwritten(write)
    if over is not None and over == write.base:
        return _older_candidate(state, write, over)
    found = None
    if over is not None and state.differ(
        over, write, Side.REPLY, write.base, state.base_of(write) or write, state.side_of_base(write)
    ):
        found = _certified(state, write, over, evidence)
    elif over is None:
        found = _by_numbers(state, write, evidence) or _by_time(state, write, evidence)
    elif write.version_kind is VersionKind.FINGERPRINT:
        found = _by_time(state, write, evidence)
    return found and _capped(state, write, found, evidence)


def _unversioned(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Without versions only time speaks, and nobody knows what was read or meant: possible, never more."""
    found = _by_time(state, write, evidence)
    if found is None:
        return None
    grade = Grade().at_most(Certainty.POSSIBLE, "versions: what was read, and what the write was computed from")
    return Replaced(found.victim, grade, found.why, found.ordered, found.either)


def _overwritten(write: Access) -> Version | None:
    """What was replaced: as recorded, or the number before under `counter`."""
    if write.overwritten is None and write.version_kind is VersionKind.COUNTER:
        made = number(write.written)
        return None if made is None or made < 1 else str(made - 1)
    return write.overwritten


def _certified(state: State, write: Access, over: Version, evidence: Evidence) -> Replaced | None:
    """The access carries both versions, and they differ."""
    kind = write.version_kind
    if over == (kind.absent if kind is not None else ABSENT):
        deletes = [w for w in state.foreign_writes(write) if w.op is Op.DELETE and unseen_before(w, write, evidence)]
        if not deletes:
            return None  # it expired, or the first write found nothing: nobody's work was replaced
        return Replaced(deletes[-1], source_grade(write, recorded=True), "the state was deleted in between")
    if kind in NUMBERS and (number(over) or 0) < (number(write.base) or 0):
        return None  # another life
    victims, unknown = between_versions(state, write, over)
    if not victims and not unknown:
        return None
    grade = source_grade(write, recorded=True)
    held = [candidate for candidate in write.candidates if candidate == over]
    if held:
        grade = grade.at_most(Certainty.LIKELY, "which of the versions that it had read the value was computed from")
    if write.part and kind is not VersionKind.FINGERPRINT and not victims:
        grade = grade.at_most(Certainty.POSSIBLE, "which part the write in between touched")
    if not victims and hole_between(evidence.history, state.base_of(write), write):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the writer's own strand")
    victim = victims[-1] if victims else None
    why = "it replaced a version that is not the one it was computed from"
    return Replaced(victim, grade, why, ordered=_is_ordered(victim, write, evidence))


def between_versions(state: State, write: Access, over: Version) -> tuple[list[Access], int]:
    """Foreign writes that made a version after the write's base up to `over`, oldest first; and versions without maker."""
    victims: list[Access] = []
    unknown = 0
    for version in _versions_between(state, write, over):
        makers = [maker for maker in state.makers.get(version, ()) if maker is not write]
        foreign = [maker for maker in makers if is_foreign(maker, write)]
        victims += [maker for maker in foreign if conflicting_parts(maker, write)]
        own_unapplied = any(
            a.written == version for a in state.own_between(state.base_of(write), write) if a.written is not None
        )
        unknown += not makers and not own_unapplied
    return victims, unknown


def _versions_between(state: State, write: Access, over: Version) -> list[Version]:
    if write.version_kind in NUMBERS:
        low, high = number(write.base), number(over)
        if low is None or high is None:
            return [over]
        if write.version_kind is VersionKind.ORDERED:
            made = sorted({number(v) or 0 for v in state.makers if low < (number(v) or 0) <= high} | {high})
            return [str(n) for n in made]
        return [str(n) for n in range(max(low + 1, high - NUMBERS_MAX), high + 1)]
    chain = [over]
    while write.version_kind is VersionKind.CHAIN and len(chain) < CHAIN_MAX:
        makers = state.makers.get(chain[-1], ())
        before = (makers[0].overwritten or makers[0].base) if len(makers) == 1 else None
        if before is None or before == write.base or before in chain:
            break
        chain.append(before)
    return chain[::-1]


def _by_numbers(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Growing numbers place a captured foreign write between base and what was made; a chain has one child of a base."""
    if write.version_kind is VersionKind.ORDERED:
        low, high = number(write.base), number(write.written)
        if low is None or high is None:
            return None
        found = [w for w in state.foreign_writes(write) if low < (number(w.written) or 0) < high]
        if not found:
            return None
        victim = max(found, key=lambda w: number(w.written) or 0)
        grade = source_grade(write, recorded=True)
        return Replaced(victim, grade, "a number in between was made by somebody else")
    if write.version_kind is VersionKind.CHAIN:
        return _by_one_base(state, write, evidence)
    return None


def _by_one_base(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Several overwrites of one base that say nothing of what they replaced: each but the first replaced another."""
    rivals = [
        w
        for w in state.foreign_writes(write)
        if is_overwrite(w) and w.base == write.base and w.overwritten is None and w.written != write.written
    ]
    earlier = [w for w in rivals if (w.start_ns, w.span_id) < (write.start_ns, write.span_id)]
    if not earlier or any(not unseen_before(w, write, evidence) for w in earlier):
        return None
    victim = max(earlier, key=lambda w: (w.start_ns, w.span_id))
    grade = source_grade(write, recorded=write.version_kind is VersionKind.CHAIN)
    if write.version_kind is VersionKind.FINGERPRINT:
        grade = grade.at_most(Certainty.LIKELY, EXACT)
    return Replaced(victim, grade, "both were computed from one version", either=True)


def _by_time(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """A foreign write lies between the return of the base's access and the call of the write."""
    base = state.base_of(write)
    between, unsure = _placed(state, write, base, evidence)
    if between:
        victim = between[-1]
        restored = _restored(state, write, victim, evidence)
        if restored is None:
            return None
        grade = source_grade(write, recorded=False).at_most(Certainty.LIKELY, EXACT)
        if not restored:
            grade = grade.at_most(Certainty.POSSIBLE, "whether somebody put the old content back in between")
        ordered = _is_ordered(victim, write, evidence)
        return Replaced(victim, grade, "it came after the read and before the write", ordered=ordered)
    rival = _overlapping(state, write, base, evidence)
    if rival is not None:
        grade = source_grade(write, recorded=False).at_most(Certainty.LIKELY, EXACT)
        return Replaced(rival, grade, "the two writes overlap, and both were decided before either", either=True)
    if write.version_kind is VersionKind.FINGERPRINT and write.base is not None and state.is_unique(write.base):
        found = _by_one_base(state, write, evidence)
        if found is not None:
            return found
    if unsure:
        grade = Grade(Certainty.POSSIBLE).at_most(Certainty.POSSIBLE, _what_would_place(unsure[-1], write))
        return Replaced(unsure[-1], grade, "it may lie between the read and the write")
    return None


def _placed(state: State, write: Access, base: Access | None, evidence: Evidence) -> tuple[list[Access], list[Access]]:
    """Foreign writes that certainly lie between base and write, by the end of their calls; and those that may."""
    between: list[Access] = []
    unsure: list[Access] = []
    known: set[Version] | None = None
    seen_from = evidence.fates.seen_from
    for other in state.foreign_writes(write):
        if other.written is not None and other.written == write.base:
            continue  # that one it had seen
        if evidence.writes_before(write, other) is not None:
            continue
        if base is not None and evidence.took_effect_before(other, base) is not None:
            continue
        applied = evidence.fates.of(other) is Fate.APPLIED
        earlier = evidence.writes_before(other, write) is not None
        if base is not None and earlier and _not_seen(state, other, base, write, evidence):
            (between if applied else unsure).append(other)
        elif (base is None or not nominally_before(seen_from(other), base)) and not nominally_before(write, other):
            known = state.ancestors(write.base or "") if known is None else known
            if other.written not in known and not _clearly_apart(state, other, write, evidence):
                unsure.append(other)
    between.sort(key=lambda w: (w.end_ns, w.span_id))
    return between, unsure


def _not_seen(state: State, other: Access, base: Access, write: Access, evidence: Evidence) -> bool:
    """Whether a write certainly took effect after the base was got."""
    if evidence.took_effect_after(other, base) is not None:
        return True
    if not evidence.overlap(evidence.fates.seen_from(other), base) or other.written is None or write.base is None:
        return False
    # They overlap, but what was read is not what the other made, and whoever made what was read did so before.
    side = state.side_of_base(write)
    makers = state.makers.get(write.base, ())
    return state.differ(other.written, other, Side.REQUEST, write.base, base, side) and all(
        evidence.took_effect_before(maker, other) is not None for maker in makers
    )


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


def _restored(state: State, write: Access, victim: Access, evidence: Evidence) -> bool | None:
    """Whether the content that the write replaced is known to be another than its base: None where it was equal.

    Under `fingerprint` only the version replaced counts. The last write before this one may have put back what the
    base was; several may have been the last.
    """
    later = [
        other
        for other in state.writes
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
        if other.written is not None
        and other.written == write.base
        and not (
            unique and base is not None and evidence.took_effect_after(other, base) is None
        )  # where the base is from
    ]
    if not equal:
        return True
    last = [
        other
        for other in equal
        if all(evidence.writes_before(each, other) is not None for each in (*later, victim) if each is not other)
    ]
    return None if last else False


def _overlapping(state: State, write: Access, base: Access | None, evidence: Evidence) -> Access | None:
    """An overlapping foreign overwrite, where both bases were got before either was called; the later start is named."""
    if base is None:
        return None
    for other in state.foreign_writes(write):
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


def unseen_before(other: Access, write: Access, evidence: Evidence) -> bool:
    """Whether nothing shows that the writer's base was got after `other` had taken effect, or that it came later."""
    base = evidence.state(write.resource).base_of(write)
    if base is not None and evidence.took_effect_before(other, base) is not None:
        return False
    return evidence.writes_before(write, other) is None


def _what_would_place(other: Access, write: Access) -> str:
    if other.process.clock != write.process.clock or other.process.clock is None:
        return "a common clock, or a version, that places the two writes"
    return EXACT


def _is_ordered(victim: Access | None, write: Access, evidence: Evidence) -> bool:
    return victim is not None and evidence.order.path(victim, write) is Answer.YES


def _older_candidate(state: State, write: Access, over: Version) -> Replaced | None:
    """It replaced what it had last read; but it had read an older version too, and may have used that."""
    older = [version for version in write.candidates if version != over]
    makers = [m for m in state.makers.get(over, ()) if is_foreign(m, write)]
    if not older or not makers or write.base_source is BaseSource.EXPLICIT:
        return None
    missing = "which of the versions that it had read the value was computed from (`noclobber.access` can say)"
    return Replaced(makers[-1], Grade().at_most(Certainty.POSSIBLE, missing), "it had also read an older version")


def _capped(state: State, write: Access, found: Replaced, evidence: Evidence) -> Replaced | None:
    """What lowers any of these: own unknown writes, two worlds, equal values, doubtful lives, partial capture."""
    grade = found.grade
    own = state.own_between(state.base_of(write), write)
    if any(a.written is not None and a.written == write.overwritten for a in own):
        return None
    if any(a.written is None or a.partial or evidence.fates.of(a) is not Fate.APPLIED for a in _may_have_changed(own)):
        grade = grade.at_most(Certainty.POSSIBLE, OWN_UNKNOWN)
    if evidence.fates.of(write) is Fate.UNDECIDED:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the write was applied: its outcome is unknown")
    victim = found.victim
    if victim is not None and evidence.fates.of(victim) is Fate.UNDECIDED and write.overwritten is None:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the replaced write was applied: its outcome is unknown")
    if victim is not None and state.same_content(write, victim):
        cap = Certainty.LIKELY if write.numeric else Certainty.POSSIBLE
        grade = grade.at_most(cap, "whether the equal value was meant: both wrote the same")
    if state.may_expire and write.version_kind in NUMBERS:
        grade = grade.at_most(Certainty.LIKELY, "whether the numbers began again: the state was deleted or may expire")
    grade = partial(grade, (write, *((victim,) if victim else ())))
    if write.written is not None and write.written == write.base and write.version_kind is VersionKind.FINGERPRINT:
        return None  # it wrote what it had read: `equal_value`
    return Replaced(victim, grade, found.why, found.ordered, found.either)


def _may_have_changed(own: Sequence[Access]) -> list[Access]:
    from noclobber_analyzer.fate import WRITE_OPS

    failed = ("rejected", "no_effect", "not_found", "error")
    return [a for a in own if a.op in WRITE_OPS and a.outcome not in failed]


def _candidate(state: State, write: Access, found: Replaced, evidence: Evidence) -> Candidate:
    base = state.base_of(write)
    victim = found.victim
    roles = [(base, "stale_read")] if base is not None and base is not victim else []
    names = ("either", "either") if found.either else ("victim", "overwriter")
    links = [Link(base, write, "base", "the value was computed from what this returned")] if base is not None else []
    if victim is not None:
        theirs = state.base_of(victim)
        if theirs is not None and theirs is not base:
            roles.insert(0, (theirs, "reader"))
            links.append(Link(theirs, victim, "base", "the value was computed from what this returned"))
        roles.append((victim, names[0]))
        links.append(_race(victim, write, found, evidence))
    roles += [(model, "model") for model in evidence.models_between(base, write)]
    roles.append((write, names[1]))
    return Candidate(
        kind=Kind.LOST_UPDATE,
        resource=write.resource,
        anchors=(write,),
        roles=tuple(roles),
        links=tuple(links),
        grade=found.grade,
        also=(Kind.STALE_WRITE,),
        ordered=found.ordered,
        words={"why": found.why, "over": write.overwritten or ""},
    )


def _race(victim: Access, write: Access, found: Replaced, evidence: Evidence) -> Link:
    if found.ordered:
        return Link(victim, write, evidence.order.reason(victim, write), "it was made to wait, and wrote an old value")
    return Link(victim, write, "unordered", f"nothing made one wait for the other; {found.why}")
