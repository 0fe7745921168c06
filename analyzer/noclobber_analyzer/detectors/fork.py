"""Fork: two children of one version, and only one of them will be continued.

Two applied writes that both replaced the same version; two applied writes of one `counter` number; two writes in mode
`insert` under `chain` with one base (checkpoints: they replace nothing, and both stand beside each other). Children on
different branches are meant, and so is one that was made after its author could see the first (replay, time travel).

Source: noclobber; contract 3.1 (borders to lost_update), detection.md 3.2.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from noclobber.contract import ABSENT, ABSENT_NUMBER, Certainty, Kind, Op, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.detectors.basis import guarded, unseen_before
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.state import State, conflicting_parts
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["fork"]


class _Family(NamedTuple):
    """Children of one parent, first first, and how that is known."""

    parent: Version
    children: list[Access]
    why: str


def fork(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Forks on one resource: one for each child but the first."""
    told: set[tuple[str, str]] = set()
    for family in _families(state):
        first = family.children[0]
        for child in family.children[1:]:
            if child.name in told or not _rival(first, child, evidence):
                continue
            told.add(child.name)
            yield _candidate(state, family, child, evidence)


def _families(state: State) -> Iterator[_Family]:
    replaced: dict[Version, list[Access]] = defaultdict(list)
    numbered: dict[Version, list[Access]] = defaultdict(list)
    inserted: dict[Version, list[Access]] = defaultdict(list)
    for write in state.writes:
        kind = write.version_kind
        if write.written is None or kind is None:
            continue
        if write.mode is WriteMode.INSERT and kind is VersionKind.CHAIN and write.base is not None:
            inserted[write.base].append(write)
            continue
        if write.overwritten is not None and write.overwritten not in (ABSENT, ABSENT_NUMBER):
            replaced[write.overwritten].append(write)
        if kind is VersionKind.COUNTER and write.op is not Op.DELETE:
            numbered[write.written].append(write)
    for parent, children in inserted.items():
        yield from _told(parent, children, "both name it as their parent")
    for parent, children in replaced.items():
        yield from _told(parent, children, "the store says that both replaced it")
    for version, children in numbered.items():
        yield from _told(str(max(int(version) - 1, 0)), children, f"both made number {version}")


def _told(parent: Version, children: Sequence[Access], why: str) -> Iterator[_Family]:
    distinct = sorted(children, key=lambda a: (a.start_ns, a.span_id))
    if len(distinct) > 1:
        yield _Family(parent, distinct, why)


def _rival(first: Access, child: Access, evidence: Evidence) -> bool:
    """Whether two children of one version are not meant to be, and the later author had not seen the first."""
    if first.branch != child.branch or not conflicting_parts(first, child):
        return False
    if first.mode is WriteMode.INSERT and first.written == child.written:
        return False  # the same child, put twice
    if first.op is Op.DELETE or child.op is Op.DELETE:
        return False  # numbers and prints begin again
    if guarded(child) and guarded(first) and first.version_kind is VersionKind.FINGERPRINT:
        return False  # the content was the same again: both compared it
    return child.base is None or unseen_before(first, child, evidence)


def _candidate(state: State, family: _Family, child: Access, evidence: Evidence) -> Candidate:
    parent, (first, *_), why = family
    grade = Grade()
    if child.version_kind is VersionKind.FINGERPRINT:
        makers = state.makers.get(parent, ())
        if len(makers) > 1 or any(reader.weak for reader in state.readers.get(parent, ())):
            grade = grade.at_most(Certainty.POSSIBLE, "a version that names one state: this content stood there before")
        else:
            grade = grade.at_most(Certainty.LIKELY, "a version that names one state, not only its content")
    if state.may_expire and child.version_kind is not VersionKind.CHAIN:
        grade = grade.at_most(Certainty.POSSIBLE, "which life of the state each belongs to")
    if Fate.UNDECIDED in (evidence.fates.of(first), evidence.fates.of(child)):
        grade = grade.at_most(Certainty.POSSIBLE, "whether both were applied: an outcome is unknown")
    grade = partial(grade, (first, child))
    bases = [(write, state.base_of(write)) for write in (first, child)]
    links = [Link(base, write, "base", "it goes on from what this returned") for write, base in bases if base]
    links.append(Link(first, child, "unordered", f"two children of {parent}: {why}"))
    readers = {base.name: base for _, base in bases if base is not None}
    roles = [(base, "stale_read") for base in readers.values() if base not in (first, child)]
    return Candidate(
        kind=Kind.FORK,
        resource=state.name,
        anchors=(child,),
        roles=(*roles, (first, "child"), (child, "child")),
        links=tuple(links),
        grade=grade,
        words={"parent": parent, "why": why},
    )
