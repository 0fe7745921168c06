"""SQLAlchemy, sync, on SQLite and PostgreSQL: what statements, rows and transactions become."""

import pytest
from sql_stage import (
    ACCOUNTS,
    JOBS,
    SEATS,
    Document,
    Note,
    accesses,
    engine,
    postgres_url,
    printed,
    row_of,
)  # fmt: skip
from sqlalchemy import Engine, bindparam, delete, exc, func, insert, select, text, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from noclobber.testing import capture

__all__ = ["engine", "postgres_url"]

VERSION = {"version.kind": "fingerprint", "version.verbatim": False}
ISOLATION = {"txn.isolation": "read_committed", "unit.kind": "txn"}


def test_read_by_key(engine: Engine) -> None:
    """A keyed SELECT is a read of that row, with the print of its columns."""
    with capture() as captured:
        with engine.connect() as connection:
            connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 1)).one()
        (read,) = accesses(captured)
        assert read == {
            **VERSION, **ISOLATION, "op": "read", "resource": "accounts/id=1", "outcome": "ok",
            "version.read": printed(owner="ann", bal=100), "version.weak": True, "size": 6,
        }  # fmt: skip
        (span,) = [each for each in captured.spans if each.attributes["noclobber.op"] == "read"]
        assert span.name == f"read {engine.dialect.name}"
        assert span.library == "sqlalchemy"
        assert span.attributes["code.function.name"] == "test_read_by_key"


def test_part_and_number(engine: Engine) -> None:
    """Some columns of a row are a part; a single number is marked as one."""
    with capture() as captured, engine.connect() as connection:
        connection.execute(text("SELECT bal FROM accounts WHERE id = :id"), {"id": 1}).scalar()
        (read,) = accesses(captured)
        assert read == {
            **VERSION, **ISOLATION, "op": "read", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "version.read": printed(bal=100), "version.weak": True, "size": 3, "content.numeric": True,
        }  # fmt: skip


def test_not_found(engine: Engine) -> None:
    """A row that is not there is read as absent; where another condition may hide it, nothing is said."""
    with capture() as captured, engine.connect() as connection:
        connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 99)).all()
        connection.execute(select(JOBS).where(JOBS.c.id == 7, JOBS.c.status == "old")).all()
        absent, hidden = accesses(captured)
        assert (absent["outcome"], absent["version.read"]) == ("not_found", "absent")
        assert hidden["outcome"] == "not_found"
        assert "version.read" not in hidden


def test_read_of_several_keys(engine: Engine) -> None:
    """`IN` by key is one read a key, in the order of the keys, all with one unit."""
    with capture() as captured:
        with engine.connect() as connection:
            connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id.in_([2, 5, 1]))).all()
        found = [(each["resource"], each["outcome"]) for each in accesses(captured)]
        assert found == [("accounts/id=2", "ok"), ("accounts/id=5", "not_found"), ("accounts/id=1", "ok")]
        assert len({each["noclobber.unit"] for each in captured.accesses}) == 1
        seqs = [each["noclobber.seq"] for each in captured.accesses]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_composite_key(engine: Engine) -> None:
    """All columns of a key, in its own order."""
    with capture() as captured, engine.connect() as connection:
        connection.execute(select(SEATS).where(SEATS.c.number == 1, SEATS.c.hall == "a")).one()
        assert accesses(captured)[0]["resource"] == "seats/hall=a,number=1"


def test_scan(engine: Engine) -> None:
    """Any other SELECT is a scan of the table, with a hash of its predicate and what it found."""
    with capture() as captured, engine.connect() as connection:
        connection.execute(select(JOBS.c.id, JOBS.c.worker).where(JOBS.c.status == "new").order_by(JOBS.c.id)).all()
        (scan,) = accesses(captured)
        predicate = scan.pop("predicate")
        assert scan.pop("result.resources") == scan_rows(engine, "jobs/id=7", "jobs/id=8")
        assert scan == {
            **VERSION, **ISOLATION, "op": "scan", "resource": "jobs/", "outcome": "ok", "part": "worker",
            "result.versions": [printed(worker=None)] * 2, "result.count": 2,
        }  # fmt: skip
        assert len(predicate) == 32
        connection.execute(text("SELECT id FROM jobs WHERE status = 'new'")).all()
        connection.execute(text("SELECT id FROM jobs WHERE status = 'old'")).all()
        connection.execute(text("SELECT id FROM jobs")).all()
        _, same, other, everything = accesses(captured)
        assert same["predicate"] == predicate != other["predicate"]
        assert everything["predicate"] == "*"


def scan_rows(engine: Engine, *rows: str) -> list[str]:
    from noclobber.stores.sqlalchemy_place import database_of

    return [f"{database_of(engine).uri}/{row}" for row in rows]


def test_big_scan_is_split(engine: Engine) -> None:
    """64 results a span; the parts know each other."""
    with engine.begin() as connection:
        connection.execute(ACCOUNTS.insert(), [{"id": number, "bal": 1} for number in range(100, 200)])
    with capture() as captured, engine.connect() as connection:
        connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id >= 100)).all()
        scans = accesses(captured)
        assert [len(each["result.resources"]) for each in scans] == [64, 36]
        assert [(each["scan.part"], each["scan.parts"]) for each in scans] == [(1, 2), (2, 2)]
        assert len({each["scan.id"] for each in scans}) == 1


def test_very_big_scan_is_partial(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit rows are not looked at, and the scan says so."""
    monkeypatch.setattr("noclobber.stores.sql_run.ROWS_MAX", 1)
    with capture() as captured, engine.connect() as connection:
        assert len(connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.id)).all()) == 2
        (scan,) = accesses(captured)
        assert len(scan["result.resources"]) == 1
        assert scan["partial"] is True
        assert scan["scan.approximate"] is True


def test_count_names_no_rows(engine: Engine) -> None:
    """A result that is computed from rows proves nothing about any of them."""
    with capture() as captured, engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(JOBS)).scalar() == 2
        (scan,) = accesses(captured)
        assert scan["result.resources"] == []
        assert scan["partial"] is True


def test_join_scans_both_tables(engine: Engine) -> None:
    """Each table of a join is scanned, its rows named where their keys came back."""
    with capture() as captured, engine.connect() as connection:
        joined = select(ACCOUNTS.c.id, JOBS.c.id, JOBS.c.status).join(JOBS, JOBS.c.worker == ACCOUNTS.c.owner)
        connection.execute(joined).all()
        connection.execute(update(JOBS).where(JOBS.c.id == 7).values(worker="ann"))
        connection.execute(joined).all()
        assert [each["resource"] for each in accesses(captured, "scan")] == ["accounts/", "jobs/"] * 2
        assert [row_of(row) for each in accesses(captured, "scan")[2:] for row in each["result.resources"]] == [
            "accounts/id=1", "jobs/id=7",
        ]  # fmt: skip


def test_update(engine: Engine) -> None:
    """A write of some columns; its base is the print of just these in the row that was read before."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 1)).one()
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=150))
        (write,) = accesses(captured, "write")
        assert write == {
            **VERSION, **ISOLATION, "op": "write", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "version.written": printed(bal=150), "version.base": printed(bal=100), "version.base.source": "observed",
            "version.weak": True, "size": 3, "content.numeric": True,
        }  # fmt: skip


def test_base_from_another_session_and_from_a_scan(engine: Engine) -> None:
    """What one session read, by key or by condition, is the base of what the next one writes."""
    with capture() as captured:
        with engine.connect() as connection:
            connection.execute(select(ACCOUNTS.c.id, ACCOUNTS.c.bal).where(ACCOUNTS.c.owner == "ann")).all()
        with engine.begin() as connection:
            connection.execute(text("UPDATE accounts SET bal = :b WHERE id = :i"), {"b": 1, "i": 1})
        (write,) = accesses(captured, "write")
        assert (write["version.base"], write["version.base.source"]) == (printed(bal=100), "observed")


def test_read_twice(engine: Engine) -> None:
    """Of two reads the newer is the base, the older a candidate."""
    with capture() as captured, engine.connect() as connection:
        read = select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)
        with engine.connect() as other:
            connection.execute(read).scalar()
            connection.rollback()
            other.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=ACCOUNTS.c.bal + 1))
            other.commit()
        connection.execute(read).scalar()
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=5))
        (write,) = accesses(captured, "write")
        assert write["version.base"] == printed(bal=101)
        assert write["version.candidates"] == [printed(bal=100)]


def test_increment(engine: Engine) -> None:
    """What the database itself adds up has no base and can lose nothing."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 1)).one()
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=ACCOUNTS.c.bal + 5))
        (each,) = accesses(captured, "update")
        assert each == {
            **ISOLATION, "op": "update", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "write.mode": "increment",
        }  # fmt: skip


def test_increment_beside_a_value(engine: Engine) -> None:
    """One statement that sets one column and adds to another is two accesses, with parts of their own."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(owner="eve", bal=ACCOUNTS.c.bal + 5))
        assert [(each["op"], each["part"]) for each in accesses(captured)] == [("write", "owner"), ("update", "bal")]


def test_append(engine: Engine) -> None:
    """`||` appends."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(owner=ACCOUNTS.c.owner + "x"))
        assert [(each["op"], each["write.mode"]) for each in accesses(captured)] == [("update", "append")]


def test_delete(engine: Engine) -> None:
    """A delete makes the row absent; a write after it begins from there."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.id == 1))
        connection.execute(insert(ACCOUNTS).values(id=1, owner="ann", bal=1))
        gone, again = accesses(captured)
        assert gone == {
            **ISOLATION, "op": "delete", "resource": "accounts/id=1", "outcome": "ok", "version.kind": "fingerprint",
            "version.written": "absent",
        }  # fmt: skip
        assert (again["version.base"], again["write.mode"], again["guard"]) == ("absent", "insert", "unique")


def test_insert(engine: Engine) -> None:
    """An insert is guarded by its key, and makes the whole row."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(insert(ACCOUNTS).values(id=3, owner="joe", bal=9))
        (write,) = accesses(captured)
        assert write == {
            **VERSION, **ISOLATION, "op": "write", "resource": "accounts/id=3", "outcome": "ok",
            "write.mode": "insert", "guard": "unique", "version.written": printed(owner="joe", bal=9),
            "version.weak": True, "size": 4,
        }  # fmt: skip


def test_insert_refused(engine: Engine) -> None:
    """A key that is there already refuses; the caller gets its error."""
    with capture() as captured, engine.connect() as connection:
        with pytest.raises(exc.IntegrityError):
            connection.execute(insert(ACCOUNTS).values(id=1, owner="joe", bal=9))
        (write,) = accesses(captured)
        assert (write["outcome"], write["guard"], write["resource"]) == ("rejected", "unique", "accounts/id=1")


def test_insert_with_the_database_s_key(engine: Engine) -> None:
    """The key that the database gives names the row; for one row, for many, by mapper and by text."""
    with capture() as captured:
        with Session(engine) as session:
            session.add(Note(text="one"))
            session.commit()
            session.add_all([Note(text="two"), Note(text="three")])
            session.commit()
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO notes (text) VALUES ('four') RETURNING id")).scalar()
            connection.execute(insert(Note).returning(Note.id), [{"text": "five"}, {"text": "six"}]).all()
        rows = [each["resource"] for each in accesses(captured, "write")]
        assert sorted(rows) == [f"notes/id={number}" for number in range(1, 7)]
        assert not any(each.get("partial") for each in accesses(captured, "write"))


def test_executemany(engine: Engine) -> None:
    """Many parameter sets are one access each, in their order."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(
            update(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("i")).values(bal=bindparam("b")),
            [{"i": 1, "b": 11}, {"i": 2, "b": 22}],
        )
        connection.execute(insert(JOBS), [{"id": 1, "status": "a"}, {"id": 2, "status": "b"}])
        written = [(each["resource"], each.get("version.written")) for each in accesses(captured)]
        assert written[:2] == [("accounts/id=1", printed(bal=11)), ("accounts/id=2", printed(bal=22))]
        assert [row for row, _ in written[2:]] == ["jobs/id=1", "jobs/id=2"]


def test_no_rows(engine: Engine) -> None:
    """Nothing to change is no effect; under a condition it is a refusal."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 99).values(bal=1))
        connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.id == 99))
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1, ACCOUNTS.c.bal >= 500).values(bal=1))
        assert [each["outcome"] for each in accesses(captured)] == ["no_effect", "no_effect", "rejected"]


def test_compare_and_set(engine: Engine) -> None:
    """A condition on a column that the statement changes compares it: guard `version`."""
    with capture() as captured, engine.begin() as connection:
        statement = update(ACCOUNTS).where(ACCOUNTS.c.id == 1, ACCOUNTS.c.bal == 100).values(bal=150)
        connection.execute(statement)
        connection.execute(statement)
        applied, refused = accesses(captured)
        assert applied["guard"] == refused["guard"] == "version"
        assert applied["version.expected"] == applied["version.base"] == printed(bal=100)
        assert applied["version.base.source"] == "explicit"
        assert [applied["outcome"], refused["outcome"]] == ["ok", "rejected"]
        assert "version.overwritten" not in refused


def test_a_tenant_is_no_guard(engine: Engine) -> None:
    """A condition on a column that the statement leaves alone does not compare what is written."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1, ACCOUNTS.c.owner == "ann").values(bal=150))
        assert "guard" not in accesses(captured)[0]


def test_version_column(engine: Engine) -> None:
    """`version_id_col` counts; who comes second is refused, and what it was refused with is said."""
    with capture() as captured:
        with Session(engine) as one, Session(engine) as two:
            first, second = one.get_one(Document, 1), two.get_one(Document, 1)
            two.expunge(second)
            two.rollback()
            first.text = "a text of the first session"
            one.commit()
            two.add(second)
            second.text = "a text of the second session"
            with pytest.raises(StaleDataError):
                two.commit()
        read, *_ = accesses(captured, "read")
        written, refused = accesses(captured, "write")
        assert read == {
            **ISOLATION, "op": "read", "resource": "documents/id=1", "outcome": "ok", "version.kind": "counter",
            "version.read": "1", "content.read": printed(text="the first text of all"), "version.verbatim": False,
            "size": 21,
        }  # fmt: skip
        assert written == {
            **ISOLATION, "op": "write", "resource": "documents/id=1", "outcome": "ok", "version.kind": "counter",
            "guard": "version", "version.expected": "1", "version.base": "1", "version.base.source": "explicit",
            "version.overwritten": "1", "version.written": "2", "size": 27, "version.verbatim": False,
            "content.written": printed(text="a text of the first session"),
        }  # fmt: skip
        assert (refused["outcome"], refused["version.expected"], refused["version.written"]) == ("rejected", "1", "2")
        assert "version.overwritten" not in refused


def test_version_column_in_text(engine: Engine) -> None:
    """`SET v = v + 1 WHERE v = :v` counts too."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(
            text("UPDATE documents SET text = :t, version = version + 1 WHERE id = 1 AND version = :v"),
            {"t": "x", "v": 1},
        )
        (write,) = accesses(captured)
        assert (write["version.kind"], write["version.expected"], write["version.written"]) == ("counter", "1", "2")


def test_upsert(engine: Engine) -> None:
    """A row that is there already is overwritten, added to, or left."""
    statement = "INSERT INTO accounts (id, owner, bal) VALUES (1, 'ann', 5) ON CONFLICT (id) DO "
    with capture() as captured, engine.begin() as connection:
        connection.execute(text(statement + "UPDATE SET bal = excluded.bal"))
        connection.execute(text(statement + "UPDATE SET bal = accounts.bal + 1"))
        connection.execute(text(statement + "NOTHING"))
        over, added, left = accesses(captured)
        assert (over["op"], over["part"], over["version.written"]) == ("write", "bal", printed(bal=5))
        assert (added["op"], added["write.mode"]) == ("update", "increment")
        assert (left["outcome"], left["guard"], left["write.mode"]) == ("rejected", "unique", "insert")


def test_unknown_rows_are_partial(engine: Engine) -> None:
    """A write whose rows are not known is of the whole table, and partial."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(update(JOBS).where(JOBS.c.status == "new").values(worker="w"))
        (write,) = accesses(captured)
        assert (write["resource"], write["partial"], write["result.count"]) == ("jobs/", True, 2)
        connection.execute(delete(JOBS))
        gone = accesses(captured)[1]
        assert (gone["op"], gone["resource"], gone["version.written"]) == ("delete", "jobs/", "absent")
        assert "partial" not in gone


def test_rows_left_unread(engine: Engine) -> None:
    """A result that nobody read to its end ends with the next statement; only what was read is known."""
    with capture() as captured, engine.connect() as connection:
        connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.id)).fetchone()
        connection.execute(select(SEATS)).all()
        first, second = accesses(captured)
        assert len(first["result.resources"]) == 1
        assert first["partial"] is True
        assert "partial" not in second


@pytest.mark.parametrize("how", ["fetchmany", "partitions", "iterate", "mappings", "first", "stream"])
def test_ways_to_fetch(engine: Engine, how: str) -> None:
    """However rows are fetched, the caller gets them all and so do we."""
    with capture() as captured, engine.connect() as connection:
        options = {"stream": {"stream_results": True, "max_row_buffer": 1}, "partitions": {"yield_per": 1}}
        result = connection.execution_options(**options.get(how, {})).execute(select(ACCOUNTS).order_by(ACCOUNTS.c.id))
        ways = {
            "fetchmany": lambda: [*result.fetchmany(1), *result.fetchmany(5), *result.fetchmany(5)],
            "partitions": lambda: [row for part in result.partitions() for row in part],
            "iterate": lambda: list(result),
            "mappings": lambda: result.mappings().all(),
            "first": lambda: [result.first()],
            "stream": result.all,
        }
        assert len(ways[how]()) == (1 if how == "first" else 2)
        (scan,) = accesses(captured)
        assert len(scan["result.resources"]) == (1 if how == "first" else 2)


def test_values_that_change_later(engine: Engine) -> None:
    """Nothing of a caller's value is sent, and what it does to its list later changes nothing."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(insert(ACCOUNTS).values(id=3, owner="a-secret-name", bal=1))
        assert "a-secret-name" not in repr([span.attributes for span in captured.spans])


def test_written_by_reply(engine: Engine) -> None:
    """What RETURNING answers is what stands there: such a print may be compared."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(
            update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=150).returning(ACCOUNTS.c.id, ACCOUNTS.c.bal)
        ).all()
        (write,) = accesses(captured)
        assert write["version.written"] == printed(bal=150)
        assert "version.verbatim" not in write
