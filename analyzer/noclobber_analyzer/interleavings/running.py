"""Agents run once, in one interleaving: whoever chooses says at each access point who goes on.

    outcome = interleave({"planner": plan, "writer": write}, seed=7)
    outcome.check()

A list, a seed, or a `random.Random` chooses; one of hypothesis' is one, so that it chooses and shrinks. The first of
those that may go on is the one that ran last: the smaller the numbers, the fewer the switches.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from noclobber.contract import Certainty, Kind, Severity
from noclobber.pacing.turns import PATIENCE_S, Line, Turns
from noclobber.settings import Settings
from noclobber_analyzer.interleavings.outcome import Outcome, outcome_of
from noclobber_analyzer.report.summary import Thresholds
from noclobber_analyzer.watching import RING_MAX, Watched, hooked, watched

__all__ = ["Chooser", "Driven", "driven", "interleave"]

Agent = Callable[[], Coroutine[Any, Any, Any]]


class Chooser:
    """Chooses who goes on.

    Attributes:
        chosen: the numbers that it has drawn, which replay it; 0 where there was nothing to choose.
    """

    def __init__(self, source: "Sequence[int] | random.Random") -> None:
        self.chosen: list[int] = []
        self._source = source
        self._last: Line | None = None

    def __call__(self, lines: list[Line]) -> Line:
        """One of `lines`."""
        ordered = in_order(lines, self._last)
        number = self._draw(len(ordered))
        self.chosen.append(number)
        self._last = ordered[number]
        return self._last

    def _draw(self, count: int) -> int:
        if count == 1:
            return 0
        if isinstance(self._source, random.Random):
            return self._source.randrange(count)
        at = len(self.chosen)
        return self._source[at] % count if at < len(self._source) else 0


def in_order(lines: Sequence[Line], last: Line | None) -> list[Line]:
    """The one that ran last first, then the others as they were started."""
    return sorted(lines, key=lambda line: line is not last)


class Driven:
    """One interleaving under way, on an event loop of its own.

    Attributes:
        loop: where the agents run. turns: whose turn it is. seen: what was recorded.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, turns: Turns, seen: Watched) -> None:
        self.loop, self.turns, self.seen = loop, turns, seen

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run `coroutine`, which is no agent's."""
        return self.loop.run_until_complete(coroutine)

    def outcome(self, limits: Thresholds, results: Sequence[object] = ()) -> Outcome:
        """What it came to."""
        evaluation = self.seen.evaluation(latent=limits.latent)
        defended = Counter(str(each.reason) for each in evaluation.defended)
        return outcome_of(self.seen.spans, evaluation.findings, limits, dict(defended), results)


@contextlib.contextmanager
def driven(
    *,
    exact: bool = False,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[Driven]:
    """A process of its own, watched, on whose loop one agent runs at a time."""
    settings = Settings(
        service="test", send=False, spool=None, cpu_budget=0.0, ring_max=RING_MAX, exact=("*",) if exact else ()
    )
    turns = Turns(patience_s)
    with hooked(settings), watched(settings) as seen, asyncio.Runner(loop_factory=loop_factory) as runner:
        turns.begin(seen.recorder)
        loop = runner.get_loop()
        try:
            yield Driven(loop, turns, seen)
        finally:
            try:
                loop.run_until_complete(turns.cancel())
            finally:
                turns.end(seen.recorder)


def interleave(
    agents: Mapping[str, Agent],
    seed: "int | random.Random | Sequence[int]" = (),
    *,
    before: Agent | None = None,
    after: Agent | None = None,
    fail_on: str = "low",
    min_certainty: str = "likely",
    kinds: Sequence[str] = (),
    latent: bool = False,
    exact: bool = False,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    patience_s: float = PATIENCE_S,
) -> Outcome:
    """Run `agents` to their ends in one interleaving; what it came to.

    Args:
        agents: coroutine functions by name.
        seed: decides the interleaving: a number, a `random.Random`, or the numbers that an earlier one has drawn.
        before: what is done before the first agent, on the same loop.
        after: what is done after the last.
        fail_on: which findings count, as for `noclobber check`: from which severity on.
        min_certainty: from which certainty on.
        kinds: of which kinds; empty: of all that need not be named.
        latent: whether what luck kept apart counts, too.
        exact: ask stores what a write replaces.
        loop_factory: makes the event loop, `uvloop.new_event_loop` for one.
        patience_s: how long an answer from outside is waited for before another agent may go on.

    Raises:
        Stuck: the agents wait for one another. What an agent raises is raised.
    """
    limits = thresholds(fail_on, min_certainty, kinds, latent=latent)
    chooser = Chooser(random.Random(seed) if isinstance(seed, int) else seed)  # noqa: S311  of turns
    with driven(exact=exact, loop_factory=loop_factory, patience_s=patience_s) as run:
        if before is not None:
            run.do(before())
        lines = [run.turns.start(name, agent(), run.loop) for name, agent in agents.items()]
        run.do(run.turns.run(chooser))
        results = [line.task.result() for line in lines if line.task is not None]
        if after is not None:
            run.do(after())
        return run.outcome(limits, results)


def thresholds(fail_on: str, min_certainty: str, kinds: Sequence[str], *, latent: bool) -> Thresholds:
    """Which findings count.

    Raises:
        ValueError: a word that it does not know.
    """
    return Thresholds(
        Severity(fail_on), Certainty(min_certainty), frozenset(Kind(kind) for kind in kinds), latent=latent
    )
