"""What did a write replace unseen? The ladder of evidence, from what the access itself certifies down to time.

Source: detection.md 2.3 to 2.5 and 3.2, analysis.md 16.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from noclobber.contract import ABSENT, BaseSource, Certainty, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.detectors.basis import (
    guarded,
    is_overwrite,
    made_to_wait,
    source_grade,
    unseen_before,
    what_would_tell,
)
from noclobber_analyzer.detectors.placing import between_versions, may_lie_between, overlapping, placed, restored
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import NUMBERS, Side, Sighting, State, conflicting_parts, differ, is_foreign, number
from noclobber_analyzer.verdict import Grade, hole_between, partial

__all__ = ["Replaced", "replaced_unseen"]

OWN_UNKNOWN: Final = "the version that the writer's own script or unanswered write made in between"


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


def replaced_unseen(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """What an overwrite replaced that its author had not seen; None: nothing that anybody can tell."""
    if guarded(write):
        return None
    if write.version_kind is None:
        return _unversioned(state, write, evidence)
    over = _overwritten(write)
    if over is not None and over == write.base:
        return _older_candidate(state, write, over)
    found = None
    if over is not None and differ(Sighting(over, write, Side.REPLY), state.base_seen(write)):
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
    return Replaced(victim, grade, why, ordered=made_to_wait(victim, write, evidence))


def _by_numbers(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Growing numbers place a captured foreign write between base and written; a chain has one child of a base."""
    if write.version_kind is VersionKind.ORDERED:
        low, high = number(write.base), number(write.written)
        if low is None or high is None:
            return None
        between = [w for _, w in state.numbered_between(low, high - 1)]
        found = [w for w in between if is_foreign(w, write) and conflicting_parts(w, write)]
        if not found:
            return None
        victim = found[-1]
        grade = source_grade(write, recorded=True)
        return Replaced(victim, grade, "a number in between was made by somebody else")
    if write.version_kind is VersionKind.CHAIN:
        return _by_one_base(state, write, evidence)
    return None


def _by_one_base(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Several overwrites of one base that say nothing of what they replaced: each but the first replaced another."""
    rivals = [
        w
        for w in state.by_base.get(write.base or "", ())
        if w is not write and is_foreign(w, write) and conflicting_parts(w, write)
        if is_overwrite(w) and w.overwritten is None and w.written != write.written
    ]
    earlier = [w for w in rivals if (w.start_ns, w.span_id) < (write.start_ns, write.span_id)]
    if not earlier or any(not unseen_before(w, write, evidence) for w in earlier):
        return None
    victim = max(earlier, key=lambda w: (w.start_ns, w.span_id))
    grade = source_grade(write, recorded=write.version_kind is VersionKind.CHAIN)
    if write.version_kind is VersionKind.FINGERPRINT:
        grade = grade.at_most(Certainty.LIKELY, what_would_tell(write))
    return Replaced(victim, grade, "both were computed from one version", either=True)


def _by_time(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """A foreign write lies between the return of the base's access and the call of the write."""
    base = state.base_of(write)
    between, open_ = placed(state, write, base, evidence)
    if between:
        victim = between[-1]
        put_back = restored(state, write, victim, evidence)
        if put_back is None:
            return None
        grade = source_grade(write, recorded=False).at_most(Certainty.LIKELY, what_would_tell(write))
        if not put_back:
            grade = grade.at_most(Certainty.POSSIBLE, "whether somebody put the old content back in between")
        if (
            base is not None
            and evidence.took_effect_after(victim, base) is None
            and not state.is_unique(write.base or "")
        ):
            grade = grade.resting_on(evidence.absence(state.name, victim, base))  # that nobody else put it back
        ordered = made_to_wait(victim, write, evidence)
        return Replaced(victim, grade, "it came after the read and before the write", ordered=ordered)
    rival = overlapping(state, write, base, evidence)
    if rival is not None:
        grade = source_grade(write, recorded=False).at_most(Certainty.LIKELY, what_would_tell(write))
        return Replaced(rival, grade, "the two writes overlap, and both were decided before either", either=True)
    if write.version_kind is VersionKind.FINGERPRINT and write.base is not None and state.is_unique(write.base):
        found = _by_one_base(state, write, evidence)
        if found is not None:
            return found
    unsure = may_lie_between(state, write, open_, evidence)
    if unsure is None:
        return None
    grade = Grade(Certainty.POSSIBLE).at_most(Certainty.POSSIBLE, _what_would_place(unsure, write))
    return Replaced(unsure, grade, "it may lie between the read and the write")


def _what_would_place(other: Access, write: Access) -> str:
    if other.process.clock != write.process.clock or other.process.clock is None:
        return "a common clock, or a version, that places the two writes"
    return what_would_tell(write)


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
    failed = (Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.NOT_FOUND, Outcome.ERROR)
    return [a for a in own if a.op in WRITE_OPS and a.outcome not in failed]
