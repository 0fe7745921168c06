"""What an INSERT, UPDATE or DELETE was: row by row, with its guard, what it replaced, and whether it took a task.

Source: contract 2.1, 2.3; capture.md, sections 2.1, 2.2 and 3 ("How SQL takes are seen").
"""

import itertools
from collections.abc import Sequence
from typing import Any

from noclobber.access import Access
from noclobber.contract import Attr, BaseSource, Guard, Op, Outcome, VersionKind
from noclobber.contract import WriteMode as Mode
from noclobber.stores.sql_plan import Constant, Plan, SetKind, Verb, values_of
from noclobber.stores.sql_statement import (
    COMPUTED,
    Statement,
    Target,
    aspects,
    columns_of,
    conditions_of,
    key_name,
    predicate_of,
    row_values,
    targets,
)  # fmt: skip
from noclobber.stores.sql_states import number_of, put_inserted, put_updated, state_of
from noclobber.stores.sql_units import Memory
from noclobber.stores.sql_values import print_of, state

__all__ = ["changes", "inserts"]

_unknown_rows = itertools.count(1)


# -- inserts -------------------------------------------------------------------------------------------------------


def inserts(statement: Statement, memory: Memory) -> list[Access]:
    """The writes that an INSERT was, one a row."""
    plan = statement.plan
    rows: list[tuple[Any, tuple[Any, ...]]] = [
        (parameters, row) for parameters in statement.parameters for row in plan.insert_rows or ((),)
    ]
    accesses = []
    for number, (parameters, row) in enumerate(rows):
        values = {
            column: cell.of(parameters)
            for column, cell in zip(plan.insert_columns, row, strict=False)
            if cell is not None
        }
        accesses.append(_insert(statement, number, values, parameters, memory, computed=len(values) < len(row)))
    return accesses


def _insert(
    statement: Statement, number: int, values: dict[str, Any], parameters: Any, memory: Memory, *, computed: bool
) -> Access:
    plan, table = statement.plan, statement.plan.table
    key = _inserted_key(statement, number, values)
    chosen = all(values.get(column) is not None for column in table.key)
    access = Access(Op.WRITE, "", statement.system, finds_base=not plan.upserts or not plan.sets)
    access.resource = statement.row(key) if key is not None else (
        f"{statement.container(table)}?{next(_unknown_rows)}"
    )  # fmt: skip
    attributes = access.attributes
    if key is None:
        attributes[Attr.PARTIAL] = True
        access.remembered = False
    if plan.mode is not Mode.OVERWRITE:
        attributes[Attr.WRITE_MODE] = plan.mode
        if chosen:
            attributes[Attr.GUARD] = Guard.UNIQUE
    if statement.unique or (plan.ignores and statement.rowcount == 0 and statement.outcome is None):
        access.outcome = Outcome.REJECTED
        attributes[Attr.GUARD] = Guard.UNIQUE
    if plan.upserts and plan.sets:
        _upsert(access, statement, values, parameters)
        if key is not None:
            _exactly(access, statement, Target(key, parameters))
    else:
        put_inserted(access, table, values, whole=not computed)
    if plan.upserts and _tells_more(access, statement):
        access.unseen = statement.container(table) if key is None else True
    _carry(access, memory)
    return access


def _inserted_key(statement: Statement, number: int, values: dict[str, Any]) -> tuple[Any, ...] | None:
    table = statement.plan.table
    if not table.key:
        return None
    if statement.inserted is not None and number < len(statement.inserted):
        given = statement.inserted[number]
        if given is not None and None not in given and len(given) == len(table.key):
            return given
    returning, rows = statement.plan.returning, statement.rows
    if returning is not None and rows is not None and number < len(rows):
        values = {**values, **row_values(columns_of(statement, returning), rows[number])}
    key = tuple(values.get(column) for column in table.key)
    return None if None in key else key


def _upsert(access: Access, statement: Statement, values: dict[str, Any], parameters: Any) -> None:
    """A row that may be there already: told by what is done to it then, which is the case that can lose something."""
    sets = statement.plan.sets
    if all(each.kind in COMPUTED for each in sets):
        access.op = Op.UPDATE
        access.attributes[Attr.WRITE_MODE] = mode_of(sets)
        access.part = tuple(sorted(each.column for each in sets))
        return
    new = {}
    for each in sets:
        if each.value is not None and each.kind is SetKind.VALUE:
            new[each.column] = each.value.of(parameters)
        elif each.kind is SetKind.EXCLUDED and each.column in values:
            new[each.column] = values[each.column]
    access.finds_base = True
    put_updated(access, statement, new, values_only=len(new) == len(sets))


# -- updates and deletes -------------------------------------------------------------------------------------------


def changes(statement: Statement, memory: Memory) -> list[Access]:
    """The writes, updates or deletes that an UPDATE or DELETE was."""
    rows = targets(statement)
    accesses = []
    for target in rows:
        for computed in aspects(statement.plan):
            access = _change(statement, target, memory, computed=computed)
            _settle(access, statement, target, len(rows))
            _take(access, statement, target, memory)
            access.unseen = _tells_more(access, statement)
            accesses.append(access)
    return accesses


def _tells_more(access: Access, statement: Statement) -> bool:
    """Whether RETURNING gave its author more of the row than what was written, which nobody here remembers."""
    returning = statement.plan.returning
    if returning is None or access.outcome is not Outcome.OK:
        return False
    content = statement.plan.table.content(column for _, column in columns_of(statement, returning))
    return returning.hides or not set(content) <= {each.column for each in statement.plan.sets}


def _change(statement: Statement, target: Target, memory: Memory, *, computed: bool) -> Access:
    plan, table = statement.plan, statement.plan.table
    access = Access(Op.UPDATE if computed else Op.WRITE, "", statement.system)
    access.resource = statement.container(table) if target.key is None else statement.row(target.key)
    if target.key is None:
        access.remembered = False
        access.attributes[Attr.PREDICATES] = [predicate_of(plan, target.parameters)]
        if plan.verb is not Verb.DELETE or plan.predicate:
            access.attributes[Attr.PARTIAL] = True
    access.finds_base = not computed and target.key is not None
    if plan.verb is Verb.DELETE:
        access.op = Op.DELETE
        kind = table.version_kind if table.version else VersionKind.FINGERPRINT
        access.attributes[Attr.VERSION_KIND] = kind
        access.attributes[Attr.VERSION_WRITTEN] = kind.absent
    elif computed:
        sets = [each for each in plan.sets if each.kind in COMPUTED and each.column != table.version]
        access.attributes[Attr.WRITE_MODE] = mode_of(sets)
        access.part = tuple(sorted(each.column for each in sets))
    else:
        given = {
            each.column: each.value.of(target.parameters)
            for each in plan.sets
            if each.kind is SetKind.VALUE and each.value is not None
        }
        put_updated(access, statement, given, reply=target.reply, values_only=bool(given))
    _guard(access, statement, target, memory)
    _exactly(access, statement, target)
    return access


def mode_of(sets: Sequence[Any]) -> Mode:
    kinds = {each.kind for each in sets}
    if kinds == {SetKind.INCREMENT}:
        return Mode.INCREMENT
    return Mode.APPEND if kinds == {SetKind.APPEND} else Mode.MERGE


# -- guards, what was replaced, what came of it --------------------------------------------------------------------


def _guard(access: Access, statement: Statement, target: Target, memory: Memory) -> None:
    """A condition on the version column, or on one that the statement itself changes, compares before it writes."""
    plan, table, attributes = statement.plan, statement.plan.table, access.attributes
    compared = values_of(plan.conditions, target.parameters)
    changed = {each.column for each in plan.sets}
    kind = attributes.get(Attr.VERSION_KIND)
    expected: str | None = None
    if table.version in compared and kind is not VersionKind.FINGERPRINT:
        number = number_of(table, compared)
        if number is not None:
            attributes[Attr.VERSION_KIND], expected = number
            attributes.setdefault(Attr.VERSION_WRITTEN, _counted(plan, number))
    elif kind is VersionKind.FINGERPRINT and plan.verb is Verb.UPDATE:
        states = {column: value for column, value in compared.items() if column in changed}
        expected = state(states).version if states else None
    if expected is not None:
        attributes[Attr.GUARD] = Guard.VERSION
        attributes[Attr.VERSION_EXPECTED] = expected
        if access.op is not Op.UPDATE:
            attributes[Attr.VERSION_BASE] = expected
            attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT
    elif access.resource in memory.locked or (plan.claim is not None and plan.claim.locks):
        attributes[Attr.GUARD] = Guard.LOCK
    if attributes.get(Attr.VERSION_WRITTEN) == "":
        del attributes[Attr.VERSION_WRITTEN]


def _counted(plan: Plan, expected: tuple[VersionKind, str]) -> str:
    """The version that `SET v = v + 1 .. WHERE v = expected` makes; empty where it is not known."""
    for each in plan.sets:
        if each.column == plan.table.version and each.kind is SetKind.INCREMENT and each.value == Constant(1):
            return str(int(expected[1]) + 1) if expected[1].isdigit() else ""
    return ""


def _exactly(access: Access, statement: Statement, target: Target) -> None:
    """Exact mode: the version that stood there when the write came."""
    if statement.replaced is None or target.key is None or access.op is Op.UPDATE:
        return
    table, attributes = statement.plan.table, access.attributes
    old = statement.replaced.get(key_name(table, target.key))
    if old is None or statement.outcome is not None:
        return
    if attributes.get(Attr.VERSION_KIND) != VersionKind.FINGERPRINT:
        number = number_of(table, old)
        if number is not None:
            attributes[Attr.VERSION_OVERWRITTEN] = number[1]
        return
    content = tuple(sorted(access.part_versions or ())) or table.content(old)
    if content and all(column in old for column in content):
        attributes[Attr.VERSION_OVERWRITTEN] = state_of(old, content).version


def _settle(access: Access, statement: Statement, target: Target, targets: int) -> None:
    """What the number of changed rows says about one of them."""
    plan, attributes = statement.plan, access.attributes
    rows = statement.rowcount
    if target.key is None and rows > 0:
        attributes[Attr.RESULT_COUNT] = rows
    if statement.outcome is None:
        if rows == 0:
            conditional = target.key is not None and (plan.conditions or plan.narrowed)
            access.outcome = Outcome.REJECTED if conditional else Outcome.NO_EFFECT
            attributes.pop(Attr.VERSION_OVERWRITTEN, None)
            if target.key is None:  # no row at all: nothing is left unknown
                attributes.pop(Attr.PARTIAL, None)
        elif target.key is not None and 0 < rows < targets and target.reply is None:
            attributes[Attr.PARTIAL] = True
    applied = statement.outcome is None and access.outcome is Outcome.OK
    if applied and attributes.get(Attr.GUARD) == Guard.VERSION and attributes[Attr.VERSION_KIND] != "fingerprint":
        attributes.setdefault(Attr.VERSION_OVERWRITTEN, attributes[Attr.VERSION_EXPECTED])


# -- tasks ---------------------------------------------------------------------------------------------------------


def _take(access: Access, statement: Statement, target: Target, memory: Memory) -> None:
    """A write that moves a row out of the state by which its unit picked it takes it, as a task."""
    plan = statement.plan
    if target.key is None and access.outcome is Outcome.NO_EFFECT:
        return
    if target.key is not None:
        picked = memory.selected.get(access.resource, {})
        if plan.claim is not None:
            picked = {
                column: print_of(value) for column, value in values_of(plan.claim.conditions, target.parameters).items()
            }
        elif plan.keys is None and plan.spread is None:
            picked = conditions_of(plan, target.parameters)
        if picked and (plan.verb is Verb.DELETE or _leaves(plan, picked, target.parameters)):
            access.attributes[Attr.MESSAGE_ID] = access.resource
            if statement.outcome is None and access.outcome is Outcome.OK:
                memory.message = access.resource
            return
    _carry(access, memory)


def _leaves(plan: Plan, picked: dict[str, str], parameters: Any) -> bool:
    return any(
        each.column in picked
        and (
            each.kind is not SetKind.VALUE
            or each.value is None
            or print_of(each.value.of(parameters)) != picked[each.column]
        )
        for each in plan.sets
    )


def _carry(access: Access, memory: Memory) -> None:
    """A unit that has taken a task names it on what it writes afterwards."""
    if memory.message is not None:
        access.attributes[Attr.MESSAGE_ID] = memory.message
