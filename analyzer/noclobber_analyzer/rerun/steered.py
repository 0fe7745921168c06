"""A finding, brought about: its program runs again, and one strand waits where the other has to pass.

Of the two sides of the witness one is held after its first access (the read, the look, the first lock) until the
other has done its last; the next try holds the other one. A side is a strand, with those that wrote what it had read
(LangGraph puts a run's checkpoints on threads of their own). What counts is only what then happens: a manifest finding
of the same bug, likely at least, by the same evaluator as always. So it serves what was seen to happen once, too.

Source: detection.md 5 (a script that forces the order turns latent into manifest).
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noclobber.contract import Certainty, Kind, Op
from noclobber.declarations import Declarations
from noclobber.pacing.likeness import like
from noclobber.pacing.steering import Point, Script, script_text
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.finding import AccessRef, Finding
from noclobber_analyzer.likeness import is_alike, site
from noclobber_analyzer.rerun.program import Run, run_once

__all__ = ["Outcome", "Unsteerable", "confirm", "points_of", "sides_of"]

TRIES: Final = 5
WAIT_S: Final = 3.0


class Unsteerable(Exception):  # noqa: N818  what a person mends
    """The finding is none that two strands could be steered into."""


Points = tuple[tuple[Point, ...], tuple[Point, ...]]
"""After which access a strand is held, and what the other must have done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the tries.

    Attributes:
        finding: what happened, None where it could not be brought about. tries: how many runs that took.
        last: the last run.
    """

    finding: Finding | None
    tries: int
    last: Run


def sides_of(finding: Finding) -> list[list[AccessRef]]:
    """The accesses of each side, in their order; the side that came first, first."""
    accesses = sorted(finding.accesses, key=lambda each: (each.start_ns, each.span_id))
    strand_of = {access.span_id: access.strand for access in accesses}
    side_of = {access.strand: access.strand for access in accesses}
    for edge in finding.edges:
        if edge.type == "base" and edge.source in strand_of and edge.target in strand_of:
            joined, into = side_of[strand_of[edge.target]], side_of[strand_of[edge.source]]
            side_of |= {strand: into for strand, side in side_of.items() if side == joined}
    sides: dict[str, list[AccessRef]] = {}
    for access in accesses:
        if access.op != Op.MODEL:
            sides.setdefault(side_of[access.strand], []).append(access)
    return list(sides.values())


def points_of(finding: Finding) -> tuple[Points, Points]:
    """Where to hold the one side and what to wait for, and the same for the other.

    Raises:
        Unsteerable: its witness does not have two sides.
    """
    sides = sides_of(finding)
    if len(sides) != 2:
        raise Unsteerable(f"finding {finding.id[:12]} has {len(sides)} strands in its witness; two can be steered")
    one, other = sides
    last = 0 if finding.kind is Kind.DEADLOCK else -1
    return ((_point(one[0]),), (_point(other[last]),)), ((_point(other[0]),), (_point(one[last]),))


def _happened(finding: Finding) -> bool:
    """Whether it shows damage; what is possible in some world is not confirmed by that."""
    return finding.manifest and finding.certainty is not Certainty.POSSIBLE


def _point(access: AccessRef) -> Point:
    return Point(access.op, like(access.resource), site(access.code))


def confirm(
    command: Sequence[str],
    finding: Finding,
    *,
    tries: int = TRIES,
    wait_s: float = WAIT_S,
    timeout_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
    declarations: Declarations = NOTHING_DECLARED,
    told: Callable[[int, Run], None] | None = None,
) -> Outcome:
    """Run `command` until what `finding` tells has happened (again), `tries` times at most.

    Args:
        command: the program.
        finding: what might happen, or did.
        tries: runs at most.
        wait_s: how long a strand is held at most.
        timeout_s: how long a run takes at most.
        environment: laid over the present one.
        declarations: what owners know of their resources.
        told: called after each run.

    Raises:
        Unsteerable: it has not two sides.
        Unrunnable: there is no such program.
    """
    sides = points_of(finding)
    same = finding.kind is Kind.LOST_UPDATE
    for number in range(1, max(1, tries) + 1):
        hold, until = sides[(number - 1) % 2]
        with tempfile.TemporaryDirectory(prefix="noclobber-steer-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "script.json"
            path.write_text(script_text(Script(hold, until, folder, wait_s, same)))
            more = {**(environment or {}), "NOCLOBBER_STEER": str(path)}
            run = run_once(command, more, timeout_s=timeout_s, declarations=declarations)
        if told is not None:
            told(number, run)
        happened = next((each for each in run.findings if _happened(each) and is_alike(each, finding)), None)
        if happened is not None:
            return Outcome(happened, number, run)
    return Outcome(None, number, run)
