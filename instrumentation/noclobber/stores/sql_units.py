"""Transactions and their savepoints, and what a unit has seen and taken so far.

A transaction's outer face (its id, its open savepoints, whether it failed) belongs to the thread that runs it; its
memory (rows selected by a condition, rows locked, the task taken) is filled in the drain, which sees the calls in
their order. Statements outside a transaction belong to the step, else to the strand; their memories are kept here.

Source: contract 2.3; capture.md, section 3 ("How SQL takes are seen").
"""

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from noclobber import strands
from noclobber.access import Call
from noclobber.within import Within

__all__ = ["Memory", "Transaction", "around", "memory_of", "new_transaction"]

SELECTED_MAX: Final = 4096
UNITS_MAX: Final = 4096
_numbers = itertools.count(1)


@dataclass(slots=True)
class Memory:
    """What one unit has seen so far; used in the drain only.

    Attributes:
        selected: row -> the conditions (column -> print of the value) by which a read selected it.
        locked: rows that it has locked.
        message: the task that it has taken, None before.
        taken: rows that it took as tasks, and the transactions in which it did; kept beyond these.
    """

    selected: "OrderedDict[str, dict[str, str]]" = field(default_factory=OrderedDict)
    locked: set[str] = field(default_factory=set)
    message: str | None = None
    taken: "OrderedDict[str, str]" = field(default_factory=OrderedDict)

    def take(self, resource: str, transaction: str) -> None:
        """Note that `resource` was taken in `transaction` (empty: in none)."""
        self.taken[resource] = transaction
        if len(self.taken) > SELECTED_MAX:
            self.taken.popitem(last=False)

    def gave_back(self, transaction: str) -> None:
        """What was taken in `transaction` was not: it did not apply."""
        for resource in [each for each, txn in self.taken.items() if txn == transaction]:
            del self.taken[resource]

    def select(self, resource: str, conditions: dict[str, str]) -> None:
        """Note that `resource` was selected by `conditions`."""
        if conditions:
            self.selected[resource] = conditions
            if len(self.selected) > SELECTED_MAX:
                self.selected.popitem(last=False)


@dataclass(slots=True)
class _Savepoint:
    name: str
    path: str
    children: int = 0


@dataclass(slots=True)
class Transaction:
    """One transaction.

    Attributes:
        id: unique in the deployment. isolation: as the contract writes it, None where not known.
        failed: whether a statement's error has doomed it (PostgreSQL). wrote: whether it has written.
        memory: see `Memory`.
    """

    id: str
    isolation: str | None = None
    failed: bool = False
    wrote: bool = False
    memory: Memory = field(default_factory=Memory)
    _root: _Savepoint = field(default_factory=lambda: _Savepoint("", ""))
    _open: list[_Savepoint] = field(default_factory=list)
    _within: Within | None = None

    @property
    def savepoint(self) -> str:
        """Path of the innermost open savepoint, empty where there is none."""
        return self._open[-1].path if self._open else ""

    def within(self, isolation: str, savepoint: str) -> Within:
        """What an access says of it that it promised `isolation`, in `savepoint`; used in the drain only."""
        within = self._within
        if within is None or within.savepoint != savepoint or within.isolation != isolation:
            within = self._within = Within(self.id, isolation, savepoint)
        return within

    def save(self, name: str) -> None:
        """Open a savepoint."""
        parent = self._open[-1] if self._open else self._root
        parent.children += 1
        path = f"{parent.path}/{parent.children}" if parent.path else str(parent.children)
        self._open.append(_Savepoint(name, path))

    def find(self, name: str) -> str | None:
        """Path of the newest open savepoint called `name`."""
        return next((each.path for each in reversed(self._open) if each.name == name), None)

    def close(self, path: str, *, keep: bool = False) -> None:
        """The savepoint at `path` and all inside it are no longer open; `keep`: only those inside it."""
        at = next((number for number, each in enumerate(self._open) if each.path == path), None)
        if at is not None:
            del self._open[at + keep :]


def new_transaction(isolation: str | None) -> Transaction:
    """A transaction that begins now."""
    return Transaction(f"{strands.process_id()}-txn-{next(_numbers)}", isolation)


_of_steps: OrderedDict[str, Memory] = OrderedDict()
_OF_STRAND: Final = object()
"""Under which a strand keeps its own."""


def memory_of(call: Call, transaction: Transaction | None) -> Memory:
    """What the unit of `call` has seen: its transaction, else what is around it."""
    return around(call) if transaction is None else transaction.memory


def around(call: Call) -> Memory:
    """What the step of `call` has seen, else its strand."""
    scope = call.scope
    if scope is None or scope.step is None:
        kept: Memory | None = call.strand.kept.get(_OF_STRAND)
        if kept is None:
            kept = call.strand.kept[_OF_STRAND] = Memory()
        return kept
    name = f"{scope.run}\n{scope.step}"
    memory = _of_steps.get(name)
    if memory is None:
        memory = _of_steps[name] = Memory()
    _of_steps.move_to_end(name)
    if len(_of_steps) > UNITS_MAX:
        _of_steps.popitem(last=False)
    return memory
