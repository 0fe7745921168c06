"""Locks that are taken by a statement: PostgreSQL's advisory locks, MySQL's `GET_LOCK`.

Such a lock belongs to a connection, or to its transaction, and the server gives it back with them; a connection may
take one several times, which is one hold from the first taking to the last giving back. So a connection keeps what it
holds (`Locks`), names itself as the owner, and tells a lock's end where it is: at its own statement, at the end of the
transaction (or of the savepoint it was taken in), when the connection closes. A lock is named by its number or its
text; a key that the statement computes (`hashtext('a')`) by a keyed print of how.

Not recorded: locks that a function or a query with tables takes, several in one statement.

Source: PostgreSQL 18, 9.28.10 and 13.3.5 (advisory locks); MySQL 8.4, 14.14 (locking functions); contract 2.1.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from noclobber import strands
from noclobber.access import Call
from noclobber.contract import Op, Outcome
from noclobber.locks import holding
from noclobber.resources import quoted
from noclobber.stores.sql_plan import Lock, Plan, Verb
from noclobber.stores.sql_predicates import Expressions
from noclobber.stores.sql_statement import Statement
from noclobber.stores.sql_values import name_of_key, print_of
from noclobber.strands import Strand
from noclobber.versions import fingerprint

if TYPE_CHECKING:
    from noclobber.recorder import Recorder

__all__ = ["GivenBack", "Locks", "end_all", "lock_in", "unlocks_all"]

HELD_MAX: Final = 1024
"""Locks that one connection is known to hold; what it takes beyond these is not told."""
_POSTGRES: Final = re.compile(r"pg_(?P<tries>try_)?advisory_(?P<xact>xact_)?(?P<verb>lock|unlock)(?P<shared>_shared)?")
_MYSQL: Final = {"get_lock": Op.LOCK, "release_lock": Op.UNLOCK}
_ALL: Final = re.compile(r"\bpg_advisory_unlock_all\s*\(|\bRELEASE_ALL_LOCKS\s*\(", re.IGNORECASE)
_numbers = itertools.count(1)
GivenBack = tuple[Call, holding.Fact]
"""An unlock under way."""


# -- in a statement ------------------------------------------------------------------------------------------------


def unlocks_all(text: str) -> Plan | None:
    """The plan of a text that gives back all that its connection holds; None for any other."""
    return Plan(Verb.LOCK, lock=Lock(Op.UNLOCK, everything=True)) if _ALL.search(text) else None


def lock_in(tree: Any, reader: Expressions) -> Lock | None:
    """The one lock that a query without tables takes or gives back."""
    from sqlglot import exp

    called = [
        lock for each in tree.expressions for node in each.find_all(exp.Anonymous) if (lock := _lock(node, reader))
    ]
    return called[0] if len(called) == 1 else None


def _lock(node: Any, reader: Expressions) -> Lock | None:
    name = str(node.this).lower()
    found = _POSTGRES.fullmatch(name)
    if found is not None:
        op = Op.LOCK if found["verb"] == "lock" else Op.UNLOCK
        answers = bool(found["tries"]) or op is Op.UNLOCK
        return Lock(op, _key(node.expressions, reader), bool(found["shared"]), bool(found["xact"]), answers)
    if name in _MYSQL and node.expressions:
        return Lock(_MYSQL[name], _key(node.expressions[:1], reader), answers=True)
    return None


def _key(arguments: Sequence[Any], reader: Expressions) -> tuple[Any, ...]:
    values = [reader.value(each) for each in arguments]
    return tuple(
        value if value is not None else reader.part(each, {}) for each, value in zip(arguments, values, strict=True)
    )


def _name(statement: Statement, lock: Lock) -> str:
    """URI of a lock: of PostgreSQL's beside the tables, whose names never begin so; MySQL's are the whole server's."""
    parameters = statement.parameters[0]
    words = []
    for each in lock.key:
        if isinstance(each, tuple):
            words.append(fingerprint("\x00".join((each[0], *(print_of(v.of(parameters)) for v in each[1]))).encode()))
        else:
            words.append(name_of_key(each.of(parameters)))
    if statement.system == "mysql":
        return f"{statement.place.rpartition('/')[0]}/named_locks/{quoted(words[0])}"
    return f"{statement.place}/pg_advisory/{','.join(map(quoted, words))}"


# -- of a connection -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Hold:
    """Attributes: as they were when it was taken; `transaction` and `path` are empty where the connection has it."""

    fact: holding.Fact
    strand: Strand
    count: int = 1
    transaction: str = ""
    path: str = ""


class Locks:
    """What one connection holds.

    Attributes:
        owner: how the connection is named.
    """

    __slots__ = ("_holds", "owner")

    def __init__(self) -> None:
        self.owner = f"{strands.process_id()}-connection-{next(_numbers)}"
        self._holds: dict[tuple[str, bool, bool], _Hold] = {}

    def asks(self, statement: Statement, call: Call) -> None:
        """A statement that takes a lock, or gives one back, is called."""
        lock = statement.plan.lock
        assert lock is not None
        statement.locking = holding.Fact(
            lock.op, _name(statement, lock), statement.system, self.owner, shared=lock.shared
        )
        hold = self._holds.pop(_place(statement.locking, lock), None) if lock.op is Op.UNLOCK else None
        if hold is not None:
            holding.drop(hold.strand, statement.locking.resource)
            call.locks = call.strand.locks

    def is_nested(self, statement: Statement) -> bool:
        """Whether it only counts what its connection holds anyway, or nothing that lasts: then it is no access."""
        lock = statement.plan.lock
        assert lock is not None
        if lock.of_transaction and statement.transaction is None:
            return True  # given back with the statement itself
        hold = self._holds.get((_name(statement, lock), lock.shared, lock.of_transaction))
        if hold is None:
            return lock.op is Op.LOCK and len(self._holds) >= HELD_MAX
        if lock.of_transaction:
            return True
        nested = lock.op is Op.LOCK or hold.count > 1
        hold.count += nested * (1 if lock.op is Op.LOCK else -1)
        return nested

    def ended(self, statement: Statement, call: Call, rows: Sequence[tuple[Any, ...]] | None) -> None:
        """It ran, and answered with `rows`."""
        lock, fact = statement.plan.lock, statement.locking
        assert lock is not None
        assert fact is not None
        done = bool(rows[0][0]) if rows and rows[0] else None
        if (not lock.answers and statement.complete) or done:
            outcome = Outcome.OK
        elif done is False:
            outcome = Outcome.REJECTED
        else:  # nobody has asked, or it is under way
            outcome = Outcome.UNKNOWN if lock.op is Op.LOCK else Outcome.OK
        statement.locking = fact = replace(fact, outcome=outcome)
        if lock.op is Op.LOCK and outcome is Outcome.OK:
            transaction = statement.transaction if lock.of_transaction else None
            self._holds[_place(fact, lock)] = _Hold(
                fact, call.strand, 1, transaction.id if transaction else "", statement.savepoint if transaction else ""
            )
            if not fact.shared:  # what several may have protects nothing from them
                holding.take(call.strand, fact.resource)

    def end_of(self, active: "Recorder", library: str, transaction: str, path: str = "") -> list[GivenBack]:
        """The end of a transaction, or of its savepoint `path`, is called: what it gives back."""
        if not self._holds:
            return []
        return self._give_back(active, library, [
            place for place, hold in self._holds.items()
            if hold.transaction == transaction and f"{hold.path}/".startswith(f"{path}/" if path else "")
        ])  # fmt: skip

    def doomed(self, active: "Recorder", failed: Call, transaction: str, path: str) -> list[GivenBack]:
        """`failed` doomed a transaction, or its savepoint `path`: during that call PostgreSQL gave back its locks."""
        given = self.end_of(active, failed.library, transaction, path)
        for call, _ in given:
            call.start_ns = failed.start_ns  # another may have had the lock before the refusal arrived here
        return given

    def close(self, active: "Recorder | None", library: str) -> None:
        """The connection closes, or gives back all."""
        if active is None or not self._holds:
            self.forget()
            return
        end_all(active, self._give_back(active, library, list(self._holds)))

    def forget(self, transaction: str | None = None) -> None:
        """Nobody saw how a transaction (None: the connection) ended."""
        for place in [at for at, hold in self._holds.items() if transaction in (None, hold.transaction)]:
            hold = self._holds.pop(place)
            holding.drop(hold.strand, hold.fact.resource)

    def _give_back(self, active: "Recorder", library: str, places: Iterable[tuple[str, bool, bool]]) -> list[GivenBack]:
        given = []
        for place in places:
            hold = self._holds.pop(place)
            holding.drop(hold.strand, hold.fact.resource)
            given.append((active.begin(library), replace(hold.fact, op=Op.UNLOCK)))
        return given


def _place(fact: holding.Fact, lock: Lock) -> tuple[str, bool, bool]:
    return fact.resource, lock.shared, lock.of_transaction


def end_all(active: "Recorder", given: Iterable[GivenBack]) -> None:
    """What gives them back has returned."""
    for call, fact in given:
        active.end(call, holding.build, fact)
