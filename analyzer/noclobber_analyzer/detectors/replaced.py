"""What did a write replace unseen? The ladder of evidence, from what the access itself certifies down to time.

Source: detection.md 2.3 to 2.5 and 3.2, analysis.md 16.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from noclobber.contract import ABSENT, ABSENT_NUMBER, BaseSource, Certainty, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.detectors.basis import (
    guarded,
    is_overwrite,
    made_to_wait,
    source_grade,
    unseen_before,
    what_would_tell,
)
from noclobber_analyzer.detectors.placing import (
    between_versions,
    may_lie_between,
    measured_between,
    overlapping,
    placed,
    restored,
)
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.state import (
    NUMBERS,
    OWN_MAX,
    Side,
    Sighting,
    State,
    conflicting_parts,
    differ,
    is_foreign,
    number,
)
from noclobber_analyzer.verdict import Grade, hole_between, partial

__all__ = ["Replaced", "capped_by_own", "certified", "replaced_unseen"]

RIVALS_MAX: Final = 32
"""Earlier writes of one base that are looked at: the last of them is the one that is named."""
UNVERSIONED: Final = "versions: what was read, and what the write was computed from"
WHICH_BASE: Final = "which of the versions that it had read the value was computed from"
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
        older: the version that it had read besides the one that it replaced, and may have used; None: not in question.
    """

    victim: Access | None
    grade: Grade
    why: str
    ordered: bool = False
    either: bool = False
    older: Version | None = None


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
        found = certified(state, write, over, evidence)
    elif over is None:
        found = _by_order_of_versions(state, write, evidence) or _by_time(state, write, evidence)
    elif write.version_kind is VersionKind.FINGERPRINT:
        found = _by_time(state, write, evidence)
    if found is None and over is None and write.base is not None and state.is_unique(write.base):
        found = _older_candidate(state, write, write.base)  # as far as anybody can tell, that is what it replaced
    return found and _capped(state, write, found, evidence)


def _unversioned(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Without versions only time speaks, and nobody knows what was read or meant: possible, never more."""
    if state.base_of(write) is None:
        return _by_lost_read(state, write, evidence)
    found = _by_time(state, write, evidence)
    if found is None:
        return None
    grade = Grade().at_most(Certainty.POSSIBLE, UNVERSIONED)
    return Replaced(found.victim, grade, found.why, found.ordered, found.either)


def _by_lost_read(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """A write whose unit has lost spans before it: one of them may have been the read that it was computed from."""
    if write.unit_kind is None or not is_overwrite(write) or not hole_between(evidence.history, None, write):
        return None
    before = _before_its_unit(write, evidence)
    if not hole_between(evidence.history, before.seq if before else None, write):
        return None
    between, open_ = placed(state, write, before, evidence)
    victim = between[-1] if between else may_lie_between(state, write, open_, evidence)
    if victim is None:
        return None
    lost_read = "the lost spans of the writer's own unit: whether, and when, it had read"
    grade = Grade().at_most(Certainty.POSSIBLE, lost_read).at_most(Certainty.POSSIBLE, UNVERSIONED)
    return Replaced(victim, grade, "it may lie between a lost read and the write")


def _before_its_unit(write: Access, evidence: Evidence) -> Access | None:
    """The last access of the write's strand before it that belongs to another unit."""
    own = evidence.history.captured(write.strand)
    last = bisect_left(own, write.seq, key=lambda a: a.seq) - 1
    if last >= 0 and own[last].unit == write.unit:
        begun = evidence.once(_Begun).of(write.strand)
        last = begun[bisect_right(begun, last) - 1] - 1
    return own[last] if last >= 0 else None


class _Begun:
    """Where in a strand another unit begins than the one of the access before: its first place is one."""

    def __init__(self, evidence: Evidence) -> None:
        self._history = evidence.history
        self._of: dict[str, list[int]] = {}

    def of(self, strand: str) -> list[int]:
        """The places where units begin, ascending; each strand is looked through once."""
        known = self._of.get(strand)
        if known is None:
            own = self._history.captured(strand)
            known = [0, *(at for at in range(1, len(own)) if own[at].unit != own[at - 1].unit)]
            self._of[strand] = known
        return known


def _overwritten(write: Access) -> Version | None:
    """What was replaced: as recorded, or the number before under `counter`."""
    if write.overwritten is None and write.version_kind is VersionKind.COUNTER:
        made = number(write.written)
        return None if made is None or made < 1 else str(made - 1)
    return write.overwritten


def certified(state: State, write: Access, over: Version, evidence: Evidence) -> Replaced | None:
    """The access carries both versions, and they differ."""
    kind = write.version_kind
    if over == (kind.absent if kind is not None else ABSENT):
        return _deleted(state, write, evidence)
    if kind in NUMBERS and (number(over) or 0) < (number(write.base) or 0):
        return None  # another life
    victims, unknown = between_versions(state, write, over, evidence)
    if not victims and not unknown:
        return None
    grade = source_grade(write, recorded=True)
    if over in write.candidates:
        grade = grade.at_most(Certainty.LIKELY, WHICH_BASE)
    if write.part and kind is not VersionKind.FINGERPRINT and not victims:
        grade = grade.at_most(Certainty.POSSIBLE, "which part the write in between touched")
    if not victims and all(version in state.taken_back for version in unknown):
        grade = grade.at_most(Certainty.POSSIBLE, "who made what it replaced: such a version was rolled back")
    if not _surely_foreign(write, victims, evidence) and own_hole(state, write, evidence):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the writer's own strand")
    victim = victims[-1] if victims else None
    why = "it replaced a version that is not the one it was computed from"
    return Replaced(victim, grade, why, ordered=made_to_wait(victim, write, evidence))


def _surely_foreign(write: Access, victims: Sequence[Access], evidence: Evidence) -> bool:
    """Whether a captured write of another lies in between in every world: prints and older candidates leave it open."""
    if write.version_kind is VersionKind.FINGERPRINT or write.candidates:
        return False
    return any(evidence.fates.of(victim) is Fate.APPLIED for victim in victims)


def own_hole(state: State, write: Access, evidence: Evidence) -> bool:
    """Whether a span of the writer's own is missing since its base: it may have made what was replaced."""
    return hole_between(evidence.history, state.base_seq_of(state.base_of(write), write), write)


def _deleted(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Nothing was there any more: somebody deleted it, unless it expired, or had been deleted before."""
    base = state.base_of(write)
    deletes = [w for w in state.foreign_around(base, write) if w.op is Op.DELETE and unseen_before(w, write, evidence)]
    if not deletes:
        return None  # it expired, or the first write found nothing: nobody's work was replaced
    why = "the state was deleted in between"
    grade = source_grade(write, recorded=True)
    for delete in reversed(deletes):
        after_base = base is not None and evidence.took_effect_after(delete, base) is not None
        applied = evidence.fates.of(delete) is Fate.APPLIED
        if applied and after_base and evidence.took_effect_before(delete, write) is not None:
            return Replaced(delete, grade, why, ordered=made_to_wait(delete, write, evidence))
    return Replaced(deletes[-1], grade.at_most(Certainty.POSSIBLE, "whether it was deleted then, or had expired"), why)


def _by_order_of_versions(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """What versions alone tell where nothing says what was replaced: numbers grow, a chain has one child of a base."""
    if write.version_kind is VersionKind.ORDERED:
        return _by_numbers(state, write, evidence)
    return _by_one_base(state, write, evidence) if write.version_kind is VersionKind.CHAIN else None


def _by_numbers(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Growing numbers place a captured foreign write between base and written."""
    low, high = number(write.base), number(write.written)
    if low is None or high is None:
        return None
    found = (
        other
        for _, other in reversed(state.numbered_between(low, high - 1))
        if is_foreign(other, write) and conflicting_parts(other, write)
        if evidence.writes_before(write, other) is None
    )
    victim = next(found, None)
    if victim is None:
        return None
    grade = source_grade(write, recorded=False)
    base = state.base_of(write)
    later = base is not None and evidence.took_effect_after(victim, base) is not None
    earlier = base is not None and evidence.took_effect_before(victim, base) is not None
    placed_ = later and evidence.took_effect_before(victim, write) is not None
    if earlier or (not placed_ and (low == 0 or state.may_expire)):
        cap = Certainty.POSSIBLE if state.may_expire or (earlier and low == 0) else Certainty.LIKELY
        grade = grade.at_most(cap, "that both numbers are of one life of the state: it may have begun again")
    if any((number(each) or 0) >= (number(victim.written) or 0) for each in write.candidates):
        grade = grade.at_most(Certainty.LIKELY, WHICH_BASE)
    grade = grade.resting_on(evidence.absence(state.name, victim, write))  # that no delete is missing
    return Replaced(victim, grade, "a number in between was made by somebody else")


def _by_one_base(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """Several overwrites of one base that say nothing of what they replaced: each but the first replaced another."""
    family = state.by_base.get(write.base or "", [])
    upto = bisect_left(family, (write.start_ns, write.span_id), key=lambda w: (w.start_ns, w.span_id))
    earlier = [
        w
        for w in family[max(0, upto - RIVALS_MAX) : upto]
        if w is not write and is_foreign(w, write) and conflicting_parts(w, write)
        if is_overwrite(w) and w.overwritten is None and w.written != write.written
    ]
    if not earlier or any(not unseen_before(w, write, evidence) for w in earlier):
        return None
    if write.base == ABSENT and state.may_expire:
        return None  # nothing was there in several lives
    victim = max(earlier, key=lambda w: (w.start_ns, w.span_id))
    grade = source_grade(write, recorded=False)
    grade = min(
        (source_grade(each, recorded=False) for each in (write, victim)), key=lambda g: g.certainty.rank
    )  # it may be the other way round
    if write.candidates or victim.candidates:
        grade = grade.at_most(Certainty.LIKELY, WHICH_BASE)
    if write.version_kind is VersionKind.FINGERPRINT:
        grade = grade.at_most(Certainty.LIKELY, what_would_tell(write))
    return Replaced(victim, grade, "both were computed from one version", either=True)


def _by_time(state: State, write: Access, evidence: Evidence) -> Replaced | None:
    """A foreign write lies between the return of the base's access and the call of the write."""
    base = state.base_of(write)
    between, open_ = placed(state, write, base, evidence)
    if between:
        return _between(state, write, between[-1], evidence)
    rival = overlapping(state, write, base, evidence)
    if rival is not None:
        grade = source_grade(write, recorded=False).at_most(Certainty.LIKELY, what_would_tell(write))
        return Replaced(rival, grade, "the two writes overlap, and both were decided before either", either=True)
    if write.version_kind is VersionKind.FINGERPRINT and write.base is not None and state.is_unique(write.base):
        found = _by_one_base(state, write, evidence)
        if found is not None:
            return found
    found = _by_measured_clocks(state, write, open_, evidence)
    if found is not None:
        return found
    unsure = may_lie_between(state, write, open_, evidence)
    if unsure is None:
        return None
    grade = Grade(Certainty.POSSIBLE).at_most(Certainty.POSSIBLE, _what_would_place(unsure, write))
    return Replaced(unsure, grade, "it may lie between the read and the write")


def _by_measured_clocks(state: State, write: Access, open_: Sequence[Access], evidence: Evidence) -> Replaced | None:
    """What only a measured bound between clocks places: `likely` at most, with the bound in what is missing."""
    measured = measured_between(state, write, open_, evidence)
    found = _between(state, write, measured[0], evidence) if measured is not None else None
    if measured is None or found is None:
        return None
    grade = found.grade
    for missing in measured[1].missing:
        grade = grade.at_most(measured[1].certainty, missing)
    return replace(found, grade=grade)


def _between(state: State, write: Access, victim: Access, evidence: Evidence) -> Replaced | None:
    """What follows from a foreign write that was placed between base and write; None: its content was put back."""
    base = state.base_of(write)
    put_back = restored(state, write, victim, evidence)
    if put_back is None:
        return None
    grade = source_grade(write, recorded=False).at_most(Certainty.LIKELY, what_would_tell(write))
    if not put_back or _may_be_gone(victim, write):
        grade = grade.at_most(Certainty.POSSIBLE, "whether somebody put the old content back in between")
    if base is not None and evidence.took_effect_after(victim, base) is None and not state.is_unique(write.base or ""):
        grade = grade.resting_on(evidence.absence(state.name, victim, base))  # that nobody else put it back
    ordered = made_to_wait(victim, write, evidence)
    return Replaced(victim, grade, "it came after the read and before the write", ordered=ordered)


def _may_be_gone(victim: Access, write: Access) -> bool:
    """Whether the victim may have expired, so that there was nothing again, as the writer had found it."""
    if write.base not in (ABSENT, ABSENT_NUMBER) or victim.ttl_ms is None:
        return False
    return write.end_ns - victim.start_ns >= victim.ttl_ms * 1_000_000


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
    grade = Grade().at_most(Certainty.POSSIBLE, missing)
    return Replaced(makers[-1], grade, "it had also read an older version", older=older[-1])


def _equal_to_what_it_replaced(state: State, write: Access, victim: Access | None) -> bool:
    """Whether the same content stood there already, made by somebody else, whether or not that one was captured."""
    if victim is not None and state.same_content(write, victim):
        return True
    known = write.version_kind is VersionKind.FINGERPRINT and write.written is not None
    return known and write.overwritten == write.written


def _capped(state: State, write: Access, found: Replaced, evidence: Evidence) -> Replaced | None:
    """What lowers any of these: own unknown writes, two worlds, equal values, doubtful lives, partial capture."""
    if write.written is not None and write.written == write.base and write.version_kind is VersionKind.FINGERPRINT:
        return None  # it wrote what it had read: `equal_value`
    victim = found.victim
    grade = capped_by_own(state, write, found.grade, evidence)
    if grade is None:
        return None
    if victim is not None and evidence.fates.of(victim) is Fate.UNDECIDED and write.overwritten is None:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the replaced write was applied: its outcome is unknown")
    if _equal_to_what_it_replaced(state, write, victim):
        cap = Certainty.LIKELY if write.numeric else Certainty.POSSIBLE
        grade = grade.at_most(cap, "whether the equal value was meant: both wrote the same")
    base = state.base_of(write)
    later = victim is not None and base is not None and evidence.took_effect_after(victim, base) is not None
    if state.may_expire and write.version_kind in NUMBERS and not later:
        grade = grade.at_most(
            Certainty.POSSIBLE, "that the number in between is of this life: it may be an older one's"
        )
    grade = partial(grade, (write, *((victim,) if victim else ())))
    return replace(found, grade=grade)


def capped_by_own(state: State, write: Access, grade: Grade, evidence: Evidence) -> Grade | None:
    """What the writer's own calls since its base, and its own end, leave open; None: what it replaced was its own."""
    base = state.base_of(write)
    own = state.own_between(base, write)
    if len(own) >= OWN_MAX:
        grade = grade.at_most(Certainty.POSSIBLE, f"what all of the writer's own writes since its base made: {OWN_MAX}")
    over = _overwritten(write)
    if any(a.written is not None and a.written == over and evidence.fates.of(a) is not Fate.UNAPPLIED for a in own):
        return None
    if any(_left_open(a, write, evidence) for a in own):
        grade = grade.at_most(Certainty.POSSIBLE, OWN_UNKNOWN)
    if hole_between(evidence.history, state.base_seq_of(base, write), write):
        grade = grade.at_most(Certainty.LIKELY, "the lost spans of the writer's own strand")
    if write.base in state.taken_back and not state.makers.get(write.base or ""):
        grade = grade.at_most(Certainty.POSSIBLE, "what it had seen last: what it was computed from was rolled back")
    if evidence.fates.of(write) is Fate.UNDECIDED:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the write was applied: its outcome is unknown")
    if state.may_expire and write.version_kind in NUMBERS:
        grade = grade.at_most(Certainty.LIKELY, "whether the numbers began again: the state was deleted or may expire")
    return grade


def _left_open(own: Access, write: Access, evidence: Evidence) -> bool:
    """Whether a call of the writer's own since its base may have made a state that nobody can name."""
    if own.outcome in (Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.NOT_FOUND, Outcome.ERROR):
        return False
    prints = write.version_kind is VersionKind.FINGERPRINT
    incomparable = prints and (not own.verbatim or own.part != write.part)
    unnamed = own.written is None or (incomparable and conflicting_parts(own, write))
    return unnamed or own.partial or evidence.fates.of(own) is not Fate.APPLIED
