"""What an SQL statement does, by its text: which rows of which table, by which key, under which conditions.

A plan is made once for each text and kept; values stay out of it, so that it serves every call with that text. The
planner knows the shapes in which programs and mappers write (keyed and conditional reads and writes, claims by
sub-select, upserts, RETURNING). What it does not know fully it says so (`known` is false), and the accesses made from
such a plan are partial. It does no I/O and knows no driver, so any SQL client can use it.

Source: sqlglot's syntax trees; contract 2.1; capture.md, sections 2.1 and 3. What a plan and its values become is
decided by `sql_accesses`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from noclobber.contract import Op, WriteMode
from noclobber.stores.sql_tables import Table
from noclobber.stores.sql_text import Control, Key

if TYPE_CHECKING:
    from noclobber.stores.sql_looks import Look

__all__ = ["Bind", "Claim", "Constant", "Plan", "Set", "SetKind", "Source", "Value", "Verb", "values_of"]


@dataclass(frozen=True, slots=True)
class Bind:
    """A value that comes with the call; `key` is what to ask its parameters for."""

    key: Key

    def of(self, parameters: Any) -> Any:
        """The value in this call."""
        return parameters[self.key]


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the text."""

    value: Any

    def of(self, parameters: Any) -> Any:
        """The value, whatever the parameters."""
        del parameters
        return self.value


Value = Bind | Constant


def values_of(pairs: Sequence[tuple[str, Value]], parameters: Any) -> dict[str, Any]:
    """The values of columns in one call, by column."""
    return {column: value.of(parameters) for column, value in pairs}


class Verb(StrEnum):
    """What kind of statement it is; `nothing` touches no state that can be named, a `call` nobody knows what."""

    NOTHING = "nothing"
    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    CALL = "call"
    LOCK = "lock"
    UNKNOWN = "unknown"


class SetKind(StrEnum):
    """How an assignment makes its new value; `excluded` is the value that the same upsert would have inserted."""

    VALUE = "value"
    INCREMENT = "increment"
    APPEND = "append"
    FUNCTION = "function"
    EXPRESSION = "expression"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Set:
    """One assignment of an UPDATE; `value` is the new value, or the amount, where the statement says it."""

    column: str
    kind: SetKind
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A table that rows are read from.

    Attributes:
        table: which. columns: position in the output, and the table's column that stands there.
        star: whether the output is `*`, so that the names in the reply decide.
        hides: whether the output tells something of its rows that does not show as a column (an expression, a query
            in the query).
    """

    table: Table
    columns: tuple[tuple[int, str], ...] = ()
    star: bool = False
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A sub-select that picks the rows that the statement then writes.

    Attributes:
        conditions: column and value that made it pick them. locks: whether it locks what it picks.
    """

    conditions: tuple[tuple[str, Value], ...]
    locks: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that the statement takes or gives back by a function.

    Attributes:
        op: which of the two. key: what names it: values, or computed texts with the values in them.
        shared: whether others may have it, too. of_transaction: whether it ends with the transaction.
        answers: whether the reply says if it was done. everything: all that the connection holds.
    """

    op: Op
    key: tuple[Any, ...] = ()
    shared: bool = False
    of_transaction: bool = False
    answers: bool = False
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement.

    Attributes:
        verb: what it is. table: the one that it writes, or the first that it reads.
        sources: tables read by a SELECT.
        keys: the rows that it names, each by the values of the table's key columns; None where it names none.
        spread: value whose elements are keys (`id = ANY(:ids)`).
        conditions: columns other than the key that must equal a value. only_keys: nothing else narrows the rows.
        narrowed: whether something besides `keys` and `conditions` narrows them.
        predicate: the whole predicate in parts, with `?` for values, and the values.
        sets: assignments (of an upsert: where the row is there already).
        insert_columns, insert_rows: what an INSERT gives; a value is None where the text computes it.
        mode: of an INSERT or upsert. ignores: a row that is there already is left as it is.
        upserts: a row that is there already is written.
        locks: whether rows read are locked (`FOR UPDATE`).
        shares: whether rows read are locked against writers only (`FOR SHARE`).
        skips: whether locked rows are passed over (`SKIP LOCKED`), so that finding none proves nothing.
        returning: what comes back from a write.
        claim: see `Claim`. counted: the output is computed from many rows (count, group by).
        near: rows are ordered by their distance to a vector, which an index finds approximately.
        control: what it does to its transaction. lock: see `Lock`. known: whether all of this is all there is.
        look: what all its reads have in common, where it is a plain read of one row.
    """

    verb: Verb
    table: Table = field(default_factory=lambda: Table(""))
    sources: tuple[Source, ...] = ()
    keys: tuple[tuple[Value, ...], ...] | None = None
    spread: Value | None = None
    conditions: tuple[tuple[str, Value], ...] = ()
    narrowed: bool = False
    predicate: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    sets: tuple[Set, ...] = ()
    insert_columns: tuple[str, ...] = ()
    insert_rows: tuple[tuple[Value | None, ...], ...] = ()
    mode: WriteMode = WriteMode.OVERWRITE
    ignores: bool = False
    upserts: bool = False
    locks: bool = False
    shares: bool = False
    skips: bool = False
    returning: Source | None = None
    claim: Claim | None = None
    counted: bool = False
    near: bool = False
    control: Control | None = None
    lock: Lock | None = None
    known: bool = True
    look: "Look | None" = field(default=None, compare=False)

    def keys_of(self, parameters: Any) -> tuple[tuple[Any, ...], ...] | None:
        """The keys of the rows that one call names, without repetition; None where it names none."""
        if self.spread is not None:
            several = self.spread.of(parameters)
            return tuple(dict.fromkeys((key,) for key in several)) if isinstance(several, list | tuple) else None
        if self.keys is None:
            return None
        if len(self.keys) == 1:
            return (tuple([value.of(parameters) for value in self.keys[0]]),)
        return tuple(dict.fromkeys(tuple(value.of(parameters) for value in key) for key in self.keys))


NOTHING: Final = Plan(Verb.NOTHING)
