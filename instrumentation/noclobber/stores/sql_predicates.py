"""Columns, values and conditions in a syntax tree: what a predicate says about the rows of a table.

Only what is joined by AND counts, and of that only equality with values that the statement or its parameters give: a
key that is given so names rows, other columns are conditions, and whatever else there is only narrows. The whole
predicate is also kept as text without values, in an order of its own, so that two spellings of it are one.

Source: sqlglot's expressions; capture.md, pitfall P3.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from noclobber.stores.sql_plan import Bind, Constant, Source, Value
from noclobber.stores.sql_tables import Table
from noclobber.stores.sql_text import Key

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Expressions", "Naming", "Where", "conjunctions", "queries"]


class Naming(Protocol):
    """How one database names things."""

    def fold(self, name: str, *, quoted: bool) -> str:
        """`name` as the database itself knows it."""
        ...

    def identifier(self, node: "exp.Identifier") -> str:
        """An identifier as the database knows it."""
        ...

    def table(self, node: "exp.Table") -> Table | None:
        """The table that `node` names; None for a catalogue's own and for functions."""
        ...


class Expressions:
    """Reads expressions of one statement.

    Attributes:
        naming: of its database.
    """

    def __init__(self, naming: Naming, keys: Sequence[Key]) -> None:
        self.naming, self._keys = naming, keys

    def names(self, nodes: Sequence[Any]) -> dict[str, Source]:
        """The tables of a statement, by the names that it uses for them."""
        names: dict[str, Source] = {}
        for node in nodes:
            table = self.naming.table(node)
            if table is not None:
                alias = node.args.get("alias")
                name = self.naming.identifier(alias.this) if alias is not None else node.name
                names[self.naming.fold(name, quoted=True)] = Source(table)
        return names

    def output(self, node: Any, names: dict[str, Source]) -> tuple[str, str]:
        """Alias of the table and column that an output column is; empty texts where it is computed."""
        from sqlglot import exp

        inner = node.unalias()
        if isinstance(inner, exp.Star):
            return "", "*"
        return self.column(inner, names) if isinstance(inner, exp.Column) else ("", "")

    def hidden(self, nodes: Sequence[Any], names: dict[str, Source]) -> set[tuple[str, str]]:
        """Columns, as `column` tells them, of which computed output tells something; how many there are is nothing."""
        from sqlglot import exp

        computed = [node.unalias() for node in nodes]
        return {
            self.column(each, names)
            for node in computed
            if not isinstance(node, exp.Column | exp.Star)
            for each in node.find_all(exp.Column)
            if each.find_ancestor(exp.Count) is None
        }

    def column(self, node: Any, names: dict[str, Source]) -> tuple[str, str]:
        """Alias of the table, and the column; an empty alias where the table is not known."""
        from sqlglot import exp

        if isinstance(node.this, exp.Star):
            return node.table, "*"
        if not isinstance(node.this, exp.Identifier):
            return "", ""
        column = self.naming.identifier(node.this)
        qualifier = node.args.get("table")
        if qualifier is None:
            return (next(iter(names)), column) if len(names) == 1 else ("", column)
        alias = self.naming.fold(self.naming.identifier(qualifier), quoted=True)
        return (alias, column) if alias in names else ("", column)

    def where(self, node: Any, names: dict[str, Source]) -> "Where":
        """What a predicate (None: none) says of the first table."""
        where = Where()
        table = next(iter(names.values())).table
        alias = next(iter(names))
        for part in conjunctions(node.this) if node is not None else ():
            where.parts += (self.part(part, names),)
            found = self._equality(part, names)
            if found is None:
                where.narrowed = True
                where.nested |= bool(part.find(*queries()))
                continue
            (name, column), several = found
            if name != alias:
                where.narrowed = True
            elif column in table.key and (len(several) == 1 or len(table.key) == 1):
                where.equal.setdefault(column, several)
            elif len(several) == 1:
                where.conditions += ((column, several[0]),)
            else:
                where.narrowed = True
            if column in table.key and isinstance(several, _Spread):
                where.spread = several[0]
        where.parts = tuple(sorted(where.parts, key=lambda part: part[0]))
        where.finish(table)
        return where

    def _equality(self, part: Any, names: dict[str, Source]) -> "tuple[tuple[str, str], tuple[Value, ...]] | None":
        """Column and values of `c = v`, `c IN (..)`, `c IS NULL`, `c = ANY(v)`."""
        from sqlglot import exp

        left = part.this
        if isinstance(part, exp.EQ):
            right = part.expression
            if not isinstance(left, exp.Column):
                left, right = right, left
            if isinstance(left, exp.Column) and isinstance(right, exp.Any):
                spread = self.value(right.this)
                return None if spread is None else (self.column(left, names), _Spread((spread,)))
            value = self.value(right)
            return (self.column(left, names), (value,)) if isinstance(left, exp.Column) and value else None
        if isinstance(part, exp.In) and isinstance(left, exp.Column) and not part.args.get("query"):
            values = [self.value(each) for each in part.expressions]
            known = tuple(value for value in values if value is not None)
            return (self.column(left, names), known) if known and len(known) == len(values) else None
        if isinstance(part, exp.Is) and isinstance(left, exp.Column) and isinstance(part.expression, exp.Null):
            return self.column(left, names), (Constant(None),)
        return None

    def value(self, node: Any) -> Value | None:
        """The value that an expression is; None where the database computes it."""
        from sqlglot import exp

        match node:
            case exp.Placeholder() if (name := str(node.this or "")).startswith("nc_"):
                return Bind(self._keys[int(name[3:])])
            case exp.Cast() | exp.Paren():
                return self.value(node.this)
            case exp.Null():
                return Constant(None)
            case exp.Boolean():
                return Constant(bool(node.this))
            case exp.Literal():
                return Constant(str(node.this) if node.is_string else _number(str(node.this)))
            case exp.Neg() if isinstance(node.this, exp.Literal) and not node.this.is_string:
                return Constant(-_number(str(node.this.this)))
        return None

    def part(self, node: Any, names: dict[str, Source]) -> tuple[str, tuple[Value, ...]]:
        """One condition with `?` for its values, and these; tables are left out where there is only one."""
        from sqlglot import exp

        values: list[Value] = []

        def bare(each: Any) -> Any:
            if isinstance(each, exp.Placeholder | exp.Literal | exp.Boolean):
                value = self.value(each)
                if value is not None:
                    values.append(value)
                    return exp.Placeholder()
            if isinstance(each, exp.Cast):
                return each.this.transform(bare)
            if isinstance(each, exp.Column) and len(names) == 1:
                return exp.column(exp.to_identifier(self.column(each, names)[1], quoted=True))
            return each

        return node.copy().transform(bare).sql(), tuple(values)


class _Spread(tuple[Value, ...]):
    """One value whose elements are the values."""

    __slots__ = ()


class Where:
    """What a predicate says."""

    __slots__ = ("conditions", "equal", "keys", "narrowed", "nested", "parts", "spread")

    def __init__(self) -> None:
        self.parts: tuple[tuple[str, tuple[Value, ...]], ...] = ()
        self.equal: dict[str, tuple[Value, ...]] = {}
        self.conditions: tuple[tuple[str, Value], ...] = ()
        self.keys: tuple[tuple[Value, ...], ...] | None = None
        self.spread: Value | None = None
        self.narrowed = self.nested = False

    def finish(self, table: Table) -> None:
        """Join the key columns' values to keys, if all are there."""
        if table.key and all(column in self.equal for column in table.key):
            if self.spread is None:
                columns = [self.equal[column] for column in table.key]
                self.keys = tuple((value,) for value in columns[0]) if len(columns) == 1 else (
                    tuple(values[0] for values in columns),
                )  # fmt: skip
            return
        self.spread = None
        for column, values in self.equal.items():  # part of a key only: a condition like any other
            if len(values) == 1:
                self.conditions += ((column, values[0]),)
            else:
                self.narrowed = True


def conjunctions(node: Any) -> Iterator[Any]:
    """The conditions that AND joins, those of `(a, b) = (1, 2)` one by one."""
    from sqlglot import exp

    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.And):
        yield from conjunctions(node.this)
        yield from conjunctions(node.expression)
    elif isinstance(node, exp.EQ) and isinstance(node.this, exp.Tuple) and isinstance(node.expression, exp.Tuple):
        for left, right in zip(node.this.expressions, node.expression.expressions, strict=False):
            yield exp.EQ(this=left.copy(), expression=right.copy())
    else:
        yield node


def queries() -> tuple[Any, ...]:
    """Classes of nodes that are queries."""
    from sqlglot import exp

    return exp.Select, exp.SetOperation, exp.Subquery


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return float(text)
