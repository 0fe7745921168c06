"""Intermediate read: a version was read that its own applied unit replaced later; it was never meant to be seen.

A transaction's writes are one piece: of several on one resource only the last is its result, whenever the others were
read. Outside transactions the piece is a guess: two writes of one step with nothing between them (truncate, then fill)
read as one, anything else may be progress that is meant to be seen.

Source: Adya 1999 (G1b); contract 2.3 and 3.1, detection.md 3.3.
"""

from collections.abc import Iterator
from itertools import pairwise

from noclobber.contract import Certainty, Kind, UnitKind, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.basis import is_overwrite
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.order import Answer, By
from noclobber_analyzer.state import NUMBERS, State, conflicting_parts, is_foreign, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, partial

__all__ = ["half_seen", "intermediate_read"]

LOST = "the lost spans: one may have made this number in a transaction that was taken back"
WHICH_WRITE = "which write of this version was read: one was taken back"
ONE_PIECE = "that the writes are one piece: a transaction around them, or one write"


def intermediate_read(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Intermediate reads of one resource; each read is at most one."""
    taken_back: dict[str | None, list[Access]] | None = None
    for write, final in _replaced_by_its_unit(state):
        if final.written == write.written or len(state.makers[write.written or ""]) != 1:
            continue  # put back in the end, or made by others too
        for read in state.readers.get(write.written or "", ()):
            if not _got(read, write) or state.is_own_version(read):
                continue
            taken_back = _taken_back(state, evidence) if taken_back is None else taken_back
            grade = _grade(state, write, final, read)
            left = [other for other in taken_back.get(write.written, ()) if _was_there(other, read, evidence)]
            gone = [other for other in left if _gone_as_measured(other, read, evidence)]
            for other in gone:
                grade = evidence.as_measured(grade, _end_of(other, evidence), read)
            if len(gone) < len(left):
                later = all(_came_after(write, other, read, evidence) for other in left)
                grade = grade.at_most(Certainty.LIKELY if later else Certainty.POSSIBLE, WHICH_WRITE)
            if write.version_kind in NUMBERS and not evidence.is_whole:
                known = _came_before(write, read, evidence)
                grade = grade.at_most(Certainty.LIKELY if known else Certainty.POSSIBLE, LOST)
            if read.txn_id and hole_between(evidence.history, evidence.picture_of(read).seq, read):
                grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the reader's own transaction")
            if evidence.fates.of(write) is Fate.UNDECIDED:
                grade = grade.at_most(Certainty.POSSIBLE, "how the transaction ended")
            yield _candidate(write, final, read, grade)


def half_seen(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Reads of what a transaction made, of whose later writes one may be lost; each read is at most one.

    If somebody else went on from the version it was the transaction's last, and a read from before the commit is dirty.
    """
    for write in () if evidence.is_whole else state.writes:
        commit = evidence.fates.end_of(write)
        if commit is None or write.written is None or evidence.fates.of(write) is not Fate.APPLIED:
            continue
        if commit.strand != write.strand or not hole_between(evidence.history, write.seq, commit):
            continue
        if _is_continued(state, write) or any(w.txn_id == write.txn_id and w.seq > write.seq for w in state.writes):
            continue
        for read in state.readers.get(write.written, ()):
            ordered = evidence.order.before(read, commit) or evidence.order.before(commit, read)
            if _got(read, write) and ordered is None and not state.is_own_version(read):
                lost = "the lost spans of the transaction: one of them may have replaced what was read"
                yield _candidate(write, commit, read, Grade().at_most(Certainty.POSSIBLE, lost))


def _is_continued(state: State, write: Access) -> bool:
    """Whether another transaction went on from just what a write had made."""
    made = number(write.written) if write.version_kind is VersionKind.COUNTER else None
    following = state.makers.get(str(made + 1), ()) if made is not None else ()
    return any(is_foreign(w, write) for w in (*following, *state.by_base.get(write.written or "", ())))


def _taken_back(state: State, evidence: Evidence) -> dict[str | None, list[Access]]:
    """Writes that did not stay, by version: a number may have been used twice.

    What a serializable transaction wrote whose commit was refused nobody else was shown.
    """
    found: dict[str | None, list[Access]] = {}
    for access in state.unapplied:
        if not evidence.fates.serializable_rejected(access):
            found.setdefault(access.written, []).append(access)
    return found


def _end_of(other: Access, evidence: Evidence) -> Access:
    """What took a write back, or the refused write itself."""
    return evidence.fates.taken_back_by(other) or other


def _gone_as_measured(other: Access, read: Access, evidence: Evidence) -> bool:
    """Whether a measured bound of clocks shows that a write had been taken back, or refused, before the read."""
    return evidence.measured_before(_end_of(other, evidence), read) is By.MEASURED


def _was_there(other: Access, read: Access, evidence: Evidence) -> bool:
    """Whether a write that did not stay may have been there for the read: made by then, and not yet taken back.

    By sync order, one clock, or because who knew of the one came after it.
    """
    end = _end_of(other, evidence)
    order = evidence.order
    if order.before(end, read) is not None or order.before(read, other) is not None:
        return False
    return not _knew(end, read, evidence) and not _knew(read, other, evidence)


def _knew(one: Access, other: Access, evidence: Evidence) -> bool:
    """Whether know order puts one access before another; with lost spans, who read whose number is not sure."""
    return evidence.is_whole and evidence.order.path(one, other, know=True) is Answer.YES


def _came_after(write: Access, other: Access, read: Access, evidence: Evidence) -> bool:
    """Whether a write came between another one of its version, which was taken back, and the read that got it."""
    return _came_before(other, write, evidence) and _came_before(write, read, evidence)


def _came_before(one: Access, other: Access, evidence: Evidence) -> bool:
    return evidence.order.before(one, other) is not None or _knew(one, other, evidence)


def _replaced_by_its_unit(state: State) -> Iterator[tuple[Access, Access]]:
    """Writes with the last one that their unit made there afterwards."""
    pieces: dict[tuple[str, str], list[Access]] = {}
    for write in state.writes:
        if write.unit_kind is not None:
            pieces.setdefault((write.unit, write.strand), []).append(write)
    for writes in pieces.values():
        if len(writes) < 2:
            continue
        writes.sort(key=lambda w: w.seq)
        for write, following in pairwise(writes):
            replaced = write.written is not None and conflicting_parts(write, following)
            if replaced and (write.txn_id or (is_overwrite(write) and is_overwrite(following))):
                yield write, writes[-1]


def _got(read: Access, write: Access) -> bool:
    same = write.version_kind is read.version_kind and write.part == read.part
    return same and is_foreign(read, write) and not (read.weak or write.weak)


def _grade(state: State, write: Access, final: Access, read: Access) -> Grade:
    grade = Grade()
    if write.version_kind is VersionKind.FINGERPRINT:
        grade = grade.at_most(Certainty.LIKELY, "versions of the store's own: equal content may be another write's")
        if state.unnamed:
            grade = grade.at_most(Certainty.POSSIBLE, "what a script in between made")
    if write.unit_kind is not UnitKind.TXN:
        grade = grade.at_most(Certainty.LIKELY, ONE_PIECE)
        if final.seq != write.seq + 1:
            grade = grade.at_most(Certainty.POSSIBLE, ONE_PIECE)
    if state.may_expire and write.version_kind is not VersionKind.CHAIN:
        grade = grade.at_most(Certainty.LIKELY, "whether the versions began again: the state was deleted or may expire")
    return partial(grade, (write, read))


def _candidate(write: Access, final: Access, read: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.INTERMEDIATE_READ,
        resource=read.resource,
        anchors=(read,),
        roles=(
            (write, "intermediate_write"),
            (read, "intermediate_read"),
            (final, "final_write" if final.op in WRITE_OPS else "end"),
        ),
        links=(Link(write, read, "reads-from", "the read returned just what this had made"),),
        grade=grade,
    )
