"""What a SELECT was: reads of the rows that it names, else a scan.

Source: contract 2.1 (`read`, `scan`); capture.md, section 2.1.
"""

from collections.abc import Sequence
from typing import Any

from noclobber.access import Access, Member
from noclobber.contract import Attr, Guard, Op, Outcome, VersionKind
from noclobber.stores.sql_plan import Source
from noclobber.stores.sql_statement import (
    RESULTS_MAX,
    Statement,
    columns_of,
    conditions_of,
    key_name,
    keys_of,
    predicate_of,
    row_values,
)  # fmt: skip
from noclobber.stores.sql_states import put_read
from noclobber.stores.sql_units import Memory
from noclobber.versions import fingerprint

__all__ = ["reads"]


def reads(statement: Statement, memory: Memory) -> list[Access]:
    """The reads or scans that a SELECT was."""
    keys = keys_of(statement)
    if keys is not None:
        return _keyed_reads(statement, keys, memory)
    accesses = []
    for source in statement.plan.sources:
        accesses += _scans(statement, source, memory)
    return accesses


def _keyed_reads(statement: Statement, keys: Sequence[tuple[Any, ...]], memory: Memory) -> list[Access]:
    plan, table = statement.plan, statement.plan.table
    columns = columns_of(statement, plan.sources[0])
    rows = [row_values(columns, row) for row in statement.rows or ()]
    known: dict[str, dict[str, Any]] = {}
    lost = table.guessed and len(rows) > len(keys)
    rows = [] if lost else rows
    for values in rows:
        if all(column in values for column in table.key):
            known[key_name(table, [values[column] for column in table.key])] = values
        elif len(keys) == 1:
            known[key_name(table, keys[0])] = values
        else:
            lost = True
    accesses = []
    container = statement.container(table)
    names = [key_name(table, key) for key in keys]
    lost = lost or not known.keys() <= {*names}  # the database takes another spelling for the same key
    for name in names:
        access = Access(Op.READ, container + name, statement.system)
        _guard_read(access, statement, memory)
        _read(access, statement, known.get(name), unknown=lost or not statement.complete)
        access.unseen = access.unseen or (plan.sources[0].hides and access.outcome is Outcome.OK)
        if access.outcome is Outcome.OK:
            memory.select(access.resource, conditions_of(plan, statement.parameters[0]))
        accesses.append(access)
    return accesses


def _read(access: Access, statement: Statement, values: dict[str, Any] | None, *, unknown: bool) -> None:
    plan, table = statement.plan, statement.plan.table
    if values:
        put_read(access, table, values)
    elif values is not None:  # a row, of which no column came back as it is
        access.remembered = False
        if plan.sources[0].hides:
            access.attributes[Attr.PARTIAL] = True
    elif statement.rows is None or unknown:
        access.attributes[Attr.PARTIAL] = True
        access.remembered = False
        access.unseen = True
    else:
        access.outcome = Outcome.NOT_FOUND
        if plan.conditions or plan.narrowed or plan.skips:
            access.remembered = False  # a row that does not fit may still be there
            return
        kind = table.version_kind if table.version else VersionKind.FINGERPRINT
        access.attributes[Attr.VERSION_KIND] = kind
        access.attributes[Attr.VERSION_READ] = kind.absent


def _guard_read(access: Access, statement: Statement, memory: Memory) -> None:
    if statement.plan.locks:
        access.attributes[Attr.GUARD] = Guard.LOCK
        if statement.transaction is not None and statement.outcome is None:
            memory.locked.add(access.resource)


def _scans(statement: Statement, source: Source, memory: Memory) -> list[Access]:
    plan, rows = statement.plan, statement.rows or ()
    size = 0 if plan.counted or statement.rows is None else len(rows)
    parts = max(1, -(-size // RESULTS_MAX))
    predicate = predicate_of(plan, statement.parameters[0])
    scan_id = fingerprint(f"{predicate}{id(statement)}{source.table.name}".encode()) if parts > 1 else ""
    accesses = []
    for part in range(parts):
        chunk = rows[part * RESULTS_MAX : (part + 1) * RESULTS_MAX] if size else ()
        access = _scan(statement, source, chunk, memory)
        access.attributes[Attr.PREDICATE] = predicate
        if parts > 1:
            access.attributes.update({Attr.SCAN_ID: scan_id, Attr.SCAN_PART: part + 1, Attr.SCAN_PARTS: parts})
        accesses.append(access)
    return accesses


def _scan(statement: Statement, source: Source, rows: Sequence[tuple[Any, ...]], memory: Memory) -> Access:
    plan, table, columns = statement.plan, source.table, columns_of(statement, source)
    access = Access(Op.SCAN, statement.container(table), statement.system)
    attributes = access.attributes
    names, versions, members = [], [], []
    conditions = conditions_of(plan, statement.parameters[0]) if table is plan.table else {}
    missing = not statement.complete or statement.rows is None
    for row in rows:
        values = row_values(columns, row)
        if not table.key or any(values.get(column) is None for column in table.key):
            missing = True
            continue
        got = Access(
            Op.READ,
            f"{statement.container(table)}{key_name(table, [values[column] for column in table.key])}",
            statement.system,
        )
        put_read(got, table, values)
        if got.resource in names:
            continue
        version = str(got.attributes[Attr.VERSION_READ])
        names.append(got.resource)
        versions.append(version)
        members.append(Member(got.resource, version, got.part, got.part_versions))
        attributes[Attr.VERSION_KIND] = got.attributes[Attr.VERSION_KIND]
        attributes[Attr.VERSION_VERBATIM] = False
        access.part = got.part
        memory.select(got.resource, conditions)
        if plan.locks and statement.transaction is not None:
            memory.locked.add(got.resource)
    access.members = tuple(members)
    access.unseen = missing or (source.hides and statement.outcome is None)
    if statement.rows is not None or not statement.complete:
        attributes[Attr.RESULT_RESOURCES], attributes[Attr.RESULT_VERSIONS] = names, versions
    if statement.rows is not None:
        attributes[Attr.RESULT_COUNT] = len(rows) if not plan.counted else len(statement.rows)
    if missing or plan.counted:
        attributes[Attr.PARTIAL] = True
    if missing or plan.counted or plan.near:
        attributes[Attr.SCAN_APPROXIMATE] = True
    if plan.locks:
        attributes[Attr.GUARD] = Guard.LOCK
    return access
