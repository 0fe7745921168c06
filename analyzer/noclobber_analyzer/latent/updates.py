"""A lost update in waiting: two read-modify-writes of one resource that luck kept apart.

Source: detection.md 5 (read then overwrite).
"""

from collections.abc import Iterator

from noclobber.contract import Guard, Kind, Op
from noclobber_analyzer.detectors.basis import guarded, is_overwrite
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.latent.escape import Escape, Luck, Turn, neighbours, unordered, unordered_link
from noclobber_analyzer.state import State, conflicting_parts
from noclobber_analyzer.verdict import Candidate, Link

__all__ = ["latent_lost_update"]


def latent_lost_update(state: State, evidence: Evidence) -> Iterator[Escape]:
    """Read-modify-writes of one resource that luck kept apart; each later one is at most one."""
    for earlier, later, luck in neighbours(_turns(state, evidence) if state.is_shared else (), evidence):
        if conflicting_parts(earlier.change, later.change):
            yield Escape(_candidate(state, earlier, later, luck), earlier, later)


def _turns(state: State, evidence: Evidence) -> Iterator[Turn]:
    for write in state.writes:
        if not is_overwrite(write) or guarded(write) or write.guard in (Guard.LOCK, Guard.SERIALIZABLE):
            continue
        read = state.base_of(write) if evidence.fates.of(write) is Fate.APPLIED else None
        if read is not None and read.op is Op.READ and read.strand == write.strand:
            yield Turn(read, write, write)


def _candidate(state: State, earlier: Turn, later: Turn, luck: Luck) -> Candidate:
    return Candidate(
        kind=Kind.LOST_UPDATE,
        resource=state.name,
        anchors=(later.change,),
        roles=(
            (earlier.first, "reader"), (earlier.change, "either"), (later.first, "reader"), (later.change, "either")
        ),
        links=(
            Link(earlier.first, earlier.change, "base", "the value was computed from what this returned"),
            Link(later.first, later.change, "base", "the value was computed from what this returned"),
            unordered_link(earlier, later),
        ),
        grade=unordered(luck.path),
        manifest=False,
        margin_ns=luck.margin_ns,
    )  # fmt: skip
