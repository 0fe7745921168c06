"""A lent store: it gives what the store gives, and fails as it does."""

import logging
import socket
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
from made import NASTY

from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_collector.loan import BorrowedStore, lend
from noclobber_collector.store import Store

EVERY_TYPE = (
    "SELECT number AS n, toInt64(number) - 1 AS i, toString(number) AS text, toLowCardinality(toString(number % 7)) AS "
    "few, [toString(number), 'x'] AS list, map('a', number) AS map, toFixedString('ab', 2) AS id, "
    "if(number % 2, NULL, number) AS maybe, number / 2 AS part, CAST([] AS Array(String)) AS none "
    "FROM numbers({count:UInt32})"
)
"""Every type of our tables' columns."""


class Loan:
    """A store that a thread lends."""

    def __init__(self, store: Store) -> None:
        ours, theirs = socket.socketpair()
        self.borrowed = BorrowedStore(Connection(theirs.detach()))
        self.lender = threading.Thread(target=lend, args=(store, Connection(ours.detach())), daemon=True)
        self.lender.start()

    def end(self) -> None:
        """The borrower goes."""
        self.borrowed._connection.close()
        self.lender.join(10)


@pytest.fixture
def loan(store: Store) -> Iterator[Loan]:
    made = Loan(store)
    yield made
    made.end()


@pytest.mark.parametrize("count", [0, 1, 70_000], ids=["none", "one", "several blocks"])
def test_it_answers_as_the_store_does(store: Store, loan: Loan, count: int) -> None:
    """Rows and columns of every type, also where there are none, and where they come in more blocks than one."""
    lent, asked = loan.borrowed, {"count": count}
    assert lent.rows(EVERY_TYPE, asked) == store.rows(EVERY_TYPE, asked)
    own, given = store.columns(EVERY_TYPE, asked), lent.columns(EVERY_TYPE, asked)
    assert {name: list(given.get(name, ())) for name in own} == {name: list(column) for name, column in own.items()}


def test_what_is_inserted_stands_in_the_store(store: Store, loan: Loan) -> None:
    """Rows go in whole, whatever text they hold, and come out as bound parameters find them."""
    loan.borrowed.insert("transitions", ("id", "issue", "at_ns"), [(text, "i", 2**63) for text in NASTY])
    loan.borrowed.insert("transitions", ("id",), [])
    assert store.rows("SELECT count() FROM transitions") == [(len(NASTY),)]
    for text in NASTY:
        asked = {"id": text, "list": [text]}
        sql = "SELECT id, at_ns, {list:Array(String)} FROM transitions WHERE id = {id:String}"
        assert loan.borrowed.rows(sql, asked) == [(text, 2**63, [text])]


def test_it_fails_as_the_store_does(loan: Loan, caplog: pytest.LogCaptureFixture) -> None:
    """An error keeps its code and ends nothing; what is wrong with a statement itself is said, too."""
    with pytest.raises(StoreError, match="UNKNOWN_TABLE") as caught:
        loan.borrowed.rows("SELECT * FROM nothing_there")
    assert caught.value.code == 60
    with caplog.at_level(logging.CRITICAL), pytest.raises(StoreError, match="Error") as caught:
        loan.borrowed.insert("transitions", ("id", "at_ns"), [("a", "no number")])
    assert loan.borrowed.rows("SELECT 1") == [(1,)]


def test_a_lender_that_is_gone() -> None:
    """The borrower is told that nobody answers, each time, and may do something about it first."""
    ours, theirs = socket.socketpair()
    told: list[str] = []
    lent = BorrowedStore(Connection(theirs.detach()), on_gone=lambda: told.append("gone"))
    ours.close()
    for _ in range(2):
        with pytest.raises(StoreUnreachableError, match="has gone"):
            lent.rows("SELECT 1")
    assert told == ["gone", "gone"]
