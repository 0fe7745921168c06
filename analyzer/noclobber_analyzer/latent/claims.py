"""A double claim in waiting: two workers that selected tasks and took them, and luck kept the two apart.

A worker has the shape if it scanned for tasks and then took one by a write that nothing guards. Had the later one
scanned before the earlier one's take, both would have seen the earlier one's task as free. A queue hands out by
itself, so receipts have no such shape; nor has a take that the store decides.

Source: detection.md 5 (claim) and 3.5.
"""

from collections import defaultdict
from collections.abc import Iterator

from noclobber.contract import Certainty, Guard, Kind, Op
from noclobber_analyzer.detectors.double_claim import selection
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.latent.escape import Escape, Luck, Turn, neighbours, unordered, unordered_link
from noclobber_analyzer.verdict import Candidate, Link

__all__ = ["latent_double_claim"]


def latent_double_claim(evidence: Evidence) -> Iterator[Escape]:
    """Takes out of one selection that luck kept apart; each later take is at most one."""
    turns: dict[tuple[str, str], list[Turn]] = defaultdict(list)
    for access in evidence.history.of(Op.WRITE):
        if access.message is None or access.guard is not Guard.NONE:
            continue
        scan = selection(access, evidence) if evidence.fates.of(access) is Fate.APPLIED else None
        if scan is not None and scan.op is Op.SCAN and scan.scan is not None:
            turns[scan.resource, scan.scan.predicate or ""].append(Turn(scan, access, access))
    for _, of_selection in sorted(turns.items()):
        for earlier, later, luck in neighbours(of_selection, evidence):
            if earlier.change.resource != later.change.resource:
                yield Escape(_candidate(earlier, later, luck), earlier, later)


def _candidate(earlier: Turn, later: Turn, luck: Luck) -> Candidate:
    assert earlier.first.scan is not None
    assert later.change.message is not None
    grade = unordered(luck.path)
    if later.change.resource not in earlier.first.scan.resources:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the two selected among the same tasks")
    return Candidate(
        kind=Kind.DOUBLE_CLAIM,
        resource=later.change.resource,
        anchors=(later.change,),
        roles=(
            (earlier.first, "selection"), (earlier.change, "claim"), (later.first, "selection"), (later.change, "claim")
        ),
        links=(
            Link(earlier.first, earlier.change, "base", "the task was chosen from this"),
            Link(later.first, later.change, "base", "the task was chosen from this"),
            unordered_link(earlier, later),
        ),
        grade=grade,
        manifest=False,
        margin_ns=luck.margin_ns,
        words={"task": later.change.message.id, "selected": later.first.resource},
    )  # fmt: skip
