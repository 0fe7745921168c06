"""From a statement that ran (plan, values, rows) to the contract's accesses, in the drain.

Source: contract 2 and 2.1.
"""

from collections.abc import Sequence
from typing import Final

from noclobber.access import Access, Call
from noclobber.contract import Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.locks.holding import told
from noclobber.stores.sql_plan import Plan, Verb
from noclobber.stores.sql_reads import reads
from noclobber.stores.sql_statement import Statement
from noclobber.stores.sql_units import Transaction, around, memory_of
from noclobber.stores.sql_writes import changes, inserts

__all__ = ["boundary", "describe", "placed"]

_SELECT: Final = Verb.SELECT
REPEATABLE: Final = "repeatable_read"


def describe(call: Call, statement: Statement) -> list[Access]:
    """The accesses that `statement` was, in the order of their numbers."""
    plain = _plain_read(statement)
    if plain is not None:
        _place(plain, statement)
        return [plain]
    memory = memory_of(call, statement.transaction)
    match statement.plan.verb:
        case Verb.SELECT:
            accesses = reads(statement, memory)
        case Verb.INSERT:
            accesses = inserts(statement, memory)
        case Verb.UPDATE | Verb.DELETE:
            accesses = changes(statement, memory)
        case Verb.TRUNCATE:
            accesses = [_emptied(statement)]
        case Verb.CALL:
            accesses = [_called(statement)]
        case Verb.LOCK if statement.locking is not None:
            accesses = [told(statement.locking)]
        case _:
            accesses = [_unknown(statement)]
    if statement.plan.verb is not _SELECT:
        _work_on_taken(call, statement, accesses)
    for access in accesses:
        if not statement.plan.known or _may_be_half_a_key(statement.plan):
            access.attributes[Attr.PARTIAL] = True
        if statement.outcome is not None and access.outcome is not Outcome.REJECTED:
            access.outcome = statement.outcome
        _place(access, statement)
    return accesses


def _plain_read(statement: Statement) -> Access | None:
    """The read that it was, if it was of one row by its key and nothing about it was odd."""
    look, rows = statement.plan.look, statement.rows
    if look is None or rows is None or len(rows) != 1 or not statement.complete or statement.outcome is not None:
        return None
    (parameters,) = statement.parameters
    return look.access(statement.place, statement.system, parameters, rows[0])


def _work_on_taken(call: Call, statement: Statement, accesses: Sequence[Access]) -> None:
    """A row that its step, or strand, took as a task is worked on by later writes to it, in whatever transaction."""
    mine = around(call)
    for access in accesses:
        if access.op in (Op.READ, Op.SCAN):
            continue
        taken = access.attributes.get(Attr.MESSAGE_ID) == access.resource
        if taken and access.outcome is Outcome.OK and statement.outcome is None:
            mine.take(access.resource, statement.transaction.id if statement.transaction is not None else "")
        elif access.resource in mine.taken:
            access.attributes[Attr.MESSAGE_ID] = access.resource


def boundary(op: Op, statement: Statement, outcome: Outcome, savepoint: str = "") -> Access:
    """A `begin`, `commit` or `abort`; `savepoint`: the path that an abort takes back."""
    statement.savepoint = savepoint
    access = Access(op, statement.place, statement.system, outcome, remembered=False)
    _place(access, statement)
    return access


def _place(access: Access, statement: Statement) -> None:
    transaction = statement.transaction
    if statement.attributes:
        access.attributes.update(statement.attributes)
    isolation = "" if transaction is None else transaction.isolation or ""
    if isolation == REPEATABLE and statement.system == "mysql":
        isolation = _isolation(access, statement, isolation)
    placed(access, statement.peer, transaction, isolation, statement.savepoint)


def placed(access: Access, peer: str | None, transaction: Transaction | None, isolation: str, savepoint: str) -> None:
    """Say on `access` where it was: at which server, in which transaction of which promise, in which savepoint."""
    if peer:
        access.attributes[Attr.PEER_ADDRESS] = peer
    if transaction is None:
        return
    access.within = transaction.within(isolation, savepoint)
    if isolation == "serializable":
        access.attributes.setdefault(Attr.GUARD, Guard.SERIALIZABLE)


def _isolation(access: Access, statement: Statement, isolation: str) -> str:
    """What the transaction's level promises this access.

    Under InnoDB's REPEATABLE READ only a plain read is of the snapshot; what locks or writes sees the newest state.
    """
    newest = access.op not in (Op.READ, Op.SCAN, Op.BEGIN, Op.COMMIT, Op.ABORT)
    newest |= statement.plan.locks or statement.plan.shares
    return "read_committed" if newest else isolation


def _may_be_half_a_key(plan: Plan) -> bool:
    """Whether a guessed key stands beside a condition that looks like the other half of a key."""
    keyed = plan.table.guessed and (plan.keys is not None or plan.spread is not None)
    return keyed and any(column.endswith("_id") for column, _ in plan.conditions)


def _emptied(statement: Statement) -> Access:
    table = statement.plan.table
    kind = table.version_kind if table.version else VersionKind.FINGERPRINT
    return Access(
        Op.DELETE,
        statement.container(table),
        statement.system,
        attributes={Attr.VERSION_KIND: kind, Attr.VERSION_WRITTEN: kind.absent},
    )


def _unknown(statement: Statement) -> Access:
    return Access(
        Op.UPDATE,
        statement.container(statement.plan.table),
        statement.system,
        attributes={Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True},
        unseen=True,
    )


def _called(statement: Statement) -> Access:
    """A stored procedure, which may look at anything in its database."""
    return Access(
        Op.SCAN,
        f"{statement.place}/",
        statement.system,
        attributes={Attr.PREDICATE: "*", Attr.RESULT_RESOURCES: [], Attr.SCAN_APPROXIMATE: True, Attr.PARTIAL: True},
        unseen=True,
    )
