"""Plans: which rows a statement touches, under which conditions, how it changes them."""

from typing import Any

import pytest

from noclobber.contract import WriteMode
from noclobber.stores.sql_plan import Bind, Constant, Plan, Set, SetKind, Verb
from noclobber.stores.sql_planner import Planner
from noclobber.stores.sql_tables import Catalogue, Table

VALUE, INCREMENT, APPEND = SetKind.VALUE, SetKind.INCREMENT, SetKind.APPEND


def planned(text: str, *tables: Table, dialect: str = "postgresql", style: str = "named") -> Plan:
    catalogue = Catalogue()
    for table in tables:
        catalogue.learn(table)
    return Planner(dialect, style, catalogue).plan(text)


SEATS = Table("seats", ("hall", "number"), ("hall", "number", "guest"), guessed=False)


def test_select_by_key() -> None:
    """A keyed SELECT names its row, and its labels lead back to columns."""
    plan = planned("SELECT a.id AS a_id, a.bal AS a_bal, a.bal + 1 AS more FROM accounts AS a WHERE a.id = :id")
    assert plan.verb is Verb.SELECT
    assert plan.table.name == "accounts"
    assert plan.keys == ((Bind("id"),),)
    assert plan.sources[0].columns == ((0, "id"), (1, "bal"))
    assert plan.known


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("id = 7", ((Constant(7),),)),
        ("7 = id", ((Constant(7),),)),
        ("(id = :a)", ((Bind("a"),),)),
        ("id IN (:a, 2)", ((Bind("a"),), (Constant(2),))),
        ("id = CAST(:a AS INTEGER)", ((Bind("a"),),)),
        ("id = -1", ((Constant(-1),),)),
        ("id > :a", None),
        ("id = :a OR id = :b", None),
        ("bal = :a", None),
        ("id = other", None),
        ("id NOT IN (1)", None),
    ],
)
def test_keys(where: str, keys: Any) -> None:
    """Only equality with values that the statement or its parameters give names rows."""
    assert planned(f"SELECT id, bal FROM accounts WHERE {where}").keys == keys


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        ("SELECT id, bal FROM accounts", False),
        ("SELECT * FROM accounts", False),
        ("SELECT bal, bal + 1 FROM accounts", False),
        ("SELECT id + 1 FROM accounts", False),
        ("SELECT 1 FROM accounts", False),
        ("SELECT count(*), count(bal) FROM accounts", False),
        ("SELECT bal + 1 FROM accounts", True),
        ("SELECT max(bal) AS bal FROM accounts", True),
        ("SELECT id, (SELECT bal FROM accounts b WHERE b.id = a.id) FROM accounts a", True),
        ("WITH x AS (SELECT * FROM accounts) SELECT bal FROM x", True),
        ("SELECT bal FROM accounts; SELECT 1", True),
    ],
)
def test_what_the_output_hides(text: str, hides: bool) -> None:
    """What an expression tells of a row, and no column shows."""
    (source,) = planned(text).sources
    assert source.hides is hides


def test_a_join_hides_its_own() -> None:
    """Only the table whose columns are computed with; where the text does not say whose they are, each."""
    sources = planned("SELECT a.id, a.bal + 1 FROM accounts a JOIN jobs j ON j.id = a.id").sources
    assert [source.hides for source in sources] == [True, False]
    sources = planned("SELECT bal + 1 FROM accounts a JOIN jobs j ON j.id = a.id").sources
    assert [source.hides for source in sources] == [True, True]


def test_calls() -> None:
    """A stored procedure may look at anything."""
    assert planned("call transfer(1, 2)").verb is Verb.CALL


@pytest.mark.parametrize(
    ("order", "near"),
    [("place <-> :v", True), ("place <=> :v", True), ("l2_distance(place, :v) DESC", True), ("place", False)],
)
def test_order_by_distance(order: str, near: bool) -> None:
    """Rows by their distance to a vector are found approximately, and another vector is another question."""
    plan = planned(f"SELECT id FROM accounts ORDER BY {order} LIMIT 5")
    assert plan.near is near
    assert any(Bind("v") in values for _, values in plan.predicate) is near


def test_any() -> None:
    """`= ANY(:list)` names as many rows as the list has."""
    plan = planned("SELECT id FROM accounts WHERE id = ANY(:ids)")
    assert plan.keys_of({"ids": (3, 4, 3)}) == ((3,), (4,))


def test_composite_key() -> None:
    """All columns of a key have to be given, in whatever order; a part of it is a condition."""
    plan = planned("SELECT guest FROM seats WHERE number = :n AND hall = :h", SEATS)
    assert plan.keys == ((Bind("h"), Bind("n")),)
    assert planned("SELECT guest FROM seats WHERE (number, hall) = (:n, :h)", SEATS).keys == plan.keys
    part = planned("SELECT guest FROM seats WHERE hall = :h", SEATS)
    assert (part.keys, part.conditions) == (None, (("hall", Bind("h")),))


def test_conditions_beside_a_key() -> None:
    """What else must hold is told apart: equal values as conditions, anything else as narrowing."""
    plan = planned("UPDATE jobs SET status = 'running' WHERE id = :i AND status = 'new' AND tries < 3")
    assert plan.keys == ((Bind("i"),),)
    assert plan.conditions == (("status", Constant("new")),)
    assert plan.narrowed


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("bal = :b", Set("bal", VALUE, Bind("b"))),
        ("bal = bal + :b", Set("bal", INCREMENT, Bind("b"))),
        ("bal = :b + bal", Set("bal", INCREMENT, Bind("b"))),
        ("bal = (bal - 5)", Set("bal", INCREMENT, Constant(5))),
        ("bal = a.bal + :b", Set("bal", INCREMENT, Bind("b"))),
        ("log = log || :b", Set("log", APPEND, Bind("b"))),
        ("bal = 5 - bal", Set("bal", SetKind.EXPRESSION)),
        ("bal = other + 1", Set("bal", SetKind.EXPRESSION)),
        ("bal = bal + other", Set("bal", SetKind.EXPRESSION)),
        ("at = now()", Set("at", SetKind.FUNCTION)),
        ("bal = NULL", Set("bal", VALUE, Constant(None))),
        ("bal = (SELECT max(bal) FROM accounts)", Set("bal", SetKind.EXPRESSION)),
    ],
)
def test_assignments(assignment: str, expected: Set) -> None:
    """A value given, a value counted on from what stands there, and a value computed are three different writes."""
    assert planned(f"UPDATE accounts a SET {assignment} WHERE a.id = 1").sets == (expected,)


def test_insert() -> None:
    """Rows, columns and what comes back."""
    plan = planned("INSERT INTO jobs (id, status) VALUES (:a, 'new'), (8, upper(:c)) RETURNING id")
    assert plan.insert_columns == ("id", "status")
    assert plan.insert_rows == ((Bind("a"), Constant("new")), (Constant(8), None))
    assert plan.mode is WriteMode.INSERT
    assert plan.returning is not None
    assert plan.returning.columns == ((0, "id"),)


def test_insert_in_order() -> None:
    """SQLAlchemy's way to insert many rows in order still gives each row its values."""
    plan = planned(
        "INSERT INTO t (a, b) SELECT p0::INTEGER, p1::VARCHAR FROM (VALUES (:a::INTEGER, :b::VARCHAR, 0)) "
        "AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING t.id, t.id AS id__1"
    )
    assert plan.insert_rows == ((Bind("a"), Bind("b")),)
    assert plan.known


@pytest.mark.parametrize(
    ("text", "upserts", "ignores"),
    [
        ("INSERT INTO t (id, a) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET a = excluded.a", True, False),
        ("INSERT INTO t (id, a) VALUES (1, 2) ON CONFLICT DO NOTHING", False, True),
        ("INSERT OR REPLACE INTO t (id, a) VALUES (1, 2)", True, False),
        ("REPLACE INTO t (id, a) VALUES (1, 2)", True, False),
        ("INSERT OR IGNORE INTO t (id, a) VALUES (1, 2)", False, True),
        ("INSERT INTO t (id, a) VALUES (1, 2)", False, False),
    ],
)
def test_upserts(text: str, upserts: bool, ignores: bool) -> None:
    """What happens to a row that is there already."""
    plan = planned(text, dialect="sqlite")
    assert (plan.upserts, plan.ignores, plan.known) == (upserts, ignores, True)


def test_excluded() -> None:
    """An upsert that adds up loses nothing; one that sets what it would have inserted does."""
    plan = planned(
        "INSERT INTO t (id, a, b) VALUES (1, 2, 3) ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = t.b + 1"
    )
    assert plan.sets == (Set("a", SetKind.EXCLUDED), Set("b", INCREMENT, Constant(1)))


def test_claim() -> None:
    """A write that picks its row by a sub-select knows why it was picked, and whether it was locked."""
    plan = planned(
        "UPDATE jobs SET status = 'running' WHERE id = (SELECT id FROM jobs WHERE status = :s "
        "ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id"
    )
    assert plan.claim is not None
    assert plan.claim.conditions == (("status", Bind("s")),)
    assert plan.claim.locks
    assert plan.keys is None
    assert plan.known
    unlocked = planned("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE status = 'new' LIMIT 1)")
    assert unlocked.claim is not None
    assert not unlocked.claim.locks


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE jobs SET status = 'x' FROM n WHERE jobs.id = n.id RETURNING jobs.id",
        "UPDATE jobs SET status = 'x' WHERE id IN (SELECT id FROM n) RETURNING id",
        "DELETE FROM jobs USING n WHERE jobs.id = n.id RETURNING jobs.id",
    ],
)
def test_claim_by_with(text: str) -> None:
    """The query that picks may stand in WITH."""
    picks = "WITH n AS (SELECT id FROM jobs WHERE status = 'new' LIMIT 1 FOR UPDATE SKIP LOCKED) "
    plan = planned(picks + text)
    assert plan.claim is not None
    assert plan.claim.conditions == (("status", Constant("new")),)
    assert plan.claim.locks
    assert plan.known


def test_locks() -> None:
    """FOR UPDATE locks, FOR SHARE does not guard a write, SKIP LOCKED may pass rows over."""
    assert planned("SELECT id FROM jobs WHERE id = 1 FOR UPDATE").locks
    assert not planned("SELECT id FROM jobs WHERE id = 1 FOR SHARE").locks
    assert planned("SELECT id FROM jobs WHERE id = 1 FOR UPDATE SKIP LOCKED").skips
    assert not planned("SELECT id FROM jobs WHERE id = 1 FOR UPDATE").skips


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(*) FROM jobs WHERE status = 'new'",
        "SELECT status, max(id) FROM jobs GROUP BY status",
    ],
)
def test_counted(text: str) -> None:
    """A result that is computed from many rows names none of them."""
    assert planned(text).counted


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM jobs UNION SELECT id FROM old_jobs",
        "WITH x AS (SELECT id FROM jobs) SELECT id FROM x",
        "SELECT id FROM jobs WHERE EXISTS (SELECT 1 FROM accounts)",
        "UPDATE jobs SET status = 'x' FROM accounts WHERE jobs.id = accounts.id",
        "MERGE INTO jobs USING new ON jobs.id = new.id WHEN MATCHED THEN UPDATE SET status = 'x'",
        "INSERT INTO jobs (id) SELECT id FROM old_jobs",
        "UPDATE jobs SET (status, worker) = (SELECT 1, 2) WHERE id = 1",
    ],
)
def test_not_known_fully(text: str) -> None:
    """What the planner can't follow to the row it says so."""
    plan = planned(text)
    assert plan.verb is not Verb.NOTHING
    assert not plan.known


def test_unreadable() -> None:
    """A statement that no parser understands still names its first table."""
    plan = planned("UPDATE jobs SET ~~ nonsense ((")
    assert (plan.verb, plan.table.name, plan.known) == (Verb.UNKNOWN, "jobs", False)


@pytest.mark.parametrize(
    "text",
    ["SELECT 1", "SELECT pg_catalog.version()", "SELECT relname FROM pg_catalog.pg_class", "SHOW x", "VACUUM", "", ";",
     "SELECT name FROM sqlite_master", "CREATE INDEX a ON b (c)"],
)  # fmt: skip
def test_nothing(text: str) -> None:
    """Statements that touch no agent's state."""
    assert planned(text).verb is Verb.NOTHING


def test_create_table_tells_the_key() -> None:
    """A CREATE TABLE that passes by is learnt from, and earlier plans are made anew."""
    planner = Planner("sqlite", "qmark", Catalogue())
    text = "SELECT guest FROM Seats WHERE hall = ? AND number = ?"
    assert planner.plan(text).keys is None
    planner.plan("CREATE TABLE seats (hall text, number int, guest text, PRIMARY KEY (hall, number))")
    assert planner.plan(text).keys == ((Bind(0), Bind(1)),)
    assert planner.catalogue["seats"].columns == ("hall", "number", "guest")


def test_version_column_is_learnt() -> None:
    """A statement that counts on the very column that it compares shows a version column."""
    planner = Planner("postgresql", "named", Catalogue())
    assert planner.catalogue["docs"].version is None
    planner.plan("UPDATE docs SET text = :t, rev = rev + 1 WHERE id = :i AND rev = :r")
    assert planner.catalogue["docs"].version == "rev"


def test_schemas() -> None:
    """The default schema is no part of a name; others are."""
    assert planned("SELECT id FROM public.jobs").table.name == "jobs"
    assert planned("SELECT id FROM sales.jobs").table.name == "sales.jobs"
    assert planned('SELECT id FROM "Jobs"').table.name == "Jobs"
    assert planned("SELECT id FROM JOBS").table.name == "jobs"
    planner = Planner("postgresql", "named", Catalogue(), "sales")
    assert planner.plan("SELECT id FROM jobs").table.name == "sales.jobs"


def test_predicates_are_normalised() -> None:
    """Order, qualifiers and spelling of a predicate make no difference; values stay out of its text."""
    one = planned("SELECT id FROM jobs WHERE status = 'new' AND worker = :w")
    other = planned("SELECT j.id FROM jobs j WHERE (j.worker = :w) AND j.status='new'")
    assert one.predicate == other.predicate
    assert "new" not in repr([template for template, _ in one.predicate])


def test_plans_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is planned once; at the limit all plans are made anew."""
    monkeypatch.setattr("noclobber.stores.sql_planner.PLANS_MAX", 3)
    planner = Planner("sqlite", "qmark", Catalogue())
    first = planner.plan("SELECT id FROM t0")
    assert planner.plan("SELECT id FROM t0") is first
    for number in range(1, 4):
        planner.plan(f"SELECT id FROM t{number}")
    assert planner.known("SELECT id FROM t0") is None


def test_long_statements_are_not_parsed() -> None:
    """A text beyond the limit costs no parse: its table is told, as partial."""
    plan = planned("UPDATE jobs SET status = '" + "x" * 70_000 + "' WHERE id = 1")
    assert (plan.verb, plan.table.name, plan.known) == (Verb.UNKNOWN, "jobs", False)
