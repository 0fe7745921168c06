"""Dirty read: a version was read that its transaction took back, or that was not committed yet.

A foreign read that got what an aborted transaction (or a savepoint that was rolled back) had made; or what was still
uncommitted although it stayed. A version that its own applied transaction replaced is an intermediate read. Numbers
of writes that were not applied may be used again, so a number alone does not tell: no other write of it may have come
before the read.

Source: Adya 1999 (G1a), Berenson et al. 1995 (P1); contract 2.3, detection.md 3.3.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final

from noclobber.contract import Certainty, Kind, Outcome, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns, nominally_before, slack_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.order import Answer, By
from noclobber_analyzer.state import NUMBERS, State, is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["MAKERS_MAX", "dirty_read"]

MAKERS_MAX: Final = 64
"""Writes of one version that are looked at for one read of it, and reads of it for one write: content comes again."""

NEAR_NS: Final = 100_000_000
"""How narrow the bound between two clocks must be, so that a read may be taken to lie before an end by them."""


def dirty_read(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Dirty reads of one resource; each read is at most one."""
    made = [w for w in state.accesses if w.op in WRITE_OPS and w.txn_id and w.written is not None]
    if not made:
        return
    by_version: dict[str, list[Access]] = {}
    for write in made:
        if write.outcome in (Outcome.OK, Outcome.UNKNOWN):
            by_version.setdefault(write.written or "", []).append(write)
    for read in state.reads:
        found = [
            candidate
            for write in _near(by_version.get(read.read or "", []), read)
            if is_foreign(write, read) and write.version_kind is read.version_kind and write.part == read.part
            if (candidate := _judged(state, write, read, evidence)) is not None
        ]
        if found and not state.is_own_version(read):
            yield max(found, key=lambda candidate: candidate.grade.certainty.rank)  # the first of equals


def _near(makers: list[Access], read: Access) -> list[Access]:
    """Those that were called last before a read returned, as recorded; they come in that order."""
    upto = bisect_right(makers, read.end_ns, key=lambda a: a.start_ns) if len(makers) > MAKERS_MAX else len(makers)
    return makers[max(0, upto - MAKERS_MAX) : max(upto, MAKERS_MAX)]


def _judged(state: State, write: Access, read: Access, evidence: Evidence) -> Candidate | None:
    if read.weak or write.weak or evidence.order.before(read, write) is not None:
        return None
    if evidence.fates.serializable_rejected(read) or evidence.fates.serializable_rejected(write):
        return None  # a defended transaction's accesses are part of no finding
    end = evidence.fates.taken_back_by(write)
    if end is not None:
        grade = _aborted(state, write, read, end, evidence)
        return None if grade is None else _candidate(write, read, end, grade, "taken back")
    commit = evidence.fates.end_of(write)
    if commit is None:
        unsure = Grade().resting_on(evidence.history.coverage.may_still_end(write))
        grade = unsure.at_most(Certainty.POSSIBLE, "how the transaction ended: its end was not captured")
        return _candidate(write, read, write, partial(grade, (write, read)), "never ended, as far as was captured")
    if commit is None or evidence.fates.of(write) is not Fate.APPLIED or not _is_last(state, write):
        return None
    proof = None if _made_elsewhere(state, write, read) else evidence.measured_before(read, commit)
    if proof is None or (proof is By.MEASURED and evidence.measured_before(read, write) is not None):
        return None  # committed by then, or not even written: a number may have been another's before
    synced = evidence.order.path(read, commit) is Answer.YES
    grade = Grade() if synced else Grade().at_most(Certainty.LIKELY, "an edge that orders read and commit")
    grade = evidence.as_measured(grade, read, commit) if proof is By.MEASURED else grade
    grade = _one_maker(state, write, grade, evidence)
    return _candidate(write, read, commit, grade, "not committed yet")


def _aborted(state: State, write: Access, read: Access, end: Access, evidence: Evidence) -> Grade | None:
    if write.version_kind is VersionKind.CHAIN or evidence.order.path(read, end) is Answer.YES:
        grade = _one_maker(state, write, Grade(), evidence)
    else:
        found = _by_uniqueness(state, write, read, end, evidence)
        if found is None:
            return None
        grade = _one_maker(state, write, found, evidence)
    if end.outcome is Outcome.UNKNOWN:
        grade = grade.at_most(Certainty.POSSIBLE, "how the transaction ended")
    return partial(grade, (write, read))


def _one_maker(state: State, write: Access, grade: Grade, evidence: Evidence) -> Grade:
    """Lowered where the same version may be another state's: content comes again, numbers do in another life."""
    if write.version_kind is VersionKind.FINGERPRINT:
        if _stood_before(state, write, evidence):
            return grade.at_most(Certainty.POSSIBLE, "whether it was this write's: the same content stood there before")
        return grade.at_most(Certainty.LIKELY, "a version that names one state, not only its content")
    if write.version_kind in NUMBERS and state.may_expire:
        return grade.at_most(Certainty.POSSIBLE, "which life of the state the number belongs to")
    if write.version_kind in NUMBERS and any(w is not write for w in state.makers.get(write.written or "", ())):
        return grade.at_most(Certainty.LIKELY, "which of the writes of this number was read")
    return grade


def _stood_before(state: State, write: Access, evidence: Evidence) -> bool:
    """Whether somebody saw the content that a write made before it was made."""
    if write.written in (write.base, write.overwritten):
        return True
    seen = islice(state.readers.get(write.written or "", ()), MAKERS_MAX)
    if any(evidence.order.before(read, write) is not None for read in seen):
        return True
    replaced = islice(state.by_replaced.get(write.written or "", ()), MAKERS_MAX)
    return any(evidence.writes_before(each, write) is not None for each in replaced)


def _by_uniqueness(state: State, write: Access, read: Access, end: Access, evidence: Evidence) -> Grade | None:
    """Whether nobody else can have made what was read: its content tells, else when it was read.

    A number may be used again once the transaction has ended, also by a write that nobody captured. So the read must
    lie inside the open transaction, and no other write of that number before it.
    """
    likely = Grade().at_most(Certainty.LIKELY, "an edge that orders the read and the abort")
    if write.content_written is not None and write.content_written == read.content_read:
        return likely
    others = [w for w in state.makers.get(write.written or "", ()) if w is not write]
    if write.version_kind not in NUMBERS and not others:
        return likely.at_most(Certainty.POSSIBLE, "what a script in between made") if state.unnamed else likely
    if any(evidence.took_effect_before(other, read) is not None for other in others):
        return None
    ended_before = evidence.order.before(end, read) is not None
    within = None if ended_before else _within(read, end, others, evidence)
    if within is not None:
        # ... if no other of this number is missing
        return _measured(likely, read, within, evidence).resting_on(evidence.absence(state.name, write, read))
    if ended_before and others:
        return None
    return likely.at_most(
        Certainty.POSSIBLE, "which write of this version was read: its number may have been used again"
    )


def _within(read: Access, end: Access, others: list[Access], evidence: Evidence) -> list[Access] | None:
    """Whether a read lies in the open transaction, with all other writes of its number after it.

    Returns:
        Accesses that only a measured bound places; None: it does not, or nobody knows.
    """
    measured = []
    for other in map(evidence.fates.seen_from, others):
        if slack_ns(other.process, read.process) is None:
            if evidence.measured_before(read, other) is None:
                return None
            measured.append(other)
        elif local_ns(other.process, other.start_ns) <= local_ns(read.process, read.start_ns):
            return None
    if slack_ns(read.process, end.process) is not None:
        return measured if nominally_before(read, end) else None
    # No bound is as narrow as the time from the read's return to the end's call: it must not lie clearly after it, and
    # where no other write of the number is known that followed, it must lie near.
    width = evidence.measured_width_ns(read, end)
    near = width is not None and (others or width <= NEAR_NS)
    return [*measured, end] if near and evidence.measured_before(end, read) is None else None


def _measured(grade: Grade, read: Access, placed: list[Access], evidence: Evidence) -> Grade:
    for access in placed:
        grade = evidence.as_measured(grade, read, access)
    return grade


def _made_elsewhere(state: State, write: Access, read: Access) -> bool:
    """Whether another applied write made the same version: then nobody knows which one was read."""
    if write.content_written is not None and write.content_written == read.content_read:
        return False
    return any(other is not write for other in state.makers.get(write.written or "", ()))


def _is_last(state: State, write: Access) -> bool:
    """Whether it is its transaction's last write here."""
    seq, start = state.last_of.get(write.txn_id or "", (0, 0))
    return seq <= write.seq and start <= write.end_ns


def _candidate(write: Access, read: Access, end: Access, grade: Grade, how: str) -> Candidate:
    ended = end is not write
    links = [Link(write, read, "reads-from", "the read returned just what this had made")]
    if ended:
        links.append(Link(write, end, "program", f"the transaction's end: what it made was {how}"))
    return Candidate(
        kind=Kind.DIRTY_READ,
        resource=read.resource,
        anchors=(read,),
        roles=((write, "dirty_write"), (read, "dirty_read"), *(((end, "end"),) if ended else ())),
        links=tuple(links),
        grade=grade,
        words={"how": how},
    )
