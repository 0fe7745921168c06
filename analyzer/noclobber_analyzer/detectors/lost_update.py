"""Lost update: a write computed from one version replaced another one, and its author never knew.

An applied, unguarded overwrite or delete whose *overwritten* version is not its *base*, and what stood there came from
another strand or transaction. The access itself may certify it (it carries both versions); else versions in between
do (numbers, chains); else a captured foreign write that lies between the return of the base's access and the call of
the write, by sync order or by one machine's clock. What was captured needs no complete record.

Not judged here: inserts (fork), appends and merges decided from an old state (stale_write), writes without a base
(blind_overwrite).

Source: Berenson et al. 1995 (P4); contract 3.1 and 2.3; detection.md 3.2; analysis.md 16.
"""

from collections.abc import Iterator

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.basis import is_overwrite
from noclobber_analyzer.detectors.replaced import Replaced, replaced_unseen
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.state import State
from noclobber_analyzer.verdict import Candidate, Link

__all__ = ["lost_update"]


def lost_update(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Lost updates on one resource; each overwriting write is at most one."""
    found: list[tuple[Access, Replaced]] = []
    for write in state.writes:
        if not is_overwrite(write) or evidence.fates.serializable_rejected(write):
            continue
        if write.base is None and write.version_kind is not None:
            continue  # blind
        replaced = replaced_unseen(state, write, evidence)
        if replaced is not None:
            found.append((write, replaced))
    sure = [(w, r) for w, r in found if r.victim is not None and r.grade.certainty is not Certainty.POSSIBLE]
    lost = {(w.name, r.victim.name) for w, r in sure if r.victim is not None}
    placed = {(w.name, r.victim.name) for w, r in sure if r.victim is not None and not r.either}
    for write, replaced in found:
        reversed_ = (replaced.victim.name, write.name) if replaced.victim is not None else None
        if replaced.grade.certainty is Certainty.POSSIBLE and reversed_ in lost:
            continue  # the pair stands already, the other way round and surer
        if replaced.either and reversed_ in placed:
            continue  # ... or in the order in which it really was
        yield _candidate(state, write, replaced, evidence)


def _candidate(state: State, write: Access, found: Replaced, evidence: Evidence) -> Candidate:
    base = state.base_of(write)
    victim = found.victim
    roles = [(base, "stale_read")] if base is not None and base is not victim else []
    names = ("either", "either") if found.either else ("victim", "overwriter")
    links = [Link(base, write, "base", "the value was computed from what this returned")] if base is not None else []
    if victim is not None:
        theirs = state.base_of(victim)
        if theirs is not None and theirs is not base:
            roles.insert(0, (theirs, "reader"))
            links.append(Link(theirs, victim, "base", "the value was computed from what this returned"))
        roles.append((victim, names[0]))
        links.append(_race(victim, write, found, evidence))
    roles.append((write, names[1]))
    return Candidate(
        kind=Kind.LOST_UPDATE,
        resource=write.resource,
        anchors=(write,),
        roles=tuple(roles),
        links=tuple(links),
        grade=found.grade,
        also=(Kind.STALE_WRITE,),
        ordered=found.ordered,
        words={"why": found.why, "over": write.overwritten or "", "older": found.older or ""},
    )


def _race(victim: Access, write: Access, found: Replaced, evidence: Evidence) -> Link:
    if found.ordered:
        return Link(victim, write, evidence.order.reason(victim, write), "it was made to wait, and wrote an old value")
    return Link(victim, write, "unordered", f"nothing made one wait for the other; {found.why}")
