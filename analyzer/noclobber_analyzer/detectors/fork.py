"""Fork: two children of one version, and only one of them will be continued.

Two applied writes that both replaced the same version; two applied writes of one `counter` number; two writes in mode
`insert` under `chain` with one base (checkpoints: they replace nothing, and both stand beside each other). Children on
different branches are meant, and so is one that was made after its author could see the first (replay, time travel).

Source: noclobber; contract 3.1 (borders to lost_update), detection.md 3.2.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from noclobber.contract import ABSENT, ABSENT_NUMBER, Certainty, Kind, Op, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.detectors.basis import guarded, source_grade, unseen_before
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.state import NUMBERS, State, conflicting_parts, is_foreign, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, left_open, partial

__all__ = ["fork"]

NAMED: Final = "both name it as their parent"


SIBLINGS_MAX: Final = 16
"""Earlier children of one parent among which one is looked for that a child is a rival of."""


class _Family(NamedTuple):
    """Children of one parent, first first, and how that is known."""

    parent: Version
    children: list[Access]
    why: str


def fork(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Forks on one resource: one for each child but the first."""
    told: set[tuple[str, str]] = set()
    for family in _families(state):
        for place, child in enumerate(family.children[1:], start=1):
            if child.name in told:
                continue
            first = _sibling(family.children[:place][:SIBLINGS_MAX], child, evidence)
            if first is not None:
                told.add(child.name)
                yield _candidate(state, family, first, child, evidence)


def _families(state: State) -> Iterator[_Family]:
    replaced: dict[Version, list[Access]] = defaultdict(list)
    numbered: dict[Version, list[Access]] = defaultdict(list)
    inserted: dict[Version, list[Access]] = defaultdict(list)
    for write in state.writes:
        kind = write.version_kind
        if write.written is None or kind is None or write.resource != state.name:
            continue  # a container's versions are not those of what lies below it
        if write.mode is WriteMode.INSERT and kind is VersionKind.CHAIN and write.base is not None:
            if write.base == ABSENT and state.may_expire:
                continue  # nothing was there in several lives
            inserted[write.base].append(write)
            continue
        changed = kind is not VersionKind.FINGERPRINT or write.overwritten != write.written
        if write.overwritten not in (None, ABSENT, ABSENT_NUMBER) and changed:
            replaced[write.overwritten].append(write)
        if kind is VersionKind.COUNTER and write.op is not Op.DELETE and number(write.written) is not None:
            numbered[write.written].append(write)
    for parent, children in inserted.items():
        yield from _told(parent, children, NAMED)
    for parent, children in replaced.items():
        yield from _told(parent, children, "the store says that both replaced it")
    for version, children in numbered.items():
        parent = str(int(version) - 1) if version != ABSENT_NUMBER else ABSENT
        yield from _told(parent, children, f"both made number {version}")


def _told(parent: Version, children: Sequence[Access], why: str) -> Iterator[_Family]:
    distinct = sorted(children, key=lambda a: (a.start_ns, a.span_id))
    if len(distinct) > 1:
        yield _Family(parent, distinct, why)


def _sibling(earlier: Sequence[Access], child: Access, evidence: Evidence) -> Access | None:
    """The first earlier child that is a rival, rather one that was applied: one that was taken back is none."""
    rivals = [each for each in earlier if _rival(each, child, evidence)]
    applied = (each for each in rivals if evidence.fates.of(each) is Fate.APPLIED)
    return next(applied, rivals[0] if rivals else None)


def _rival(first: Access, child: Access, evidence: Evidence) -> bool:
    """Whether two children of one version are not meant to be, and the later author had not seen the first."""
    if first.branch != child.branch or not conflicting_parts(first, child) or not is_foreign(first, child):
        return False
    if first.version_kind is VersionKind.FINGERPRINT and first.part != child.part:
        return False  # prints of different parts do not compare
    if first.mode is WriteMode.INSERT and first.written == child.written:
        return False  # the same child, put twice
    if first.op is Op.DELETE or child.op is Op.DELETE:
        return False  # numbers and prints begin again
    if guarded(child) and guarded(first) and first.version_kind is VersionKind.FINGERPRINT:
        return False  # the content was the same again: both compared it
    return child.base is None or unseen_before(first, child, evidence)


def _one_life(state: State, first: Access, child: Access, grade: Grade, evidence: Evidence) -> Grade:
    """Numbers begin again after a delete: that there was none rests on the record, and on both having counted on."""
    if state.may_expire:
        return grade.at_most(Certainty.POSSIBLE, "which life of the state each belongs to")
    if first.base is None or child.base is None:
        grade = grade.at_most(Certainty.LIKELY, "what both were computed from")
    return grade.resting_on(evidence.absence(state.name, first, child))


def _stood_again(state: State, parent: Version, first: Access, child: Access, evidence: Evidence) -> bool:
    """Whether the parent's content may have stood there twice: it is common, or was made again after the first child.

    The one write that made it is where both had it from, unless it came after the first child or goes back to it.
    """
    if not state.is_unique(parent):
        return True
    if first.written is not None and first.written in state.ancestors(parent):
        return True
    others = [w for w in state.timeline.around(first, child) if w is not first and w is not child]
    if any(w.written == parent and evidence.writes_before(first, w) is not None for w in others):
        return True
    maybe = [w for w in others if w.written is None or (w.part != child.part and conflicting_parts(w, child))]
    return any(evidence.writes_before(w, first) is None and evidence.writes_before(child, w) is None for w in maybe)


def _candidate(state: State, family: _Family, first: Access, child: Access, evidence: Evidence) -> Candidate:
    parent, _, why = family
    grade = Grade()
    if child.version_kind is VersionKind.FINGERPRINT:
        if _stood_again(state, parent, first, child, evidence):
            grade = grade.at_most(Certainty.POSSIBLE, "a version that names one state: this content stood there before")
        else:
            grade = grade.at_most(Certainty.LIKELY, "a version that names one state, not only its content")
    if child.version_kind in NUMBERS:
        grade = _one_life(state, first, child, grade, evidence)
    if why is NAMED:
        grade = min((source_grade(each, recorded=False) for each in (first, child)), key=lambda g: g.certainty.rank)
        if first.candidates or child.candidates:
            grade = grade.at_most(Certainty.LIKELY, "from which of the versions that it had read each goes on")
    if Fate.UNDECIDED in (evidence.fates.of(first), evidence.fates.of(child)):
        grade = grade.at_most(Certainty.POSSIBLE, "whether both were applied: an outcome is unknown")
    grade = partial(left_open(grade, first, child, evidence.order), (first, child))
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
