"""What really happened, by the server's own word.

Each observer prepares the state of a round, and afterwards says whether work was lost in it. None of them uses
noclobber: Redis is heard through MONITOR (a total order of commands), PostgreSQL and SQLite are asked for what
stands there in the end, agents are taken at their printed word where the state alone can't tell.
"""

import re
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

__all__ = [
    "DraftObserver",
    "ForkObserver",
    "GraphBalanceObserver",
    "JobObserver",
    "LedgerObserver",
    "MonitorObserver",
    "Observer",
    "Verdict",
]

START = 100
EXPECTED = 130


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the observer saw in one round.

    Attributes:
        lost: whether work was lost (or a claim doubled, a thread forked, a text read that never was).
        restored: a write replaced another state than its author knew, but with the very same content: exempt.
        end: the end as a person would say it.
    """

    lost: bool
    end: str
    restored: bool = False


class Observer(Protocol):
    """Prepares rounds and judges them."""

    def key(self, number: int) -> str:
        """What the state of round `number` is called."""
        ...

    def prepare(self, number: int) -> None:
        """Set the state that round `number` begins with."""
        ...

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:
        """What happened in round `number`; `lines` is what the agents printed."""
        ...


class MonitorObserver:
    """Listens to every command of a Redis-compatible server and replays them."""

    def __init__(self, url: str) -> None:
        import redis

        self._client = redis.Redis.from_url(url)
        self._listener = redis.Redis.from_url(url, socket_timeout=None)
        self._monitor = self._listener.monitor()  # type: ignore[no-untyped-call]  # redis-py has no types here
        self._commands: list[tuple[str, list[str]]] = []
        self._thread = threading.Thread(target=self._listen, name="monitor", daemon=True)

    def __enter__(self) -> Self:
        self._monitor.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._monitor.connection.disconnect()
        self._thread.join(5)
        self._client.close()
        self._listener.close()

    def _listen(self) -> None:
        import redis

        try:
            for command in self._monitor.listen():
                who = f"{command['client_address']}:{command['client_port']}"
                self._commands.append((who, command["command"].split(" ")))
        except (redis.ConnectionError, ValueError, OSError, AttributeError):
            return  # the connection was closed, here or by the server's end

    def key(self, number: int) -> str:
        """The account of a round."""
        return f"acct:{number}"

    def prepare(self, number: int) -> None:
        """Put 100 on the account."""
        self._client.set(self.key(number), START)

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:  # noqa: ARG002  the server's word is enough
        """Replay the commands: a SET over a state that its client had not read is a loss."""
        key = self.key(number)
        end = self._client.get(key)
        self._client.echo(f"judged:{number}")
        self._wait_for(f"judged:{number}")
        state, known = "absent", dict[str, str]()
        lost = restored = False
        for who, (verb, *words) in self._commands:
            if not words or words[0] != key:
                continue
            if verb == "GET":
                known[who] = state
            elif verb == "INCRBY":
                state = str(int(state) + int(words[1]))
            elif verb == "SET":
                replaced_unseen = who in known and known[who] != state
                same = state == words[1]
                lost |= replaced_unseen and not same
                restored |= replaced_unseen and same
                state = known[who] = words[1]
        return Verdict(lost=lost, restored=restored, end=f"the balance is {int(end or 0)}")

    def _wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 10
        while not any(words[-1] == text for _, words in list(self._commands)):
            if time.monotonic() > deadline:
                raise TimeoutError("MONITOR fell silent")
            time.sleep(0.01)


class LedgerObserver:
    """Looks at the rows of the bank in PostgreSQL."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import create_engine, text

        self._engine, self._text = create_engine(url, isolation_level="AUTOCOMMIT"), text

    def __enter__(self) -> Self:
        self._run("CREATE TABLE accounts (id integer PRIMARY KEY, balance integer NOT NULL)")
        self._run(
            "CREATE TABLE versioned_accounts "
            "(id integer PRIMARY KEY, balance integer NOT NULL, version integer NOT NULL)"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def _run(self, statement: str, **values: object) -> None:
        with self._engine.connect() as connection:
            connection.execute(self._text(statement), values)

    def key(self, number: int) -> str:
        """The id of a round's account."""
        return str(number)

    def prepare(self, number: int) -> None:
        """Put 100 on the account, in both tables."""
        self._run("INSERT INTO accounts VALUES (:id, :balance)", id=number, balance=START)
        self._run("INSERT INTO versioned_accounts VALUES (:id, :balance, 1)", id=number, balance=START)

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:  # noqa: ARG002  the rows tell
        """Of two bookings on 100 one is gone wherever the end is not 130."""
        with self._engine.connect() as connection:
            balances = [
                connection.execute(self._text(f"SELECT balance FROM {table} WHERE id = :id"), {"id": number}).scalar()  # noqa: S608  fixed names
                for table in ("accounts", "versioned_accounts")
            ]
        end = next((balance for balance in balances if balance != START), START)
        return Verdict(lost=end != EXPECTED, end=f"the balance is {end}")


class JobObserver:
    """Keeps the job table and hears who did which job."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import create_engine, text

        self._engine, self._text = create_engine(url, isolation_level="AUTOCOMMIT"), text

    def __enter__(self) -> Self:
        with self._engine.connect() as connection:
            connection.execute(
                self._text(
                    "CREATE TABLE jobs "
                    "(id integer PRIMARY KEY, queue varchar(40), status varchar(40), worker varchar(40))"
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def key(self, number: int) -> str:
        """The queue of a round."""
        return f"queue-{number}"

    def prepare(self, number: int) -> None:
        """Put one new job into the queue."""
        with self._engine.connect() as connection:
            connection.execute(
                self._text("INSERT INTO jobs VALUES (:id, :queue, 'new', NULL)"),
                {"id": number, "queue": self.key(number)},
            )

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:
        """Two workers that say they did it did it twice."""
        done = [line for line in lines if f"did job {number}" in line]
        return Verdict(lost=len(done) > 1, end=f"job {number} was done {len(done)} times")


class GraphBalanceObserver:
    """Reads the balance that the graph ends with; its store is gone with its process."""

    def key(self, number: int) -> str:
        """The account of a round."""
        return f"acct-{number}"

    def prepare(self, number: int) -> None:
        """The program itself puts 100 on the account."""

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:  # noqa: ARG002  one program, one balance
        """One booking is gone wherever the end is not 130."""
        found = re.search(r"balance is (-?\d+)", "\n".join(lines))
        end = int(found[1]) if found else None
        return Verdict(lost=end != EXPECTED, end=f"the balance is {end}")


class ForkObserver:
    """Looks for two children of one checkpoint in the saver's own table."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def key(self, number: int) -> str:
        """The thread of a round."""
        return f"thread-{number}"

    def prepare(self, number: int) -> None:
        """The program itself opens the thread."""

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:
        """A checkpoint with two children is a fork."""
        query = (
            "SELECT count(*) FROM checkpoints WHERE thread_id = ? AND parent_checkpoint_id IS NOT NULL "
            "GROUP BY checkpoint_ns, parent_checkpoint_id HAVING count(*) > 1"
        )
        connection = sqlite3.connect(self.database)
        try:
            forks = connection.execute(query, (self.key(number),)).fetchall()
        finally:
            connection.close()
        return Verdict(lost=bool(forks), end=lines[-1] if lines else "nothing was printed")


class DraftObserver:
    """Compares what the reviewer read with what was ever committed."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def key(self, number: int) -> str:
        """The document of a round."""
        return str(number)

    def prepare(self, number: int) -> None:
        """The program itself commits the first text."""

    def judge(self, number: int, lines: Sequence[str]) -> Verdict:
        """The drafter always takes its text back, so a review of anything but the first text is of nothing."""
        connection = sqlite3.connect(self.database)
        try:
            (text,) = connection.execute("SELECT text FROM documents WHERE id = ?", (number,)).fetchone()
        finally:
            connection.close()
        read = next(line for line in lines if "reviewer: read" in line)
        lost = repr(text[:40]) not in read
        return Verdict(lost=lost, end="the reviewer read a text that never was" if lost else "the review holds")
