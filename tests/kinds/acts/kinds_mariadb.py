"""Transactions of MariaDB that look at what others have not committed; nothing here knows of noclobber.

Arguments: the story, and the server's port.
"""

import sys
from collections.abc import Callable, Iterator

import pymysql
from turns import play

UNCOMMITTED, COMMITTED = "READ UNCOMMITTED", "READ COMMITTED"


class Ward:
    """One agent's transaction."""

    def __init__(self, port: str, level: str) -> None:
        self._connection = pymysql.connect(host="127.0.0.1", port=int(port), user="agents", database="bank")
        self._cursor = self._connection.cursor()
        self._cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        self._connection.begin()

    def read(self, number: int) -> None:
        """Look at one."""
        self._cursor.execute("SELECT note FROM doctors WHERE id = %s", (number,))
        self._cursor.fetchall()

    def write(self, number: int, note: str) -> None:
        """Change one."""
        self._cursor.execute("UPDATE doctors SET note = %s WHERE id = %s", (note, number))

    def rollback(self) -> None:
        """The end, as if nothing had been."""
        self._connection.rollback()
        self._connection.close()

    def commit(self) -> None:
        """The end."""
        self._connection.commit()
        self._connection.close()


def half(port: str, level: str) -> None:
    """A changes a note in two steps; B looks between them."""

    def a() -> Iterator[None]:
        ward = Ward(port, level)
        ward.write(1, "half of what A has to say")
        yield
        ward.write(1, "all of what A has to say")
        ward.commit()
        yield

    def b() -> Iterator[None]:
        ward = Ward(port, level)
        ward.read(1)
        ward.commit()
        yield

    play("ABA", A=a, B=b)


def taken_back(port: str, level: str) -> None:
    """A changes a note and takes it back; B has read it meanwhile, and commits what it made of it."""

    def a() -> Iterator[None]:
        ward = Ward(port, level)
        ward.write(1, "what A takes back at once")
        yield
        ward.rollback()
        yield

    def b() -> Iterator[None]:
        ward = Ward(port, level)
        ward.read(1)
        ward.write(2, "what B makes of it")
        ward.commit()
        yield

    play("ABA", A=a, B=b)


STORIES: dict[str, Callable[[str], None]] = {
    "dirty_read": lambda port: taken_back(port, UNCOMMITTED),
    "dirty_read-safe": lambda port: taken_back(port, COMMITTED),
    "intermediate_read": lambda port: half(port, UNCOMMITTED),
    "intermediate_read-safe": lambda port: half(port, COMMITTED),
}

if __name__ == "__main__":
    STORIES[sys.argv[1]](sys.argv[2])
