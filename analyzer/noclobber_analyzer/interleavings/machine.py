"""A state machine of hypothesis for agents on shared state: rules are operations, and who goes on is drawn, too.

    class Bank(AgentMachine):
        async def prepare(self): ...

        @operation(amount=st.integers(1, 9))
        async def withdraw(self, amount): ...

    TestBank = Bank.TestCase

An operation is begun by an agent that hypothesis draws and runs to its first access; the rule `go_on` lets one agent
that stands at an access go on to the next. So an example is a program of several agents together with one of its
interleavings, and hypothesis makes both as small as it can: operations and turns that are not needed go. At the end of
an example the agents end what they have begun, one after the other; then `settled` says what must hold, and no race
may have been found.

Each agent is one strand, its operations are steps of it. Source: Claessen et al., Finding Race Conditions in Erlang
with QuickCheck and PULSE, ICFP 2009 (operations by a state machine, a user-level scheduler, shrinking of both).
"""

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import noclobber
from noclobber.pacing.turns import PATIENCE_S, Line, Standing, Stuck
from noclobber_analyzer.interleavings.outcome import Outcome, RaceFound
from noclobber_analyzer.interleavings.running import Driven, driven, in_order, thresholds

__all__ = ["AgentMachine", "operation"]

TURNS_MAX: Final = 10_000
"""Turns that the agents are given at the end of an example to end what they have begun."""
Operation = TypeVar("Operation", bound=Callable[..., Coroutine[Any, Any, Any]])


def operation(**arguments: "st.SearchStrategy[Any]") -> Callable[[Operation], Any]:
    """An operation of an agent: a coroutine method that is begun as a rule, with drawn arguments."""

    def accept(function: Operation) -> Any:
        @functools.wraps(function)
        def begin(self: "AgentMachine", agent: str, **drawn: Any) -> None:
            self._begin(agent, function, drawn)

        del begin.__wrapped__
        agent = st.runner().flatmap(lambda machine: st.sampled_from(machine.agents))
        drawn: dict[str, Any] = {"agent": agent, **arguments}
        make: Any = rule(**drawn)
        return make(begin)

    return accept


class AgentMachine(RuleBasedStateMachine):
    """Derive from it, with operations; `Name.TestCase` is the test.

    Attributes:
        agents: their names. fail_on, min_certainty, kinds, latent: which findings count, as for `noclobber check`.
        exact: ask stores what a write replaces. loop_factory: makes the event loop.
        patience_s: how long an answer from outside is waited for before another agent may go on.
    """

    agents: ClassVar[Sequence[str]] = ("A", "B", "C")
    fail_on: ClassVar[str] = "low"
    min_certainty: ClassVar[str] = "likely"
    kinds: ClassVar[Sequence[str]] = ()
    latent: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    loop_factory: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = None
    patience_s: ClassVar[float] = PATIENCE_S

    def __init__(self) -> None:
        super().__init__()
        # Hypothesis draws which rules an example leaves out, in between the steps: then steps can't be deleted alone,
        # and examples do not shrink to the smallest. A version without this attribute goes on as it does.
        self._rules_strategy.enabled_rules_strategy = st.just(_EVERY_RULE)
        self._limits = thresholds(self.fail_on, self.min_certainty, self.kinds, latent=self.latent)
        self._open = contextlib.ExitStack()
        factory = vars(type(self)).get("loop_factory", type(self).loop_factory)
        factory = factory.__func__ if isinstance(factory, staticmethod) else factory
        self._run: Driven = self._open.enter_context(
            driven(exact=self.exact, loop_factory=factory, patience_s=self.patience_s)
        )
        self._last: Line | None = None
        self._failed: BaseException | None = None
        self._at_work: dict[str, _Worker] = {}
        try:
            self._run.do(self.prepare())
        except BaseException:
            self._open.close()
            raise

    # -- to be written by whoever derives --------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Before the first operation of an example: open stores, put in what is there at first."""

    async def settled(self) -> None:
        """After the last: assert what must hold."""

    async def clean_up(self) -> None:
        """At the end of an example, however it went: close what was opened."""

    def judged(self, outcome: Outcome) -> None:
        """What counts as a failure, besides `settled`; a race of the machine's kinds, unless overridden."""
        outcome.check()

    # -- rules -----------------------------------------------------------------------------------------------------

    def _waiting(self) -> list[Line]:
        lines = [line for line in self._run.turns.lines if line.standing is Standing.PARKED]
        return in_order(lines, self._last)

    @precondition(lambda self: bool(self._waiting()))
    @rule(agent=st.runner().flatmap(lambda self: st.sampled_from([line.label for line in self._waiting()])))
    def go_on(self, agent: str) -> None:
        """Let an agent go on to its next access."""
        (line,) = (line for line in self._waiting() if line.label == agent)
        self._go_on(line)

    def _begin(self, agent: str, function: Callable[..., Any], drawn: dict[str, Any]) -> None:
        worker = self._at_work.get(agent)
        if worker is None:
            worker = self._at_work[agent] = _Worker()
            worker.line = self._run.turns.start(agent, worker.work(), self._run.loop)
            self._run.do(self._run.turns.waiting())
            self._go_on(worker.line)
        at_once = worker.line.idle
        worker.take(function.__name__, functools.partial(function, self, **drawn))
        if at_once:  # else it stands at an access of an operation before, which comes first
            self._run.do(self._run.turns.waiting())
            self._go_on(worker.line)

    def _go_on(self, line: Line) -> None:
        self._last = line
        self._run.do(self._run.turns.go_on(line))
        self._raise_what_failed()

    def _raise_what_failed(self) -> None:
        for worker in self._at_work.values():
            failed, worker.failed = worker.failed, None
            if failed is not None:
                raise failed

    # -- the end of an example -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let the agents end what they have begun, and judge; no more than close where the example has failed."""
        judges = sys.exc_info()[0] is None
        try:
            if judges:
                self._end()
                self._judge()
        finally:
            try:
                self._run.do(self.clean_up())
            finally:
                self._open.close()

    def _end(self) -> None:
        for _ in range(TURNS_MAX):
            waiting = self._waiting()
            if not waiting:
                break
            self._go_on(min(waiting, key=self._run.turns.lines.index))
        busy = [name for name, worker in self._at_work.items() if not worker.line.idle]
        if busy:
            raise Stuck(f"{', '.join(busy)} wait for one another, and nobody can go on")

    def _judge(self) -> None:
        outcome = self._run.outcome(self._limits)
        try:
            self._run.do(self.settled())
        except AssertionError as error:
            if outcome.findings:
                raise RaceFound(outcome) from error
            raise AssertionError(f"{error}\n\n{outcome.diagram}") from error
        self.judged(outcome)


class _EveryRule:
    """No rule is left out."""

    def is_enabled(self, _name: str) -> bool:
        """Whether a rule may be chosen."""
        return True


_EVERY_RULE: Final[Any] = _EveryRule()


class _Worker:
    """One agent: does its operations one after the other, in one strand."""

    def __init__(self) -> None:
        self.line = Line("")
        self.failed: BaseException | None = None
        self._operations: asyncio.Queue[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = asyncio.Queue()

    def take(self, name: str, what: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Give it another operation."""
        self.line.idle = False
        self._operations.put_nowait((name, what))

    async def work(self) -> None:
        """Do what it is given, for ever."""
        while True:
            self.line.idle = self._operations.empty()
            name, what = await self._operations.get()
            self.line.idle = False
            try:
                with noclobber.step(name):
                    await what()
            except Exception as error:
                self.failed = error
