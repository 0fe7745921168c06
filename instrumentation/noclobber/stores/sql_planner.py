"""From the text of an SQL statement to its plan, by sqlglot's syntax tree.

See `sql_plan` for what a plan is. The parser is imported with the first statement that needs it.
"""

import functools
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from noclobber.contract import WriteMode
from noclobber.guard import GUARD
from noclobber.stores.sql_locks import lock_in, unlocks_all
from noclobber.stores.sql_looks import look_of
from noclobber.stores.sql_plan import NOTHING, Claim, Constant, Plan, Set, SetKind, Source, Value, Verb
from noclobber.stores.sql_predicates import Expressions, Where, conjunctions, queries
from noclobber.stores.sql_tables import Catalogue, Table
from noclobber.stores.sql_text import Key, control, number_placeholders

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Planner"]

PLANS_MAX: Final = 2048
"""Plans kept for each database; then all are made anew."""
TEXT_MAX: Final = 65_536
"""Longer statements are not parsed: what they touch is told by their first table, as partial."""
_PARSED: Final = re.compile(
    r"[\s(]*(SELECT|INSERT|REPLACE|UPDATE|DELETE|WITH|MERGE|CREATE\s.*TABLE|TRUNCATE)\b", re.IGNORECASE
)
_DO: Final = re.compile(r"^\s*DO\s+(?=(?:GET|RELEASE)_LOCK\b)", re.IGNORECASE)
_CALL: Final = re.compile(r"\s*CALL\b", re.IGNORECASE)
_REPLACE: Final = re.compile(r"^\s*REPLACE\b", re.IGNORECASE)
_FIRST_TABLE: Final = re.compile(r"\b(?:INTO|FROM|UPDATE|TABLE)\s+(?:ONLY\s+)?([\w.\"`]+)", re.IGNORECASE)
TREES_MAX: Final = 256
"""Parsed statements that are kept, of all databases together."""
_DIALECTS: Final = {"postgresql": "postgres", "mysql": "mysql"}
_CATALOGUES: Final = ("pg_catalog", "information_schema", "performance_schema")


class Planner:
    """Makes and keeps the plans of one database.

    Attributes:
        catalogue: its tables. default_schema: the one that a bare name is looked up in, None where not known.
    """

    def __init__(self, dialect: str, style: str, catalogue: Catalogue, default_schema: str | None = None) -> None:
        self._dialect, self._style, self.default_schema = dialect, style, default_schema
        if dialect == "mysql" and default_schema is not None:
            self.default_schema = default_schema.lower()
        self.catalogue = catalogue
        self._plans: dict[str, Plan] = {}
        self._generation = catalogue.generation

    def known(self, text: str) -> Plan | None:
        """The plan of `text`, if it was made and nothing was learnt since."""
        if self._generation != self.catalogue.generation:
            self._plans, self._generation = {}, self.catalogue.generation
        return self._plans.get(text)

    def plan(self, text: str) -> Plan:
        """The plan of `text`, made now where there is none."""
        plan = self.known(text)
        if plan is None:
            plan = self._make(text)
            if plan.verb is Verb.SELECT:
                plan = replace(plan, look=look_of(plan))
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            self._plans[text] = plan
        return plan

    def _make(self, text: str) -> Plan:
        steers = control(text)
        if steers is not None:
            return Plan(Verb.NOTHING, control=steers)
        everything = unlocks_all(text)
        if everything is not None:
            return everything
        text = _DO.sub("SELECT ", text)
        if not _PARSED.match(text):
            return Plan(Verb.CALL, known=False) if _CALL.match(text) else NOTHING
        numbered, keys = number_placeholders(text, self._style)
        if self._dialect in ("sqlite", "mysql"):
            numbered = _REPLACE.sub("INSERT OR REPLACE", numbered)  # its short form, which the parser does not know
        tree = None if len(text) > TEXT_MAX else _parsed(numbered, _DIALECTS.get(self._dialect, self._dialect))
        if tree is None:
            return self._fallback(text)
        reader = _Reader(self, keys)
        with GUARD:
            return reader.plan(tree)
        return self._fallback(text)

    def _fallback(self, text: str) -> Plan:
        found = _FIRST_TABLE.search(text)
        if found is None:
            return NOTHING
        table = self.catalogue[self.fold(found[1].replace('"', "").replace("`", ""), quoted=False)]
        reads = text.lstrip().upper().startswith("SELECT")
        source = Source(table, hides=True)
        return Plan(Verb.SELECT if reads else Verb.UNKNOWN, table, (source,), counted=reads, known=False)

    def fold(self, name: str, *, quoted: bool) -> str:
        """`name` as the database itself knows it."""
        return name if quoted and self._dialect not in ("sqlite", "mysql") else name.lower()

    def table(self, node: "exp.Table") -> Table | None:
        """The table that `node` names; None for a catalogue's own and for functions."""
        from sqlglot import exp

        if not isinstance(node.this, exp.Identifier):
            return None
        name, schema = self.identifier(node.this), node.args.get("db")
        if schema is not None:
            schema_name = self.identifier(schema)
            if schema_name in _CATALOGUES:
                return None
            if schema_name not in (self.default_schema, self._plain_schema):
                name = f"{schema_name}.{name}"
        elif self.default_schema not in (None, self._plain_schema):
            name = f"{self.default_schema}.{name}"
        return None if name.startswith(("pg_", "sqlite_")) else self.catalogue[name]

    @property
    def _plain_schema(self) -> str | None:
        if self._dialect == "mysql":
            return self.default_schema
        return "public" if self._dialect == "postgresql" else "main"

    def identifier(self, node: "exp.Identifier") -> str:
        """An identifier as the database knows it."""
        return self.fold(node.name, quoted=bool(node.args.get("quoted")))


_planning = threading.local()


class _Quiet(logging.Filter):
    """Keeps sqlglot's remarks on a program's statements out of that program's log."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not getattr(_planning, "now", False)


_quiet = _Quiet()


@functools.lru_cache(TREES_MAX)
def _parsed(text: str, dialect: str) -> Any:
    """The tree of `text`, which nobody changes: databases that are made anew (tests) see the same statements again."""
    import sqlglot

    logging.getLogger("sqlglot").addFilter(_quiet)  # adding it again changes nothing
    _planning.now = True
    try:
        trees = sqlglot.parse(text, read=dialect)
    except Exception:  # noqa: BLE001 RUF100  whatever a parser says about a text that is not ours
        return None
    finally:
        _planning.now = False
    return trees[0] if len(trees) == 1 else None


class _Reader(Expressions):
    """Reads one statement's tree."""

    def __init__(self, planner: Planner, keys: Sequence[Key]) -> None:
        super().__init__(planner, keys)
        self.planner = planner

    def plan(self, tree: Any) -> Plan:
        from sqlglot import exp

        match tree:
            case exp.Select():
                return self._select(tree)
            case exp.SetOperation():
                return self._union(tree)
            case exp.Insert():
                return self._insert(tree)
            case exp.Update():
                return self._update(tree)
            case exp.Delete():
                return self._delete(tree)
            case exp.Create():
                return self._create(tree)
            case exp.TruncateTable():
                return self._truncate(tree)
            case exp.Merge():
                table = self.planner.table(tree.this) if isinstance(tree.this, exp.Table) else None
                return NOTHING if table is None else Plan(Verb.UNKNOWN, table, known=False)
        return NOTHING

    # -- reads -----------------------------------------------------------------------------------------------------

    def _select(self, tree: Any) -> Plan:
        from sqlglot import exp

        nodes = _from(tree)
        plain = not tree.args.get("with_") and all(isinstance(node, exp.Table) for node in nodes)
        if not plain or any(each.find(*queries()) for each in tree.expressions):
            return self._union(tree)
        names = self.names(nodes)
        if not names:
            lock = None if nodes else lock_in(tree, self)
            return NOTHING if lock is None else Plan(Verb.LOCK, lock=lock)
        sources = tuple(names.values())
        output = [self.output(each, names) for each in tree.expressions]
        star = len(nodes) == 1 and any(column == "*" for _, column in output)
        hidden = set() if star else self.hidden(tree.expressions, names) - set(output)
        read = tuple(
            replace(
                source,
                star=star,
                columns=tuple((at, column) for at, (name, column) in enumerate(output) if name == alias and column),
                hides=any(name in (alias, "") and column not in source.table.key for name, column in hidden),
            )
            for alias, source in names.items()
        )
        counted = bool(tree.args.get("group") or tree.args.get("having") or tree.find(exp.AggFunc))
        where = self.where(tree.args.get("where"), names)
        locks = [lock for lock in tree.args.get("locks") or () if lock.args.get("update")]
        shares = bool(tree.args.get("locks")) and not locks
        near = _is_by_distance(tree.args.get("order"))
        more = ("order", "limit", "offset") if near else ("limit", "offset")
        predicate = where.parts + self._more(tree, more, names)
        if len(sources) > 1:
            predicate += tuple((f"JOIN {node.sql()}", ()) for node in tree.args.get("joins") or ())
        return Plan(
            Verb.SELECT, sources[0].table, read, where.keys if len(sources) == 1 and not counted else None,
            where.spread if len(sources) == 1 and not counted else None, where.conditions, where.narrowed, predicate,
            locks=bool(locks), shares=shares, skips=any(lock.args.get("wait") is False for lock in locks),
            counted=counted, near=near,
            known=not where.nested and (star or all(len(name) > 0 or not column for name, column in output)),
        )  # fmt: skip

    def _union(self, tree: Any) -> Plan:
        """A SELECT whose rows can't be followed back: every table in it is read, which rows is not known."""
        from sqlglot import exp

        hidden = {self.planner.identifier(cte.args["alias"].this) for cte in tree.find_all(exp.CTE)}
        tables = [self.planner.table(node) for node in tree.find_all(exp.Table)]
        known = [table for table in tables if table is not None and table.name not in hidden]
        sources = {table.name: Source(table, hides=True) for table in known}
        if not sources:
            return NOTHING
        first = next(iter(sources.values())).table
        return Plan(Verb.SELECT, first, tuple(sources.values()), counted=True, known=False)

    def _more(
        self, tree: Any, names: Sequence[str], tables: dict[str, Source]
    ) -> tuple[tuple[str, tuple[Value, ...]], ...]:
        return tuple(self.part(tree.args[name], tables) for name in names if tree.args.get(name) is not None)

    # -- writes that pick their rows by a query -------------------------------------------------------------------

    def _claim(self, tree: Any, table: Table) -> "tuple[Claim | None, bool]":
        """The query among the conditions that picks keys of `table`, and whether anything else is read there.

        A sub-select (`id = (SELECT ..)`, `id IN (SELECT ..)`), or one that stands in WITH and is joined by its key.
        """
        from sqlglot import exp

        named = {cte.alias.lower(): cte.this for cte in (tree.args.get("with_") or exp.With()).expressions}
        where = tree.args.get("where")
        claim, others = None, False
        for part in conjunctions(where.this) if where is not None else ():
            picked = self._picked(part, named) if isinstance(part, exp.EQ | exp.In) else None
            if picked is not None and picked.table.name == table.name and part.this.name.lower() in table.key:
                claim = Claim(picked.conditions, picked.locks)
            else:
                others |= bool(part.find(*queries()))
        joined = tree.args.get("from_") or tree.args.get("from") or tree.args.get("using") or named
        return claim, others or bool(joined and (claim is None or len(named) > 1))

    def _picked(self, part: Any, named: dict[str, Any]) -> Plan | None:
        """The plan of the query that a condition compares a column with."""
        from sqlglot import exp

        other = part.args.get("query") or part.args.get("expression")
        inner = other.this if isinstance(other, exp.Subquery) else other
        if isinstance(inner, exp.Column) and inner.table.lower() in named:
            inner = named[inner.table.lower()]
        elif isinstance(inner, exp.Select) and len(tables := _from(inner)) == 1:
            inner = named.get(tables[0].name.lower(), inner)
        return self._select(inner) if isinstance(inner, exp.Select) and isinstance(part.this, exp.Column) else None

    # -- writes ----------------------------------------------------------------------------------------------------

    def _update(self, tree: Any) -> Plan:
        from sqlglot import exp

        table = self.planner.table(tree.this) if isinstance(tree.this, exp.Table) else None
        if table is None:
            return NOTHING
        names = self.names([tree.this])
        sets, complete = self._sets(tree.expressions, names)
        where = self.where(tree.args.get("where"), names)
        claim, others = self._claim(tree, table)
        self._learn_version(table, sets, where)
        return Plan(
            Verb.UPDATE, self.planner.catalogue[table.name], keys=where.keys, spread=where.spread,
            conditions=where.conditions, narrowed=where.narrowed, predicate=where.parts, sets=sets,
            returning=self._returning(tree, names), claim=claim, known=complete and not others,
        )  # fmt: skip

    def _learn_version(self, table: Table, sets: Sequence[Set], where: "Where") -> None:
        compared = {column for column, _ in where.conditions}
        for each in sets:
            if each.kind is SetKind.INCREMENT and each.value == Constant(1) and each.column in compared:
                self.planner.catalogue.learn_version(table.name, each.column)

    def _sets(self, nodes: Sequence[Any], names: dict[str, Source]) -> tuple[tuple[Set, ...], bool]:
        from sqlglot import exp

        sets: list[Set] = []
        for node in nodes:
            if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column):
                return tuple(sets), False
            sets.append(self._set(self.planner.identifier(node.this.this), node.expression, names))
        return tuple(sets), bool(sets)

    def _set(self, column: str, new: Any, names: dict[str, Source]) -> Set:
        from sqlglot import exp

        while isinstance(new, exp.Paren):
            new = new.this
        value = self.value(new)
        if value is not None:
            return Set(column, SetKind.VALUE, value)
        if _is_excluded(new, column):
            return Set(column, SetKind.EXCLUDED)
        if isinstance(new, exp.Add | exp.Sub | exp.DPipe):
            left, right = new.this, new.expression
            if not self._is(left, column, names) and isinstance(new, exp.Add):
                left, right = right, left
            if self._is(left, column, names) and not right.find(exp.Column, *queries()):
                kind = SetKind.APPEND if isinstance(new, exp.DPipe) else SetKind.INCREMENT
                return Set(column, kind, self.value(right))
        reads = new.find(exp.Column, *queries())
        return Set(column, SetKind.EXPRESSION if reads else SetKind.FUNCTION)

    def _is(self, node: Any, column: str, names: dict[str, Source]) -> bool:
        from sqlglot import exp

        while isinstance(node, exp.Paren | exp.Cast):
            node = node.this
        return isinstance(node, exp.Column) and self.column(node, names)[1] == column

    def _returning(self, tree: Any, names: dict[str, Source]) -> Source | None:
        returning = tree.args.get("returning")
        if returning is None:
            return None
        output = [self.output(each, names) for each in returning.expressions]
        source = next(iter(names.values()))
        alias = next(iter(names))
        return replace(
            source,
            columns=tuple((at, column) for at, (name, column) in enumerate(output) if name == alias and column),
            star=any(column == "*" for _, column in output),
            hides=any(not column for _, column in output),
        )

    def _delete(self, tree: Any) -> Plan:
        from sqlglot import exp

        table = self.planner.table(tree.this) if isinstance(tree.this, exp.Table) else None
        if table is None:
            return NOTHING
        names = self.names([tree.this])
        where = self.where(tree.args.get("where"), names)
        claim, others = self._claim(tree, table)
        return Plan(
            Verb.DELETE, table, keys=where.keys, spread=where.spread, conditions=where.conditions,
            narrowed=where.narrowed, predicate=where.parts, returning=self._returning(tree, names), claim=claim,
            known=not others,
        )  # fmt: skip

    def _insert(self, tree: Any) -> Plan:
        from sqlglot import exp

        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        table = self.planner.table(target) if isinstance(target, exp.Table) else None
        if table is None:
            return NOTHING
        listed = tree.this.expressions if isinstance(tree.this, exp.Schema) else ()
        columns = tuple(self.planner.identifier(each) for each in listed) or table.columns or ()
        rows = self._rows(tree.args.get("expression"), len(columns))
        names = self.names([target])
        conflict = tree.args.get("conflict")
        how = str(tree.args.get("alternative") or "").upper()
        action = str(conflict.args.get("action") or "").upper() if conflict is not None else ""
        sets, complete = (
            self._sets(conflict.expressions, names) if conflict is not None and conflict.expressions else ((), True)
        )
        upserts = "UPDATE" in action or how == "REPLACE"
        return Plan(
            Verb.INSERT, table, insert_columns=columns, insert_rows=rows or (), sets=sets,
            mode=WriteMode.OVERWRITE if upserts else WriteMode.INSERT, upserts=upserts,
            ignores="NOTHING" in action or how == "IGNORE" or bool(tree.args.get("ignore")),
            returning=self._returning(tree, names), known=rows is not None and complete,
        )  # fmt: skip

    def _rows(self, node: Any, width: int) -> tuple[tuple[Value | None, ...], ...] | None:
        from sqlglot import exp

        if node is None:
            return ((),)  # DEFAULT VALUES
        if isinstance(node, exp.Select):
            return self._selected_values(node, width)
        if not isinstance(node, exp.Values):
            return None
        rows = [_cells(each) for each in node.expressions]
        if any(len(cells) != width for cells in rows):
            return None
        return tuple(tuple(self.value(cell) for cell in cells) for cells in rows)

    def _selected_values(self, node: Any, width: int) -> tuple[tuple[Value | None, ...], ...] | None:
        """`SELECT p0, p1 FROM (VALUES ..) AS name(p0, p1, ..)`: how SQLAlchemy keeps many rows in their order."""
        from sqlglot import exp

        values = next(iter(_from(node)), None)
        alias = values.args.get("alias") if isinstance(values, exp.Values) else None
        if values is None or alias is None or len(node.expressions) != width or node.args.get("where"):
            return None
        names = [each.name for each in alias.args.get("columns") or ()]
        rows = []
        for each in values.expressions:
            cells = dict(zip(names, _cells(each), strict=False))
            picked = [each.this if isinstance(each, exp.Cast) else each for each in node.expressions]
            rows.append(tuple(self.value(cells.get(cell.name, cell)) for cell in picked))
        return tuple(rows)

    # -- tables ----------------------------------------------------------------------------------------------------

    def _create(self, tree: Any) -> Plan:
        """A CREATE TABLE tells the key; it touches no rows."""
        from sqlglot import exp

        if tree.args.get("kind") != "TABLE" or not isinstance(tree.this, exp.Schema):
            return NOTHING
        table = self.planner.table(tree.this.this)
        if table is not None:
            columns, key = [], []
            for node in tree.this.expressions:
                if isinstance(node, exp.ColumnDef):
                    columns.append(self.planner.identifier(node.this))
                    if node.find(exp.PrimaryKeyColumnConstraint):
                        key.append(columns[-1])
                elif (primary := node.find(exp.PrimaryKey)) is not None:
                    key = [self.planner.fold(each.name, quoted=True) for each in primary.expressions]
            self.planner.catalogue.learn(Table(table.name, tuple(key), tuple(columns), guessed=False))
        return NOTHING

    def _truncate(self, tree: Any) -> Plan:
        table = self.planner.table(tree.expressions[0])
        return NOTHING if table is None else Plan(Verb.TRUNCATE, table, known=len(tree.expressions) == 1)


def _is_excluded(new: Any, column: str) -> bool:
    """Whether it is the value that the same upsert would have inserted: `excluded.c`, MySQL's `VALUES(c)`, `new.c`."""
    from sqlglot import exp

    if isinstance(new, exp.Anonymous) and new.name.upper() == "VALUES":
        return len(new.expressions) == 1 and str(new.expressions[0].name).lower() == column
    insert = new.find_ancestor(exp.Insert)
    alias = insert.expression.alias if insert is not None and isinstance(insert.expression, exp.Values) else ""
    return isinstance(new, exp.Column) and new.table.lower() in {"excluded", alias.lower()} - {""}


def _from(tree: Any) -> list[Any]:
    first = tree.args.get("from_") or tree.args.get("from")
    return ([first.this] if first is not None else []) + [join.this for join in tree.args.get("joins") or ()]


def _cells(node: Any) -> list[Any]:
    from sqlglot import exp

    return list(node.expressions) if isinstance(node, exp.Tuple) else [node]


_DISTANCES: Final = frozenset(
    {"l2_distance", "cosine_distance", "inner_product", "l1_distance", "hamming_distance", "jaccard_distance"}
)


def _is_by_distance(order: Any) -> bool:
    """Whether rows come by their distance to a vector (pgvector; `<=>` reads as MySQL's null-safe equality)."""
    from sqlglot import exp

    if order is None:
        return False
    called = (node.name.lower() for node in order.find_all(exp.Anonymous))
    return order.find(exp.Distance, exp.NullSafeEQ) is not None or not _DISTANCES.isdisjoint(called)
