"""From a statement that ran (plan, values, rows) to the contract's accesses.

How many accesses a statement is must be known in the caller's thread, since sequence numbers are taken there:
`count` looks at keys and rows only. What they are (`describe`) is worked out in the drain: names, prints, guards,
takes. A write that gives some columns values and lets the database compute others from what stands there is two
accesses with parts of their own: the second can't lose anything.

Source: contract 2, 2.1, 2.3; capture.md, sections 2.1 and 3.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noclobber.access import Access, AttributeValue, Call, Member
from noclobber.contract import ABSENT, ABSENT_NUMBER, Attr, BaseSource, Guard, Op, Outcome, UnitKind, VersionKind
from noclobber.contract import WriteMode as Mode
from noclobber.resources import quoted
from noclobber.stores.sql_plan import Constant, Plan, SetKind, Source, Verb, values_of
from noclobber.stores.sql_tables import Catalogue, Table
from noclobber.stores.sql_units import Memory, Transaction, memory_of
from noclobber.stores.sql_values import Kept, State, name_of_key, print_of, state
from noclobber.versions import fingerprint

__all__ = ["RESULTS_MAX", "ROWS_MAX", "Statement", "boundary", "count", "describe", "key_name"]

RESULTS_MAX: Final = 64
"""Results in one scan's span."""
ROWS_MAX: Final = 4096
"""Rows of one reply that are looked at; a scan of more is partial."""
COMPUTED: Final = frozenset({SetKind.INCREMENT, SetKind.APPEND, SetKind.EXPRESSION})
GIVEN: Final = frozenset({SetKind.VALUE, SetKind.EXCLUDED})
_unknown_rows = iter(range(1, 1 << 62))


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
        peer: address of the server. verbatim: columns that come back as they were sent.
        catalogue: where tables are known. attributes: put on each access as they are.
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
    verbatim: frozenset[str] = frozenset()
    catalogue: Catalogue | None = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)

    def row(self, key: Sequence[Any]) -> str:
        """Name of the row with `key`."""
        return f"{self.place}/{quoted(self.plan.table.name)}/{key_name(self.plan.table, key)}"

    def container(self, table: Table) -> str:
        """Name of all rows of `table`."""
        return f"{self.place}/{quoted(table.name)}/"


def key_name(table: Table, key: Sequence[Any]) -> str:
    """The last part of a row's name: `id=1`, or `a=1,b=2` in the key's own order."""
    return ",".join(
        f"{quoted(column)}={quoted(name_of_key(value))}" for column, value in zip(table.key, key, strict=True)
    )


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
            return len(_targets(statement)) * len(_aspects(plan))
    return 1


def _count_reads(statement: Statement) -> int:
    keys = _keys(statement)
    if keys is not None:
        return len(keys)
    rows = 0 if statement.plan.counted or statement.rows is None else len(statement.rows)
    return max(1, -(-rows // RESULTS_MAX)) * len(statement.plan.sources)


def _keys(statement: Statement) -> list[tuple[Any, ...]] | None:
    """Keys that the statement names, for all its parameters; a key of NULL names nothing."""
    found: list[tuple[Any, ...]] = []
    for parameters in statement.parameters:
        keys = statement.plan.keys_of(parameters)
        if keys is None:
            return None
        found += [key for key in keys if None not in key]
    return found


# -- what they are -------------------------------------------------------------------------------------------------


def describe(call: Call, statement: Statement) -> list[Access]:
    """The accesses that `statement` was, in the order of their numbers."""
    memory = memory_of(call, statement.transaction)
    match statement.plan.verb:
        case Verb.SELECT:
            accesses = _reads(statement, memory)
        case Verb.INSERT:
            accesses = _inserts(statement, memory)
        case Verb.UPDATE | Verb.DELETE:
            accesses = _changes(statement, memory)
        case Verb.TRUNCATE:
            accesses = [_emptied(statement)]
        case _:
            accesses = [_unknown(statement)]
    for access in accesses:
        if not statement.plan.known:
            access.attributes[Attr.PARTIAL] = True
        if statement.outcome is not None and access.outcome is not Outcome.REJECTED:
            access.outcome = statement.outcome
        _place(access, statement)
    return accesses


def boundary(op: Op, statement: Statement, outcome: Outcome, savepoint: str = "") -> Access:
    """A `begin`, `commit` or `abort`; `savepoint`: the path that an abort takes back."""
    statement.savepoint = savepoint
    access = Access(op, statement.place, statement.system, outcome, remembered=False)
    _place(access, statement)
    return access


def _place(access: Access, statement: Statement) -> None:
    attributes, transaction = access.attributes, statement.transaction
    attributes.update(statement.attributes)
    if statement.peer:
        attributes[Attr.PEER_ADDRESS] = statement.peer
    if transaction is None:
        return
    attributes[Attr.TXN_ID] = attributes[Attr.UNIT] = transaction.id
    attributes[Attr.UNIT_KIND] = UnitKind.TXN
    if transaction.isolation:
        attributes[Attr.TXN_ISOLATION] = transaction.isolation
    if statement.savepoint:
        attributes[Attr.TXN_SAVEPOINT] = statement.savepoint
    if transaction.isolation == "serializable":
        attributes.setdefault(Attr.GUARD, Guard.SERIALIZABLE)


# -- reads ---------------------------------------------------------------------------------------------------------


def _reads(statement: Statement, memory: Memory) -> list[Access]:
    keys = _keys(statement)
    if keys is not None:
        return _keyed_reads(statement, keys, memory)
    accesses = []
    for source in statement.plan.sources:
        accesses += _scans(statement, source, memory)
    return accesses


def _columns(statement: Statement, source: Source) -> tuple[tuple[int, str], ...]:
    if source.star and statement.names is not None:
        return tuple(enumerate(statement.names))
    return source.columns


def _row_values(columns: Iterable[tuple[int, str]], row: Sequence[Any]) -> dict[str, Any]:
    return {column: row[at] for at, column in columns if at < len(row)}


def _keyed_reads(statement: Statement, keys: Sequence[tuple[Any, ...]], memory: Memory) -> list[Access]:
    plan, table = statement.plan, statement.plan.table
    columns = _columns(statement, plan.sources[0])
    rows = [_row_values(columns, row) for row in statement.rows or ()]
    known: dict[str, dict[str, Any]] = {}
    lost = False
    for values in rows:
        if all(column in values for column in table.key):
            known[key_name(table, [values[column] for column in table.key])] = values
        elif len(keys) == 1:
            known[key_name(table, keys[0])] = values
        else:
            lost = True
    accesses = []
    for key in keys:
        access = Access(Op.READ, statement.row(key), statement.system)
        _guard_read(access, statement, memory)
        _read(access, statement, known.get(key_name(table, key)), unknown=lost or not statement.complete)
        if access.outcome is Outcome.OK:
            memory.select(access.resource, _conditions(plan, statement.parameters[0]))
        accesses.append(access)
    return accesses


def _read(access: Access, statement: Statement, values: dict[str, Any] | None, *, unknown: bool) -> None:
    plan, table = statement.plan, statement.plan.table
    if values is not None:
        _got(access, table, values)
    elif statement.rows is None or unknown:
        access.attributes[Attr.PARTIAL] = True
        access.remembered = False
    else:
        access.outcome = Outcome.NOT_FOUND
        if plan.conditions or plan.narrowed or plan.skips:
            access.remembered = False  # a row that does not fit may still be there
            return
        kind = table.version_kind if table.version else VersionKind.FINGERPRINT
        access.attributes[Attr.VERSION_KIND] = kind
        access.attributes[Attr.VERSION_READ] = kind.absent


def _got(access: Access, table: Table, values: dict[str, Any]) -> None:
    """Put the state of a row that was read on `access`."""
    content = table.content(values)
    number = _number(table, values)
    if number is not None:
        _count_version(access, table, number, Attr.VERSION_READ, values, Attr.CONTENT_READ)
        return
    columns = content or tuple(sorted(values))
    found = _state(values, columns)
    access.part = () if table.is_whole(content) and table.version is None else columns
    access.part_versions = found.parts
    access.attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    access.attributes[Attr.VERSION_READ] = found.version
    if found.weak:
        access.attributes[Attr.VERSION_WEAK] = True
    _facts(access.attributes, found)


def _count_version(
    access: Access, table: Table, number: tuple[VersionKind, str], name: str, values: dict[str, Any], content_name: str
) -> None:
    """A row with a version column: the number is the whole row's, so there is no part; content only if it is all."""
    access.attributes[Attr.VERSION_KIND], access.attributes[name] = number
    content = table.content(values)
    if content and table.is_whole(content):
        found = _state(values, content)
        access.attributes[content_name] = found.version
        _facts(access.attributes, found)


def _state(values: dict[str, Any], columns: Sequence[str]) -> State:
    return state({column: values[column] for column in columns})


def _facts(attributes: dict[str, AttributeValue], found: State, *, request: bool = True) -> None:
    attributes[Attr.SIZE] = found.size
    if found.numeric:
        attributes[Attr.CONTENT_NUMERIC] = True
    if request:
        attributes[Attr.VERSION_VERBATIM] = False


def _number(table: Table, values: dict[str, Any]) -> tuple[VersionKind, str] | None:
    """Kind and value of the version column in a row, None where there is none."""
    if table.version is None or values.get(table.version) is None:
        return None
    value = values[table.version]
    if type(value) is int and value >= 0:
        return table.version_kind, str(value)
    return VersionKind.CHAIN, print_of(value) if isinstance(value, Kept) else name_of_key(value)


def _guard_read(access: Access, statement: Statement, memory: Memory) -> None:
    if statement.plan.locks:
        access.attributes[Attr.GUARD] = Guard.LOCK
        if statement.transaction is not None and statement.outcome is None:
            memory.locked.add(access.resource)


def _scans(statement: Statement, source: Source, memory: Memory) -> list[Access]:
    plan, rows = statement.plan, statement.rows or ()
    size = 0 if plan.counted or statement.rows is None else len(rows)
    parts = max(1, -(-size // RESULTS_MAX))
    predicate = _predicate(plan, statement.parameters[0])
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
    plan, table, columns = statement.plan, source.table, _columns(statement, source)
    access = Access(Op.SCAN, statement.container(table), statement.system)
    attributes = access.attributes
    names, versions, members = [], [], []
    conditions = _conditions(plan, statement.parameters[0]) if table is plan.table else {}
    missing = not statement.complete or statement.rows is None
    for row in rows:
        values = _row_values(columns, row)
        if not table.key or any(values.get(column) is None for column in table.key):
            missing = True
            continue
        got = Access(
            Op.READ,
            f"{statement.container(table)}{key_name(table, [values[column] for column in table.key])}",
            statement.system,
        )
        _got(got, table, values)
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
    if statement.rows is not None or not statement.complete:
        attributes[Attr.RESULT_RESOURCES], attributes[Attr.RESULT_VERSIONS] = names, versions
    if statement.rows is not None:
        attributes[Attr.RESULT_COUNT] = len(rows) if not plan.counted else len(statement.rows)
    if missing or plan.counted:
        attributes[Attr.PARTIAL] = True
        attributes[Attr.SCAN_APPROXIMATE] = True
    if plan.locks:
        attributes[Attr.GUARD] = Guard.LOCK
    return access


def _predicate(plan: Plan, parameters: Any) -> str:
    """Keyed hash of the normalised predicate; `*` where there is none."""
    if not plan.predicate:
        return "*"
    parts = [f"{template}\x00" + "\x00".join(print_of(value.of(parameters)) for value in values)
             for template, values in plan.predicate]  # fmt: skip
    return fingerprint("\x01".join(sorted(parts)).encode())


def _conditions(plan: Plan, parameters: Any) -> dict[str, str]:
    return {column: print_of(value) for column, value in values_of(plan.conditions, parameters).items()}


# -- inserts -------------------------------------------------------------------------------------------------------


def _inserts(statement: Statement, memory: Memory) -> list[Access]:
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
        return _upsert(access, statement, values, parameters, memory)
    _made(access, table, values, whole=not computed)
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
        values = {**values, **_row_values(_columns(statement, returning), rows[number])}
    key = tuple(values.get(column) for column in table.key)
    return None if None in key else key


def _made(access: Access, table: Table, values: dict[str, Any], *, whole: bool) -> None:
    """Put the state of a new row on `access`."""
    content, attributes = table.content(values), access.attributes
    number = _number(table, values)
    if number is not None:
        _count_version(access, table, number, Attr.VERSION_WRITTEN, values, Attr.CONTENT_WRITTEN)
        return
    attributes[Attr.VERSION_KIND] = table.version_kind if table.version else VersionKind.FINGERPRINT
    if table.version is not None or not content:
        return
    found = _state(values, content)
    if whole and (table.columns is None or table.is_whole(content)):
        attributes[Attr.VERSION_WRITTEN] = found.version
        if found.weak:
            attributes[Attr.VERSION_WEAK] = True
    access.part_versions = found.parts
    _facts(attributes, found)


def _upsert(access: Access, statement: Statement, values: dict[str, Any], parameters: Any, memory: Memory) -> Access:
    """A row that may be there already: told by what is done to it then, which is the case that can lose something."""
    sets = statement.plan.sets
    if all(each.kind in COMPUTED for each in sets):
        access.op = Op.UPDATE
        access.attributes[Attr.WRITE_MODE] = _mode(sets)
        access.part = tuple(sorted(each.column for each in sets))
        _carry(access, memory)
        return access
    new = {}
    for each in sets:
        if each.value is not None and each.kind is SetKind.VALUE:
            new[each.column] = each.value.of(parameters)
        elif each.kind is SetKind.EXCLUDED and each.column in values:
            new[each.column] = values[each.column]
    access.finds_base = True
    _wrote(access, statement, new, values_only=len(new) == len(sets))
    _carry(access, memory)
    return access


# -- updates and deletes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
    """One row that a write touches: its key (None: rows that are not known), its parameters, and its reply."""

    key: tuple[Any, ...] | None
    parameters: Any
    reply: dict[str, Any] | None = None


def _targets(statement: Statement) -> list[_Target]:
    plan = statement.plan
    targets = []
    for parameters in statement.parameters:
        keys = plan.keys_of(parameters)
        if keys is not None:
            replies = _replies(statement) if len(statement.parameters) == 1 else {}
            targets += [
                _Target(key, parameters, replies.get(key_name(plan.table, key))) for key in keys if None not in key
            ]
    if targets or plan.keys is not None or plan.spread is not None:
        return targets
    replies = _replies(statement)
    if replies:
        return [_Target(tuple(values[column] for column in plan.table.key), statement.parameters[0], values)
                for values in replies.values()]  # fmt: skip
    return [_Target(None, statement.parameters[0])]


def _replies(statement: Statement) -> dict[str, dict[str, Any]]:
    """Rows that came back by RETURNING, by key."""
    plan, table = statement.plan, statement.plan.table
    if plan.returning is None or not table.key:
        return {}
    columns = _columns(statement, plan.returning)
    found = {}
    for row in statement.rows or ():
        values = _row_values(columns, row)
        if all(values.get(column) is not None for column in table.key):
            found[key_name(table, [values[column] for column in table.key])] = values
    return found


def _aspects(plan: Plan) -> tuple[bool, ...]:
    """The accesses that one changed row is: values given by the caller (False), computed from what stands there (True)."""
    if plan.verb is Verb.DELETE:
        return (False,)
    sets = [each for each in plan.sets if each.column != plan.table.version]
    computed = any(each.kind in COMPUTED for each in sets)
    given = any(each.kind in GIVEN for each in sets)
    return (False, True) if computed and given else (computed,)


def _changes(statement: Statement, memory: Memory) -> list[Access]:
    targets = _targets(statement)
    accesses = []
    for target in targets:
        for computed in _aspects(statement.plan):
            access = _change(statement, target, memory, computed=computed)
            _settle(access, statement, target, len(targets))
            _take(access, statement, target, memory)
            accesses.append(access)
    return accesses


def _change(statement: Statement, target: _Target, memory: Memory, *, computed: bool) -> Access:
    plan, table = statement.plan, statement.plan.table
    access = Access(Op.UPDATE if computed else Op.WRITE, "", statement.system)
    access.resource = statement.container(table) if target.key is None else statement.row(target.key)
    if target.key is None:
        access.remembered = False
        access.attributes[Attr.PREDICATES] = [_predicate(plan, target.parameters)]
        if plan.verb is not Verb.DELETE or plan.predicate:
            access.attributes[Attr.PARTIAL] = True
    access.finds_base = not computed and target.key is not None
    if plan.verb is Verb.DELETE:
        access.op = Op.DELETE
        kind = table.version_kind if table.version else VersionKind.FINGERPRINT
        access.attributes[Attr.VERSION_KIND] = kind
        access.attributes[Attr.VERSION_WRITTEN] = ABSENT_NUMBER if kind.absent == ABSENT_NUMBER else ABSENT
    elif computed:
        sets = [each for each in plan.sets if each.kind in COMPUTED and each.column != table.version]
        access.attributes[Attr.WRITE_MODE] = _mode(sets)
        access.part = tuple(sorted(each.column for each in sets))
    else:
        given = {
            each.column: each.value.of(target.parameters)
            for each in plan.sets
            if each.kind is SetKind.VALUE and each.value is not None
        }
        _wrote(access, statement, given, reply=target.reply, values_only=bool(given))
    _guard(access, statement, target, memory)
    _exactly(access, statement, target)
    return access


def _mode(sets: Sequence[Any]) -> Mode:
    kinds = {each.kind for each in sets}
    if kinds == {SetKind.INCREMENT}:
        return Mode.INCREMENT
    return Mode.APPEND if kinds == {SetKind.APPEND} else Mode.MERGE


def _wrote(
    access: Access, statement: Statement, given: dict[str, Any], *, values_only: bool,
    reply: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Put the columns that an UPDATE gives new values on `access`."""
    table, attributes = statement.plan.table, access.attributes
    content = table.content(given)
    if any(each.column == table.version for each in statement.plan.sets):
        number = _number(table, given)
        attributes[Attr.VERSION_KIND] = table.version_kind
        if number is not None:
            _count_version(access, table, number, Attr.VERSION_WRITTEN, given, Attr.CONTENT_WRITTEN)
        return
    others = tuple(sorted(each.column for each in statement.plan.sets))
    access.part = () if table.is_whole(content) and table.version is None else content or others
    attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    if not content or not values_only:
        return
    answered = reply is not None and all(column in reply for column in content)
    found = _state(reply if answered and reply is not None else given, content)
    attributes[Attr.VERSION_WRITTEN] = found.version
    if found.weak:
        attributes[Attr.VERSION_WEAK] = True
    access.part_versions = found.parts
    _facts(attributes, found, request=not answered and not statement.verbatim.issuperset(content))


def _guard(access: Access, statement: Statement, target: _Target, memory: Memory) -> None:
    """A predicate on the version column, or on a column that the statement itself changes, compares before it writes."""
    plan, table, attributes = statement.plan, statement.plan.table, access.attributes
    compared = values_of(plan.conditions, target.parameters)
    changed = {each.column for each in plan.sets}
    kind = attributes.get(Attr.VERSION_KIND)
    expected: str | None = None
    if table.version in compared and kind is not VersionKind.FINGERPRINT:
        number = _number(table, compared)
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


def _exactly(access: Access, statement: Statement, target: _Target) -> None:
    """Exact mode: the version that stood there when the write came."""
    if statement.replaced is None or target.key is None or access.op is Op.UPDATE:
        return
    table, attributes = statement.plan.table, access.attributes
    old = statement.replaced.get(key_name(table, target.key))
    if old is None or statement.outcome is not None:
        return
    if attributes.get(Attr.VERSION_KIND) != VersionKind.FINGERPRINT:
        number = _number(table, old)
        if number is not None:
            attributes[Attr.VERSION_OVERWRITTEN] = number[1]
        return
    content = tuple(sorted(access.part_versions or ())) or table.content(old)
    if content and all(column in old for column in content):
        attributes[Attr.VERSION_OVERWRITTEN] = _state(old, content).version


def _settle(access: Access, statement: Statement, target: _Target, targets: int) -> None:
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
        elif target.key is not None and 0 < rows < targets and target.reply is None:
            attributes[Attr.PARTIAL] = True
    applied = statement.outcome is None and access.outcome is Outcome.OK
    if applied and attributes.get(Attr.GUARD) == Guard.VERSION and attributes[Attr.VERSION_KIND] != "fingerprint":
        attributes.setdefault(Attr.VERSION_OVERWRITTEN, attributes[Attr.VERSION_EXPECTED])


def _take(access: Access, statement: Statement, target: _Target, memory: Memory) -> None:
    """A write that moves a row out of the state by which its unit picked it takes it, as a task."""
    plan = statement.plan
    if target.key is not None:
        picked = memory.selected.get(access.resource, {})
        if plan.claim is not None:
            picked = {
                column: print_of(value) for column, value in values_of(plan.claim.conditions, target.parameters).items()
            }
        elif plan.keys is None and plan.spread is None:
            picked = _conditions(plan, target.parameters)
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


# -- the rest ------------------------------------------------------------------------------------------------------


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
        attributes={Attr.WRITE_MODE: Mode.MERGE, Attr.PARTIAL: True},
    )
