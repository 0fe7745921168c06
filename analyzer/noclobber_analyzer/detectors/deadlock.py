"""Deadlock: a cycle of waits, all open at one moment.

A wait is a `lock`, `receive` or `join` that says for whom it waited; a `join` waits for its strand; a lock that was not
had waited for whoever held it. All mechanisms share one wait-for graph, for real cycles cross them. A strand waits for
one thing at a time, so it is enough to look, at the call of each wait, whether a path of open waits leads back to it:
whoever called last closed the cycle. At least one of its waits must have failed or be open still: a cycle of waits that
all ended well was none.

*Latent*: two strands took two locks in opposite orders, and nothing but luck kept them apart: asked for only.

Source: Holt 1972 (wait-for graphs); contract 3.1, detection.md 3.7.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from noclobber.contract import Certainty, Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["deadlock"]

_WAITS: Final = frozenset({Op.LOCK, Op.RECEIVE, Op.JOIN})
_HELD_MAX: Final = 8
CYCLE_MAX: Final = 16
"""Waits in the longest cycle that is told."""


def deadlock(evidence: Evidence) -> Iterator[Candidate]:
    """Cycles of waits; each is named by the wait that closed it."""
    waits = [(a, blockers) for a in evidence.history.of(*_WAITS) if (blockers := _blockers(a, evidence))]
    if len(waits) < 2:
        return
    told: set[tuple[str, str]] = set()
    clocks: dict[str, list[tuple[Access, frozenset[str]]]] = defaultdict(list)
    for wait in waits:
        clocks[wait[0].process.clock or wait[0].process.host or wait[0].process.id].append(wait)
    for own in clocks.values():
        own.sort(key=lambda wait: (local_ns(wait[0].process, wait[0].start_ns), wait[0].span_id))
        for cycle in _cycles(own, local=True):
            told.add(cycle[0].name)
            yield _candidate(cycle, evidence)
    if len(clocks) > 1:
        for cycle in _cycles(waits, local=False):
            if cycle[0].name not in told:
                yield _candidate(cycle, evidence)


def _blockers(access: Access, evidence: Evidence) -> frozenset[str]:
    """The strands that a wait says that it waits for; empty: it is none, or nobody knows."""
    if access.op not in _WAITS:
        return frozenset()
    if access.waits_for:
        owners = evidence.holds.owners
        return frozenset(strand for name in access.waits_for for strand in owners.get(name, {name}))
    if access.op is Op.JOIN and access.strand_other:
        return frozenset({access.strand_other})
    if access.op is Op.LOCK and (access.open or access.outcome is not Outcome.OK):
        return _holders(access, evidence)
    return frozenset()


def _holders(wait: Access, evidence: Evidence) -> frozenset[str]:
    """Who held the lock all the time that a call waited for it."""
    for hold in evidence.holds.before(wait.resource, wait, _HELD_MAX):
        begun = hold.lock.strand != wait.strand and hold.lock.end_ns <= wait.end_ns
        if begun and (hold.unlock is None or hold.unlock.end_ns >= wait.end_ns):
            return frozenset({hold.lock.strand})
    return frozenset()


def _cycles(waits: list[tuple[Access, frozenset[str]]], *, local: bool) -> Iterator[list[Access]]:
    """Cycles among waits in the order of their calls, the one that closed it first."""
    open_: dict[str, tuple[Access, frozenset[str]]] = {}
    for wait, blockers in waits:
        open_[wait.strand] = wait, blockers
        cycle = _back_to(wait.strand, open_, _start(wait, local=local), local=local)
        if cycle and any(each.open or each.outcome is not Outcome.OK for each in cycle):
            yield cycle


def _back_to(strand: str, open_: dict[str, tuple[Access, frozenset[str]]], now: int, *, local: bool) -> list[Access]:
    """The shortest way from a strand's wait back to it over waits that are open now; empty: there is none."""
    paths: dict[str, list[Access]] = {strand: [open_[strand][0]]}
    work = [strand]
    while work:
        following = []
        for at in work:
            wait, blockers = open_[at]
            if not wait.open and _end(wait, local=local) < now:
                continue
            if strand in blockers:
                return paths[at]
            for blocker in sorted(blockers & open_.keys() - paths.keys()):
                if len(paths[at]) < CYCLE_MAX:
                    paths[blocker] = [*paths[at], open_[blocker][0]]
                    following.append(blocker)
        work = following
    return []


def _start(wait: Access, *, local: bool) -> int:
    return local_ns(wait.process, wait.start_ns) if local else wait.start_ns


def _end(wait: Access, *, local: bool) -> int:
    return local_ns(wait.process, wait.end_ns) if local else wait.end_ns


def _candidate(cycle: list[Access], evidence: Evidence) -> Candidate:
    last = cycle[0]
    grade = Grade()
    if any(not wait.waits_for and wait.op is not Op.JOIN for wait in cycle):
        grade = grade.at_most(Certainty.LIKELY, "for whom each waited (`noclobber.waits.for`)")
    slacks = [slack_ns(last.process, wait.process) for wait in cycle]
    if None in slacks:
        grade = grade.at_most(Certainty.POSSIBLE, "a common clock that shows that all waited at one moment")
    elif any(slacks):
        grade = grade.at_most(Certainty.LIKELY, "the machine's clock (`noclobber.clock`) of all that waited")
    following = [*cycle[1:], last]
    pairs = list(zip(cycle, following, strict=True))
    held = [(lock, "holder") for wait, by in pairs if (lock := _held(wait, by, evidence)) is not None]
    links = [Link(wait, by, "waits for", "it could not go on before the other did") for wait, by in pairs]
    return Candidate(
        kind=Kind.DEADLOCK,
        resource=last.resource,
        anchors=(last,),
        roles=(*held, *((wait, "wait") for wait in (*cycle[1:], last))),
        links=tuple(links),
        grade=partial(grade, cycle),
        crosses=True,
    )


def _held(wait: Access, by: Access, evidence: Evidence) -> Access | None:
    """How the strand in the way had got what the other waited for, where that is a lock."""
    near = evidence.holds.before(wait.resource, wait, _HELD_MAX)
    return next((hold.lock for hold in near if hold.lock.strand == by.strand), None)
