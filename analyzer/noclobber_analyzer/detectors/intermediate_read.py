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
from noclobber_analyzer.order import By
from noclobber_analyzer.state import State, conflicting_parts, is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, partial

__all__ = ["intermediate_read"]

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
            for other in taken_back.get(write.written, ()):
                grade = _gone(other, read, grade, evidence)
            if read.txn_id and hole_between(evidence.history, evidence.picture_of(read).seq, read):
                grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the reader's own transaction")
            if evidence.fates.of(write) is Fate.UNDECIDED:
                grade = grade.at_most(Certainty.POSSIBLE, "how the transaction ended")
            yield _candidate(write, final, read, grade)


def _taken_back(state: State, evidence: Evidence) -> dict[str | None, list[Access]]:
    """Writes that did not stay, by version: a number may have been used twice."""
    found: dict[str | None, list[Access]] = {}
    for access in state.accesses:
        if access.op in WRITE_OPS and evidence.fates.of(access) is Fate.UNAPPLIED:
            found.setdefault(access.written, []).append(access)
    return found


def _gone(other: Access, read: Access, grade: Grade, evidence: Evidence) -> Grade:
    """As sure as it is that a write of the same version had been taken back, or refused, when the read was called."""
    end = evidence.fates.taken_back_by(other) or other
    proof = evidence.measured_before(end, read)
    if proof is None:
        return grade.at_most(Certainty.POSSIBLE, "which write of this version was read: one was taken back")
    return evidence.as_measured(grade, end, read) if proof is By.MEASURED else grade


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
        roles=((write, "intermediate_write"), (read, "intermediate_read"), (final, "final_write")),
        links=(Link(write, read, "reads-from", "the read returned just what this had made"),),
        grade=grade,
    )
