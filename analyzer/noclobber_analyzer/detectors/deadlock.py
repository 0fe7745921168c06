"""Deadlock: a cycle of waits, all open at one moment.

A wait is a `lock`, `receive` or `join` that says for whom it waited; a `join` waits for its strand; a lock that was not
had waited for whoever held it. All mechanisms share one wait-for graph, for real cycles cross them. A strand waits for
one thing at a time, and is in the way of a lock only while it has it; so it is enough to look, at the call of each
wait, whether a path of open waits leads back to it: whoever called last closed the cycle. At least one of its waits
must have failed or be open still: a cycle of waits that all ended well was none.

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
from noclobber_analyzer.holds import Hold
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["deadlock"]

_WAITS: Final = frozenset({Op.LOCK, Op.RECEIVE, Op.JOIN})
_HELD_MAX: Final = 8
HOLDS_MAX: Final = 64
"""Holds of a lock, up to the end of a wait for it, among which those of whoever was in the way are looked for."""
CYCLE_MAX: Final = 16
"""Waits in the longest cycle that is told."""
STRANDS_MAX: Final = 1_000
"""Strands that one wait is followed to."""


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
        for cycle in _cycles(own, evidence, local=True):
            told.add(cycle[0].name)
            yield _candidate(cycle, evidence)
    if len(clocks) > 1:
        for cycle in _cycles(waits, evidence, local=False):
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


def _cycles(waits: list[tuple[Access, frozenset[str]]], evidence: Evidence, *, local: bool) -> Iterator[list[Access]]:
    """Cycles among waits in the order of their calls, the one that closed it first."""
    search = _Search(evidence, local=local)
    for wait, blockers in waits:
        search.open[wait.strand] = wait, blockers
        cycle = search.back_to(wait.strand)
        if cycle and any(each.open or each.outcome is not Outcome.OK for each in cycle):
            yield cycle
    if search.cut:
        evidence.unknown.append(
            f"whether calls waited for each other: cycles of more than {CYCLE_MAX} waits, or those behind more than "
            f"{STRANDS_MAX} strands that one wait leads to, were not followed"
        )


class _Search:
    """Looks for a way from a wait back to itself over the waits that are open when it begins.

    Attributes:
        open: the last wait of each strand so far. cut: whether a way was left at a limit.
    """

    def __init__(self, evidence: Evidence, *, local: bool) -> None:
        self.open: dict[str, tuple[Access, frozenset[str]]] = {}
        self.cut = False
        self._evidence = evidence
        self._local = local

    def back_to(self, strand: str) -> list[Access]:
        """The shortest way from a strand's wait back to it; empty: there is none, or it is too long."""
        now = _start(self.open[strand][0], local=self._local)
        came_from: dict[str, str | None] = {strand: None}
        work = [strand]
        for _ in range(CYCLE_MAX):
            following: list[str] = []
            for at in work:
                wait, blockers = self.open[at]
                if not wait.open and _end(wait, local=self._local) < now:
                    continue
                if strand in blockers and not self._is_out_of_the_way(wait, strand):
                    return self._path(came_from, at)
                for blocker in sorted(blockers):
                    if blocker in self.open and blocker not in came_from and not self._is_out_of_the_way(wait, blocker):
                        came_from[blocker] = at
                        following.append(blocker)
            if len(came_from) > STRANDS_MAX:
                self.cut = True
                return []
            work = following
        self.cut = self.cut or bool(work)
        return []

    def _is_out_of_the_way(self, wait: Access, blocker: str) -> bool:
        """Whether who was in the way of a lock certainly did not have it when it began to wait itself."""
        if wait.op is not Op.LOCK:
            return False
        since = self.open[blocker][0].seq
        near = self._evidence.holds.before(wait.resource, wait, HOLDS_MAX)
        own = [hold for hold in near if hold.lock.strand == blocker]
        return bool(own) and not any(hold.lock.seq < since and not _is_over(hold, since) for hold in own)

    def _path(self, came_from: dict[str, str | None], at: str | None) -> list[Access]:
        path: list[Access] = []
        while at is not None:
            path.append(self.open[at][0])
            at = came_from[at]
        return path[::-1]


def _is_over(hold: Hold, seq: int) -> bool:
    """Whether its own strand had given a hold back before a number of that strand."""
    return hold.unlock is not None and hold.unlock.strand == hold.lock.strand and hold.unlock.seq < seq


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
