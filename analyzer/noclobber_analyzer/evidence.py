"""All that a detector may ask of one history: order, fates, the state of a resource, what is complete.

Built once for each evaluation; whatever costs time is made when it is first asked for.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar, cast

from noclobber.contract import Certainty, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clock_bounds import ClockBounds, measure_clocks
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.coverage import Absence
from noclobber_analyzer.fate import Fates
from noclobber_analyzer.history import History
from noclobber_analyzer.holds import Holds
from noclobber_analyzer.order import By, Order
from noclobber_analyzer.paths import SEARCH_LIMIT
from noclobber_analyzer.phrases import some
from noclobber_analyzer.queues import Queues
from noclobber_analyzer.state import State
from noclobber_analyzer.succession import Succession
from noclobber_analyzer.verdict import Grade

__all__ = ["Evidence"]

Made = TypeVar("Made")


class Evidence:
    """One history, ready to be asked.

    Attributes:
        history, order, fates: as their names say.
        unknown: sentences about what detectors had to leave open.
        unsearched: resources of which nobody knows whether any order in time fits what was read.
        steps_searched: what such searches have cost so far.
        told_affected: accesses told so far of what came of findings.
        is_whole: whether no access of any process is known to be missing.
        measured: resources of accesses of which somebody asked how far their clocks are apart.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.order = Order(history)
        self.fates = Fates(history)
        self.unknown: list[str] = []
        self.unsearched: set[str] = set()
        self.steps_searched = 0
        self.told_affected = 0
        self.measured: set[str] = set()
        self.is_whole = history.coverage.is_whole
        self._states: dict[str, State] = {}
        self._successions: dict[str, Succession] = {}
        self._pictures: dict[tuple[str, str], Access] = {}
        self._received: dict[str, list[Access]] | None = None
        self._made: dict[Callable[[Evidence], object], object] = {}

    def once(self, make: "Callable[[Evidence], Made]") -> Made:
        """What a function makes of this evidence; made when it is first asked for."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("Made", self._made[make])

    def told_open(self) -> list[str]:
        """Sentences about what was left open: by detectors, by searches for an order, by searches by time."""
        said = list(self.unknown)
        if self.unsearched:
            said.append(f"whether all reads of {some(self.unsearched)} fit one order in time: the search is too long")
        if self.order.spent:
            said.append(
                f"what orders two accesses: {self.order.spent} searches for a path between them ended at "
                f"{SEARCH_LIMIT:,} edges"
            )
        cut = [name for name, state in self._states.items() if state.is_cut]
        if cut:
            said.append(f"what lies far from a write of {some(cut)}: only the writes nearest in time were looked at")
        return said

    def state(self, resource: str) -> State:
        """The state of one resource."""
        state = self._states.get(resource)
        if state is None:
            accesses = self.history.resources.get(resource, [])
            state = self._states[resource] = State(resource, accesses, self.history, self.fates)
        return state

    def forget(self, resource: str) -> None:
        """Let go of a state that nobody will ask for again soon, unless it has something to tell (`told_open`)."""
        if resource in self._states and not self._states[resource].is_cut:
            del self._states[resource]

    def succession(self, state: State) -> Succession:
        """The order of a resource's versions."""
        order = self._successions.get(state.name)
        if order is None:
            order = self._successions[state.name] = Succession(state, self.fates, whole=self.is_whole)
        return order

    def picture_of(self, read: Access) -> Access:
        """The access at whose call, at the earliest, what a read shows was true: a transaction's first, else itself."""
        if not read.txn_id:
            return read
        key = (read.txn_id, read.strand)
        if key not in self._pictures:
            own = (a for a in self.history.transactions.get(read.txn_id, ()) if a.strand == read.strand)
            self._pictures[key] = next(own, read)  # ascending by seq
        return self._pictures[key]

    def returned_ns(self, write: Access) -> int:
        """When an applied write was there for all at the latest, on its machine's clock."""
        return local_ns(write.process, max(write.end_ns, self.fates.seen_from(write).end_ns))

    def absence(self, resource: str, start: Access, end: Access, *, unreturned: bool = False) -> Absence:
        """Whether all that was done to a resource between two accesses is known; see `Coverage.absence`."""
        return self.history.coverage.absence(resource, start, end, unreturned=unreturned)

    @cached_property
    def queues(self) -> Queues:
        """Messages as they were sent, handed out and worked on."""
        return Queues(self.history, self.fates)

    @cached_property
    def holds(self) -> Holds:
        """Who held which lock."""
        return Holds.in_history(self.history)

    def received(self, message: str) -> list[Access]:
        """Receipts of a message."""
        if self._received is None:
            self._received = {}
            for access in self.history.of(Op.RECEIVE):
                if access.message is not None:
                    self._received.setdefault(access.message.id, []).append(access)
        return self._received.get(message, [])

    def took_effect_before(self, write: Access, other: Access) -> By | None:
        """What proves that a write was there for all when `other` was called."""
        seen_from = self.fates.seen_from(write)
        return self.order.before(seen_from, other) if seen_from is not write else self.order.before(write, other)

    def took_effect_after(self, write: Access, other: Access) -> By | None:
        """What proves that a write was not there for anybody when `other` returned."""
        return self.order.before(other, self.fates.seen_from(write))

    def writes_before(self, one: Access, other: Access) -> By | None:
        """What proves that of two applied writes `one` came first.

        Where rows are locked until the commit, the write whose call returned first came first, even if the other was
        called before the first one's commit returned.
        """
        proof = self.took_effect_before(one, other)
        if proof is None and one.txn_id and other.txn_id and one.txn_id != other.txn_id:
            slack = slack_ns(one.process, other.process)
            if slack is not None and not (one.open or other.open):
                first, second = local_ns(one.process, one.end_ns), local_ns(other.process, other.end_ns)
                return By.CLOCK if first + slack < second else None
        return proof

    @cached_property
    def clocks(self) -> ClockBounds:
        """How far clocks are apart, as measured."""
        known = self.history.coverage.clock_bounds()
        if known is not None:
            return known
        return measure_clocks(self.history.accesses, self.history.processes.values(), whole=self.is_whole)

    def measured_before(self, one: Access, other: Access) -> By | None:
        """What puts `one` before the call of `other`, a measured bound included; who uses that says `as_measured`."""
        proof = self.order.before(one, other)
        if proof is None and not one.open and one.outcome is not Outcome.UNKNOWN:
            self.measured |= {one.resource, other.resource}
            return By.MEASURED if self.clocks.before(one, other) else None
        return proof

    def measured_distance_ns(self, one: Access, other: Access) -> int | None:
        """About how far apart two calls are, on clocks that compare or are bounded: which to look at first."""
        self.measured |= {one.resource, other.resource}
        return self.clocks.distance_ns(one, other)

    def measured_width_ns(self, one: Access, other: Access) -> int | None:
        """How wide the bound between the clocks of two accesses is; None: there is none."""
        self.measured |= {one.resource, other.resource}
        return self.clocks.width_ns(one, other)

    def as_measured(self, grade: Grade, one: Access, other: Access) -> Grade:
        """A grade that rests on the measured bound between the clocks of two accesses."""
        return grade.at_most(Certainty.LIKELY, self.clocks.words(one, other))

    def overlap(self, one: Access, other: Access) -> bool:
        """Whether clocks that compare show that neither call had returned when the other was made."""
        if slack_ns(one.process, other.process) is None:
            return False
        return not clock_before(one, other) and not clock_before(other, one)

    @cached_property
    def models(self) -> dict[str, list[Access]]:
        """Model calls by strand, ascending by `seq`."""
        found: dict[str, list[Access]] = {}
        for model in sorted(self.history.of(Op.MODEL), key=lambda a: a.seq):
            found.setdefault(model.strand, []).append(model)
        return found

    @cached_property
    def models_of_run(self) -> dict[str, list[Access]]:
        """Model calls by run, on whatever strand, by recorded start."""
        found: dict[str, list[Access]] = {}
        for model in self.history.of(Op.MODEL):
            if model.run is not None:
                found.setdefault(model.run, []).append(model)
        return found
