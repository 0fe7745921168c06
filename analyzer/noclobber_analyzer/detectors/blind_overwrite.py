"""Blind overwrite: a write without a base replaces what another strand had made, and its author could not know of it.

Most blind writes are meant (publish, refresh, reset), so this is `possible` and `low` unless the replaced state was
another agent's, nobody ever read it, and the resource is one that is usually read, changed and written back, or the
write resets a whole container. Nobody's work is in danger where the new content equals the old.

Source: noclobber; contract 3.1, detection.md 3.2.
"""

from collections.abc import Iterator

from noclobber.contract import BaseSource, Certainty, Guard, Kind, Op, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.basis import is_overwrite
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.finding import agent_role
from noclobber_analyzer.order import Answer
from noclobber_analyzer.state import State, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["blind_overwrite"]


def blind_overwrite(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Blind overwrites of one resource; each write is at most one."""
    modified = any(w.base is not None and w.base_source is not BaseSource.REMEMBERED for w in state.writes)
    told: set[tuple[str, str]] = set()
    for write in state.writes:
        if not _is_blind(write) or write.name in told or evidence.fates.of(write) is not Fate.APPLIED:
            continue
        replaced = _replaced(state, write, evidence)
        if replaced is None or replaced.op is Op.DELETE or state.same_content(write, replaced):
            continue
        if _could_know(state, write, replaced, evidence):
            continue
        told.add(write.name)
        yield _candidate(state, write, replaced, _grade(state, write, replaced, evidence, modified=modified))


def _is_blind(write: Access) -> bool:
    return is_overwrite(write) and write.base is None and write.guard in (Guard.NONE, Guard.LOCK)


def _replaced(state: State, write: Access, evidence: Evidence) -> Access | None:
    """The foreign write whose state was replaced: as recorded, by number, or the last one before."""
    if write.overwritten is not None:
        makers = state.makers.get(write.overwritten, ())
        return makers[0] if len(makers) == 1 and makers[0].strand != write.strand else None
    if write.version_kind is VersionKind.COUNTER and number(write.written):
        makers = state.makers.get(str((number(write.written) or 1) - 1), ())
        return makers[0] if len(makers) == 1 and makers[0].strand != write.strand else None
    before = [
        w for w in state.timeline.before(write) if w is not write and evidence.writes_before(w, write) is not None
    ]
    last: Access | None = None
    for each in before:
        if last is None or evidence.writes_before(last, each) is not None:
            last = each
    if last is None or last.strand == write.strand:
        return None
    alone = all(each is last or evidence.writes_before(each, last) is not None for each in before)
    return last if alone else None


def _could_know(state: State, write: Access, replaced: Access, evidence: Evidence) -> bool:
    """Whether anything of the resource, or the replaced write itself, lies in the writer's past."""
    if state.first_read_of.get(write.strand, write.seq) < write.seq:
        return True
    return evidence.order.path(replaced, write, know=True) is not Answer.NO


def _grade(state: State, write: Access, replaced: Access, evidence: Evidence, *, modified: bool) -> Grade:
    read = replaced.written is None or bool(state.readers.get(replaced.written))
    other_agent = agent_role(replaced.agent) != agent_role(write.agent)
    grade = Grade(Certainty.LIKELY)
    if read or not other_agent or not (modified or write.resource.endswith("/")):
        grade = grade.at_most(Certainty.POSSIBLE, "whether the write was meant to reset the state, whatever it was")
    grade = grade.resting_on(
        evidence.absence(state.name, replaced, write)
    )  # that nobody, the writer first, had read it
    return partial(grade, (write, replaced))


def _candidate(state: State, write: Access, replaced: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.BLIND_OVERWRITE,
        resource=write.resource if write.resource.endswith("/") else state.name,
        anchors=(write,),
        roles=((replaced, "victim"), (write, "overwriter")),
        links=(Link(replaced, write, "unordered", "the writer had neither read it nor heard of it"),),
        grade=grade,
    )
