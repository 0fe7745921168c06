"""Is there any order in time that explains what was read? A bounded search over one register.

Each access takes effect at one instant between its call and its return. The search goes through calls and returns in
order and keeps the set of configurations that are still possible: the content, and which of the open accesses have
taken effect. An access takes effect only when it has to, at its return at the latest; reads that see the content as it
is take effect for free. A write whose outcome is unknown may take effect at any time after its call, or never; of two
configurations that differ only in these, the one that used fewer of them can do all that the other can.

The content at the beginning is unknown, so the first look decides it. A search that is spent says nothing.

Source: Wing and Gong 1993; Lowe 2017 (just-in-time linearization).
"""

from collections import defaultdict
from typing import Final, NamedTuple

from noclobber.contract import Guard, Op, Outcome
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.state import State

__all__ = ["ACCESSES_MAX", "ALL_STEPS_MAX", "STEPS_MAX", "Search"]

ACCESSES_MAX: Final = 2_000
"""Accesses of a register that is searched."""
STEPS_MAX: Final = 500_000
"""Calls that one search tries, over all configurations that it looks at; spent, the answer is unknown."""
ALL_STEPS_MAX: Final = 20_000_000
"""The same for all searches of one evaluation together."""


class _Call(NamedTuple):
    """What an access asks of the register: what it must find there, and what it leaves; None: anything, nothing."""

    access: Access
    finds: Version | None
    leaves: Version | None
    optional: bool


class _Config(NamedTuple):
    """A possible moment: the content (None: not known yet), and which open accesses have taken effect."""

    content: Version | None
    done: frozenset[int]
    used: frozenset[int]


class Search:
    """One search over one resource.

    Attributes:
        is_possible: whether the record can be searched at all: one clock, no transactions, known content.
        spent: whether it stopped at its limit, or was too long to begin.
    """

    def __init__(self, state: State, evidence: Evidence) -> None:
        self._calls: list[_Call] = []
        self._evidence = evidence
        self._steps = 0
        self.spent = len(state.accesses) > ACCESSES_MAX or evidence.steps_searched > ALL_STEPS_MAX
        self.is_possible = not self.spent and not state.may_expire
        first = state.accesses[0]
        self._slack = max((slack_ns(first.process, a.process) or 0 for a in state.accesses), default=0)
        known = _known(state, evidence) if self.is_possible else frozenset()
        for access in state.accesses if self.is_possible else ():
            apart = slack_ns(first.process, access.process) is None or access.part != first.part
            if apart or access.txn_id or access.open or access.scan is not None:
                self.is_possible = False
                return
            call = _call(access, evidence)
            if call is not None and (access.op is not Op.READ or call.finds in known):
                self._calls.append(call)

    def first_impossible(self) -> Access | None:
        """The access at whose return no order is left; None: some order fits, or nobody knows (`spent`)."""
        configs = {_Config(None, frozenset(), frozenset())}
        pending: set[int] = set()
        for _, is_return, index in self._events():
            if not is_return:
                pending.add(index)
                continue
            configs = self._returned(index, configs, pending)
            pending.discard(index)
            if self.spent:
                return None
            if not configs:
                return self._calls[index].access
        return None

    def _events(self) -> list[tuple[int, bool, int]]:
        events = []
        for index, call in enumerate(self._calls):
            process = call.access.process
            events.append((local_ns(process, call.access.start_ns), False, index))
            if not call.optional:
                events.append((local_ns(process, call.access.end_ns) + self._slack, True, index))
        return sorted(events)

    def _returned(self, index: int, configs: set[_Config], pending: set[int]) -> set[_Config]:
        """What is still possible once an access has returned."""
        after: set[_Config] = set()
        seen: set[_Config] = set()
        work = [self._with_reads(config, pending) for config in configs]
        while work:
            config = work.pop()
            if config in seen:
                continue
            seen.add(config)
            self._steps += 1 + len(pending)
            self._evidence.steps_searched += 1 + len(pending)
            if self._steps > STEPS_MAX:
                self.spent = True
                return set()
            if index in config.done:
                after.add(_Config(config.content, config.done - {index}, config.used))
                continue
            for other in pending - config.done - config.used:
                following = self._effect(config, other)
                if following is not None:
                    work.append(self._with_reads(following, pending))
        return _fewest(after)

    def _with_reads(self, config: _Config, pending: set[int]) -> _Config:
        """Open reads that see the content as it is take effect: nothing is lost by it."""
        free = {
            index
            for index in pending - config.done
            if self._calls[index].leaves is None and self._calls[index].finds == config.content
        }
        return config._replace(done=config.done | free) if free else config

    def _effect(self, config: _Config, index: int) -> _Config | None:
        call = self._calls[index]
        if call.finds is not None and config.content is not None and call.finds != config.content:
            return None
        content = call.leaves if call.leaves is not None else call.finds or config.content
        if call.optional:
            return config._replace(content=content, used=config.used | {index})
        return config._replace(content=content, done=config.done | {index})

    def newest_before(self, access: Access) -> Access | None:
        """Of the writes that had returned when an access was called, the one that was called last."""
        start = local_ns(access.process, access.start_ns) - self._slack
        before = [
            call.access
            for call in self._calls
            if call.leaves is not None
            and not call.optional
            and call.access.end_ns - call.access.process.clock_offset_ns < start
        ]
        return max(before, key=lambda a: (local_ns(a.process, a.start_ns), a.span_id), default=None)


def _known(state: State, evidence: Evidence) -> frozenset[Version | None]:
    """Versions that were written, or the one that was there first; of others an unknown writer is more likely."""
    unmade = {read.read for read in state.reads} - state.makers.keys() - {None}
    if len(unmade) != 1:
        return frozenset(state.makers)
    returns = [evidence.returned_ns(w) for w in state.writes if w.outcome is not Outcome.UNKNOWN]
    first = min(returns, default=None)
    prior = (r.read for r in state.reads if first is None or local_ns(r.process, r.start_ns) <= first)
    return frozenset(prior) | frozenset(state.makers)


def _call(access: Access, evidence: Evidence) -> _Call | None:
    if access.op is Op.READ:
        known = access.outcome in (Outcome.OK, Outcome.NOT_FOUND) and access.read is not None
        return _Call(access, access.read, None, False) if known else None
    fate = evidence.fates.of(access)
    if fate is Fate.UNAPPLIED:
        return None
    optional = fate is Fate.UNDECIDED or access.outcome is Outcome.UNKNOWN
    finds = access.expected if access.guard is Guard.VERSION else None
    return _Call(access, finds, access.written, optional)


def _fewest(configs: set[_Config]) -> set[_Config]:
    """Without those that used more writes of unknown outcome than another one that is otherwise the same."""
    alike: dict[tuple[Version | None, frozenset[int]], list[frozenset[int]]] = defaultdict(list)
    for config in sorted(configs, key=lambda c: len(c.used)):
        kept = alike[config.content, config.done]
        if not any(used <= config.used for used in kept):
            kept.append(config.used)
    return {_Config(content, done, used) for (content, done), all_used in alike.items() for used in all_used}
