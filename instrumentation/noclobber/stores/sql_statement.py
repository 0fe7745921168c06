"""One statement as it ran, and the rows that it touched.

How many accesses a statement is must be known in the caller's thread, since sequence numbers are taken there: `count`
looks at keys and rows only. A write that gives some columns values and lets the database compute others from what
stands there is two accesses with parts of their own: the second can't lose anything.

What the accesses are is decided by `sql_reads` and `sql_writes`, in the drain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noclobber.access import AttributeValue
from noclobber.contract import Outcome
from noclobber.locks.holding import Fact
from noclobber.resources import quoted
from noclobber.stores.sql_plan import Plan, SetKind, Source, Verb, values_of
from noclobber.stores.sql_tables import Catalogue, Table
from noclobber.stores.sql_units import Transaction
from noclobber.stores.sql_values import name_of_key, print_of
from noclobber.versions import fingerprint

__all__ = [
    "COMPUTED", "RESULTS_MAX", "ROWS_MAX", "Statement", "Target", "aspects", "columns_of", "conditions_of", "count",
    "key_name", "keys_of", "predicate_of", "row_values", "targets",
]  # fmt: skip

RESULTS_MAX: Final = 64
"""Results in one scan's span."""
ROWS_MAX: Final = 4096
"""Rows of one reply that are looked at; a scan of more is partial."""
KEYS_MAX: Final = 1024
"""Rows that one `IN` names one by one; a longer one is told as a condition on the table."""
COMPUTED: Final = frozenset({SetKind.INCREMENT, SetKind.APPEND, SetKind.EXPRESSION})
GIVEN: Final = frozenset({SetKind.VALUE, SetKind.EXCLUDED})


@dataclass(slots=True)
class Statement:
    """One statement as it ran.

    Attributes:
        plan: what it does. parameters: one set for each time it ran (executemany), as the driver got them.
        place: URI of the database, without a slash at its end. system: the semantic conventions' name of it.
        transaction: the one that it ran in, None outside. savepoint: the path then.
        rows: what came back, None where nothing can or it failed. names: of the columns, for `*`.
        complete: whether `rows` are all. rowcount: as the driver says, -1 where it does not.
        inserted: keys that the database gave to inserted rows, in order.
        replaced: exact mode: what stood in the rows before, by key as text; None where it was not asked.
        outcome: how it failed, None where it did not. unique: whether a unique key refused it.
        locking: the lock that it takes or gives back.
        peer: address of the server. catalogue: where tables are known. attributes: put on each access as they are.
    """

    plan: Plan
    parameters: Sequence[Any]
    place: str
    system: str
    transaction: Transaction | None = None
    savepoint: str = ""
    rows: Sequence[tuple[Any, ...]] | None = None
    names: tuple[str, ...] | None = None
    complete: bool = True
    rowcount: int = -1
    inserted: Sequence[tuple[Any, ...] | None] | None = None
    replaced: dict[str, dict[str, Any]] | None = None
    outcome: Outcome | None = None
    unique: bool = False
    peer: str | None = None
    catalogue: Catalogue | None = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    locking: Fact | None = None

    def row(self, key: Sequence[Any]) -> str:
        """Name of the row with `key`."""
        return f"{self.place}/{quoted(self.plan.table.name)}/{key_name(self.plan.table, key)}"

    def container(self, table: Table) -> str:
        """Name of all rows of `table`."""
        return f"{self.place}/{quoted(table.name)}/"


@dataclass(frozen=True, slots=True)
class Target:
    """One row that a write touches: its key (None: rows that are not known), its parameters, and its reply."""

    key: tuple[Any, ...] | None
    parameters: Any
    reply: dict[str, Any] | None = None


# -- how many ------------------------------------------------------------------------------------------------------


def count(statement: Statement) -> int:
    """How many accesses `statement` is; the same before it ran (no rows yet) and after, or more after."""
    plan = statement.plan
    match plan.verb:
        case Verb.NOTHING:
            return 0
        case Verb.SELECT:
            return _count_reads(statement)
        case Verb.INSERT:
            return max(1, len(plan.insert_rows)) * len(statement.parameters)
        case Verb.UPDATE | Verb.DELETE:
            return len(targets(statement)) * len(aspects(plan))
    return 1


def _count_reads(statement: Statement) -> int:
    keys = keys_of(statement)
    if keys is not None:
        return len(keys)
    rows = 0 if statement.plan.counted or statement.rows is None else len(statement.rows)
    return max(1, -(-rows // RESULTS_MAX)) * len(statement.plan.sources)


def aspects(plan: Plan) -> tuple[bool, ...]:
    """The accesses that one changed row is: False for values that were given, True for computed ones."""
    if plan.verb is Verb.DELETE:
        return (False,)
    sets = [each for each in plan.sets if each.column != plan.table.version]
    computed = any(each.kind in COMPUTED for each in sets)
    given = any(each.kind in GIVEN for each in sets)
    return (False, True) if computed and given else (computed,)


# -- which rows ----------------------------------------------------------------------------------------------------


def key_name(table: Table, key: Sequence[Any]) -> str:
    """The last part of a row's name: `id=1`, or `a=1,b=2` in the key's own order."""
    if len(key) == 1:
        return f"{quoted(table.key[0])}={quoted(name_of_key(key[0]))}"
    return ",".join(
        f"{quoted(column)}={quoted(name_of_key(value))}" for column, value in zip(table.key, key, strict=True)
    )


def keys_of(statement: Statement) -> list[tuple[Any, ...]] | None:
    """Keys that the statement names, for all its parameters; a key of NULL names nothing."""
    found: list[tuple[Any, ...]] = []
    for parameters in statement.parameters:
        keys = statement.plan.keys_of(parameters)
        if keys is None or len(keys) > KEYS_MAX:
            return None
        found += [key for key in keys if None not in key]
    return found


def targets(statement: Statement) -> list[Target]:
    """The rows that an UPDATE or DELETE touched, as far as keys and replies tell; at least one."""
    plan = statement.plan
    found: list[Target] = []
    for parameters in statement.parameters:
        keys = plan.keys_of(parameters)
        if keys is not None and len(keys) <= KEYS_MAX:
            replies = _replies(statement) if len(statement.parameters) == 1 else {}
            found += [
                Target(key, parameters, replies.get(key_name(plan.table, key))) for key in keys if None not in key
            ]
    if found or keys_of(statement) is not None:
        return found
    replies = _replies(statement)
    if replies:
        return [Target(tuple(values[column] for column in plan.table.key), statement.parameters[0], values)
                for values in replies.values()]  # fmt: skip
    return [Target(None, statement.parameters[0])]


def _replies(statement: Statement) -> dict[str, dict[str, Any]]:
    """Rows that came back by RETURNING, by key."""
    plan, table = statement.plan, statement.plan.table
    if plan.returning is None or not table.key:
        return {}
    columns = columns_of(statement, plan.returning)
    found = {}
    for row in statement.rows or ():
        values = row_values(columns, row)
        if all(values.get(column) is not None for column in table.key):
            found[key_name(table, [values[column] for column in table.key])] = values
    return found


def columns_of(statement: Statement, source: Source) -> tuple[tuple[int, str], ...]:
    """Position in a row, and the column that stands there; by the reply's own names for `*`."""
    if source.star and statement.names is not None:
        return tuple(enumerate(statement.names))
    return source.columns


def row_values(columns: Iterable[tuple[int, str]], row: Sequence[Any]) -> dict[str, Any]:
    """A row by its columns' names."""
    return {column: row[at] for at, column in columns if at < len(row)}


# -- under which conditions ----------------------------------------------------------------------------------------


def predicate_of(plan: Plan, parameters: Any) -> str:
    """Keyed hash of the normalised predicate; `*` where there is none."""
    if not plan.predicate:
        return "*"
    parts = [f"{template}\x00" + "\x00".join(print_of(value.of(parameters)) for value in values)
             for template, values in plan.predicate]  # fmt: skip
    return fingerprint("\x01".join(sorted(parts)).encode())


def conditions_of(plan: Plan, parameters: Any) -> dict[str, str]:
    """Prints of the values that columns other than the key had to equal."""
    return {column: print_of(value) for column, value in values_of(plan.conditions, parameters).items()}
