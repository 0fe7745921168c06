"""sqlite3 and aiosqlite: races and their safe twins, takes, and looks that nobody saw."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from driver_stage import START, TIMEOUT_S, findings, judged, overtaken, path, story, together

from noclobber import strands
from noclobber.testing import capture

__all__ = ["path"]

UPDATE = "UPDATE accounts SET bal = ? WHERE id = ?"
SELECT = "SELECT bal FROM accounts WHERE id = ?"


def race(path: Path, update: str, *, stale: bool) -> Any:
    """Two agents add to one balance, both from what they read before; or the second reads after the first wrote."""
    read, wrote = threading.Barrier(2), threading.Event()

    def book(amount: int, *, first: bool) -> None:
        connection = sqlite3.connect(path, timeout=TIMEOUT_S)
        if not stale and not first:
            assert wrote.wait(TIMEOUT_S)
        (balance,) = connection.execute(SELECT, (1,)).fetchone()
        if stale:
            read.wait(TIMEOUT_S)
            assert first or wrote.wait(TIMEOUT_S)
        with connection:
            connection.execute(update, {"new": balance + amount, "amount": amount, "old": balance})
        connection.close()
        wrote.set()

    with capture(background=True, fixed=False) as captured:
        together(lambda: book(50, first=True), lambda: book(-20, first=False))
    return captured


OVERWRITE = "UPDATE accounts SET bal = :new WHERE id = 1"


def test_lost_update(path: Path, tmp_path: Path) -> None:
    """Both wrote what they computed from one balance: one update is lost."""
    captured = race(path, OVERWRITE, stale=True)
    assert findings(captured, tmp_path) == [("lost_update", "likely")]


@pytest.mark.parametrize(
    ("update", "stale"),
    [
        (OVERWRITE, False),
        ("UPDATE accounts SET bal = bal + :amount WHERE id = 1", True),
        ("UPDATE accounts SET bal = :new WHERE id = 1 AND bal = :old", True),
    ],
)
def test_safe_twins(path: Path, tmp_path: Path, update: str, stale: bool) -> None:
    """In turn, in place, or compared: nothing is lost, and nothing is said."""
    assert findings(race(path, update, stale=stale), tmp_path) == []


def test_lost_update_under_aiosqlite(path: Path, tmp_path: Path) -> None:
    """Two tasks on two connections."""

    async def book(amount: int, read: asyncio.Barrier) -> None:
        async with aiosqlite.connect(path, timeout=TIMEOUT_S) as connection:
            ((balance,),) = await connection.execute_fetchall(SELECT, (1,))
            await read.wait()
            await connection.execute(UPDATE, (balance + amount, 1))
            await connection.commit()

    async def act() -> None:
        read = asyncio.Barrier(2)
        await asyncio.wait_for(asyncio.gather(book(50, read), book(-20, read)), TIMEOUT_S)

    with capture(background=True, fixed=False) as captured:
        asyncio.run(act())
    assert findings(captured, tmp_path) == [("lost_update", "likely")]


def test_double_claim(path: Path, tmp_path: Path) -> None:
    """Both saw the job as new and took it; who asks again under the write is refused and defended."""

    def claims(condition: str) -> Any:
        seen = threading.Barrier(2)

        def claim() -> None:
            connection = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)
            (job,) = connection.execute("SELECT id FROM jobs WHERE status = 'new' ORDER BY id LIMIT 1").fetchone()
            seen.wait(TIMEOUT_S)
            connection.execute(f"UPDATE jobs SET status = 'running' WHERE id = ?{condition}", (job,))
            connection.close()

        with capture(background=True, fixed=False) as captured:
            together(claim, claim)
        return captured

    found = findings(claims(""), tmp_path)
    assert [kind for kind, _ in found] == ["double_claim"]
    safe = judged(claims(" AND status = 'new'"), tmp_path)
    assert safe.findings == []
    assert [str(each.reason) for each in safe.defended] == ["rejected"]


def test_what_was_hidden_is_not_guessed(path: Path) -> None:
    """A transaction that ended where nothing is recorded has no end; a statement that ends it takes it back."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        connection.execute(UPDATE, (1, 1))
        strand = strands.current()
        strand.suppressed += 1
        connection.execute("COMMIT")
        strand.suppressed -= 1
        connection.execute(SELECT, (1,)).fetchone()
        connection.execute(UPDATE, (2, 1))
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT OR ROLLBACK INTO accounts (id) VALUES (1)")
        assert not connection.in_transaction
        connection.close()
        assert story(captured) == [
            "begin -", "write accounts/id=1", "read accounts/id=1",
            "begin -", "write accounts/id=1", "write accounts/id=1 rejected", "abort -",
        ]  # fmt: skip


def _copies(connection: sqlite3.Connection) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as copy:
        connection.backup(copy)


def _opens_a_blob(connection: sqlite3.Connection) -> None:
    with connection.blobopen("accounts", "owner", 1, readonly=True) as blob:
        assert blob.read() == b"ann"


def _asks(text: str) -> Callable[[sqlite3.Connection], Any]:
    return lambda connection: connection.execute(text).fetchall()


LOOKS: list[Callable[[sqlite3.Connection], Any]] = [
    _copies, _opens_a_blob, lambda connection: connection.serialize(), lambda connection: list(connection.iterdump()),
    _asks("SELECT ifnull(bal, 0) FROM accounts WHERE id = 1"), _asks("SELECT max(bal) FROM accounts"),
    _asks("UPDATE accounts SET owner = 'eve' WHERE id = 1 RETURNING bal"),
]  # fmt: skip


def _overtaken(path: Path, look: Callable[[Any], Any], number: int) -> Any:
    """What is captured of one who reads, is overtaken, looks again somehow, and writes."""
    at: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "timeout": TIMEOUT_S}
    with (
        capture(fixed=False) as captured,
        contextlib.closing(sqlite3.connect(path, **at)) as mine,
        contextlib.closing(sqlite3.connect(path, **at)) as other,
    ):
        overtaken(
            lambda: mine.execute(SELECT, (1,)).fetchone(),
            lambda: other.execute(UPDATE, (START - 20 - number, 1)),
            lambda: look(mine),
            lambda: mine.execute(UPDATE, (START + 50 + number, 1)),
        )
    return captured


@pytest.mark.parametrize(
    ("looks", "certainty"), [([_asks("SELECT count(*) FROM accounts")], "likely"), (LOOKS, "possible")]
)
def test_a_look_that_nobody_saw(
    path: Path, looks: list[Callable[[sqlite3.Connection], Any]], certainty: str, tmp_path: Path
) -> None:
    """Who looked again where no hook sees the rows may know what an older read here does not: no accusation."""
    for number, look in enumerate(looks):
        captured = _overtaken(path, look, number)
        found = [each for each in findings(captured, tmp_path) if each[0] == "lost_update"]
        assert (number, found) == (number, [("lost_update", certainty)])
