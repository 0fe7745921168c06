"""A check-then-act in waiting: two units that checked one thing, changed it and acted, and luck kept them apart.

A unit has the shape if it read or scanned something, then changed that very thing (an insert into what was scanned, an
update in place, a write without a base), and acted because of the check: an effect, a send, an insert. Had the later
one checked before the earlier one's change, both would have been let in. An overwrite computed from the check is a
lost update in waiting, and is told as such.

Source: detection.md 5 (check then act) and 3.5.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Guard, Kind, Op, Outcome, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.check_then_act import covered, is_act
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.latent.escape import Escape, Luck, Turn, neighbours, unordered, unordered_link
from noclobber_analyzer.verdict import Candidate, Grade, Link

__all__ = ["latent_check_then_act"]

_CHECKS: Final = frozenset({Op.READ, Op.SCAN})
_FOUND: Final = frozenset({Outcome.OK, Outcome.NOT_FOUND})


class _Thing(NamedTuple):
    """What was checked: a resource, or what a predicate selects in a container."""

    resource: str
    predicate: str


def latent_check_then_act(evidence: Evidence) -> Iterator[Escape]:
    """Acts on one check that luck kept apart; each later act is at most one."""
    if not any(a.op in (Op.EFFECT, Op.SEND) or a.mode is WriteMode.INSERT for a in evidence.history.accesses):
        return
    turns: dict[_Thing, list[Turn]] = defaultdict(list)
    alone: set[tuple[str, str]] = set()
    for own in evidence.history.strands.values():
        for _, unit in groupby(own, key=lambda a: a.step or a.unit):
            found = _in_unit(list(unit), evidence)
            for thing, turn in found.items():
                turns[thing].append(turn)
                if len(found) == 1:
                    alone.add(turn.last.name)
    told: set[tuple[str, str]] = set()
    for thing in sorted(turns):
        for earlier, later, luck in neighbours(turns[thing], evidence):
            if later.last.name not in told:
                told.add(later.last.name)
                grade = _graded(unordered(luck.path), earlier, later, alone={later.last.name} <= alone)
                yield Escape(_candidate(earlier, later, luck, grade), earlier, later)


def _in_unit(accesses: Sequence[Access], evidence: Evidence) -> dict[_Thing, Turn]:
    """The things that a unit checked, changed and acted on, each with its turn."""
    if accesses[0].step is None and accesses[0].unit_kind is None:
        return {}  # a bare strand holds nothing together
    checks: dict[_Thing, Access] = {}
    changes: dict[_Thing, Access] = {}
    acts: list[Access] = []
    for access in accesses:
        if access.op in _CHECKS and access.outcome in _FOUND:
            predicate = access.scan.predicate or "" if access.scan is not None else ""
            checks[_Thing(access.resource, predicate)] = access
        elif access.op in WRITE_OPS and _changes(access, evidence):
            changed = (access.resource, _container(access))
            for thing in checks:
                if thing.resource in changed:
                    changes.setdefault(thing, access)
        if is_act(access, evidence):
            acts.append(access)
    return {
        thing: Turn(checks[thing], change, acts[-1])
        for thing, change in changes.items()
        if acts and acts[-1].seq > checks[thing].seq < change.seq
    }


def _changes(write: Access, evidence: Evidence) -> bool:
    """Whether a write changes what others check, though it was not computed from it, and nothing compared it."""
    if write.guard is not Guard.NONE or write.base is not None or evidence.fates.of(write) is not Fate.APPLIED:
        return False
    return not evidence.fates.serializable_rejected(write)


def _container(write: Access) -> str | None:
    """The container whose scans an insert changes."""
    return write.resource.rpartition("/")[0] + "/" if write.mode is WriteMode.INSERT else None


def _graded(grade: Grade, earlier: Turn, later: Turn, *, alone: bool) -> Grade:
    if later.first.op is Op.SCAN:
        known = covered(later.first, earlier.change, later.last)
        if known.certainty is Certainty.POSSIBLE:
            grade = grade.at_most(Certainty.POSSIBLE, known.missing[-1])
    if not alone:
        grade = grade.at_most(Certainty.POSSIBLE, "which of the things that it had read the act rested on")
    return grade


def _candidate(earlier: Turn, later: Turn, luck: Luck, grade: Grade) -> Candidate:
    roles: dict[tuple[str, str], tuple[Access, str]] = {}
    for turn in (earlier, later):
        for access, role in ((turn.first, "check"), (turn.change, "newer"), (turn.last, "act")):
            roles[access.name] = (access, role)
    return Candidate(
        kind=Kind.CHECK_THEN_ACT,
        resource=later.last.resource,
        anchors=(later.last,),
        roles=tuple(sorted(roles.values(), key=lambda told: (told[0].strand != earlier.first.strand, told[0].seq))),
        links=(
            Link(earlier.first, earlier.last, "base", "what was done was decided from this"),
            Link(later.first, later.last, "base", "what was done was decided from this"),
            unordered_link(earlier, later),
        ),
        grade=grade,
        manifest=False,
        margin_ns=luck.margin_ns,
        words={"checked": later.first.resource},
    )
