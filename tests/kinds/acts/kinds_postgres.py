"""Transactions that PostgreSQL lets do what their authors did not mean; nothing here knows of noclobber.

Arguments: the story, and where the database is. Isolation levels are the server's own: what is asked for is got.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
from turns import Agent, play

COMMITTED, REPEATABLE, SERIALIZABLE = "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"
LIST = 0
Teller = Callable[[str, str], None]


class Ward:
    """One agent's transaction."""

    def __init__(self, url: str, level: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(f"BEGIN ISOLATION LEVEL {level}")

    def read(self, number: int) -> None:
        """Look at one, or at the list of all that are on call."""
        if number == LIST:
            found = self._connection.execute("SELECT id, note FROM doctors WHERE note LIKE %s", ("on call%",))
        else:
            found = self._connection.execute("SELECT note FROM doctors WHERE id = %s", (number,))
        found.fetchall()

    def write(self, number: int, note: str) -> None:
        """Change one."""
        self._connection.execute("UPDATE doctors SET note = %s WHERE id = %s", (note, number))

    def add(self, number: int, note: str) -> None:
        """One more."""
        self._connection.execute("INSERT INTO doctors (id, note) VALUES (%s, %s)", (number, note))

    def commit(self) -> None:
        """The end."""
        self._connection.commit()
        self._connection.close()


def looks(url: str, level: str, *groups: tuple[int, ...]) -> Agent:
    """An agent that looks at some in each turn, all in one transaction."""

    def agent() -> Iterator[None]:
        ward = Ward(url, level)
        for turn, group in enumerate(groups, 1):
            for number in group:
                ward.read(number)
            if turn == len(groups):
                ward.commit()
            yield

    return agent


def changes(url: str, *numbers: int) -> Agent:
    """An agent that changes some at once."""

    def agent() -> Iterator[None]:
        ward = Ward(url, COMMITTED)
        for number in numbers:
            ward.write(number, f"on call, changed to {number} of {numbers}")
        ward.commit()
        yield

    return agent


def adds(url: str, number: int) -> Agent:
    """An agent that adds one."""

    def agent() -> Iterator[None]:
        ward = Ward(url, COMMITTED)
        ward.add(number, f"on call, and new as number {number}")
        ward.commit()
        yield

    return agent


def decides(url: str, level: str, reads: tuple[int, ...], writes: int) -> Agent:
    """An agent that looks at some, then changes one, then commits: three turns."""

    def agent() -> Iterator[None]:
        ward = Ward(url, level)
        for number in reads:
            ward.read(number)
        yield
        with suppress(psycopg.errors.SerializationFailure):
            ward.write(writes, f"off call, as {reads} were looked at and {writes} changed")
            yield
            ward.commit()
        yield

    return agent


def non_repeatable_read(url: str, level: str) -> None:
    """A looks twice at one note, and B changes it between."""
    play("ABA", A=looks(url, level, (1,), (1,)), B=changes(url, 1))


def phantom_read(url: str, level: str) -> None:
    """A asks twice who is on call, and B adds somebody between."""
    play("ABA", A=looks(url, level, (LIST,), (LIST,)), B=adds(url, 4))


def read_skew(url: str, level: str) -> None:
    """A looks at two notes, and B changes both between."""
    play("ABA", A=looks(url, level, (1,), (2,)), B=changes(url, 1, 2))


def write_skew(url: str, level: str) -> None:
    """Each sees that the other is on call, and goes."""
    play("ABABAB", A=decides(url, level, (1, 2), 1), B=decides(url, level, (1, 2), 2))


def long_fork(url: str, level: str) -> None:
    """C sees what A did and not what B did; D sees it the other way round."""
    play(
        "CDABCD",
        A=changes(url, 1),
        B=changes(url, 2),
        C=looks(url, level, (2,), (1,)),
        D=looks(url, level, (1,), (2,)),
    )


def serialization_cycle(url: str, level: str) -> None:
    """Three agents, each of whom decides by what the next one changes."""
    play("ABC" * 3, A=decides(url, level, (1,), 2), B=decides(url, level, (2,), 3), C=decides(url, level, (3,), 1))


LEVELS: dict[Teller, tuple[str, str]] = {
    non_repeatable_read: (COMMITTED, REPEATABLE),
    phantom_read: (COMMITTED, REPEATABLE),
    read_skew: (COMMITTED, REPEATABLE),
    write_skew: (REPEATABLE, SERIALIZABLE),
    long_fork: (COMMITTED, REPEATABLE),
    serialization_cycle: (REPEATABLE, SERIALIZABLE),
}
"""The level that lets it through, and the one that does not."""


def _at(tell: Teller, level: str) -> Callable[[str], None]:
    return lambda url: tell(url, level)


STORIES: dict[str, Callable[[str], None]] = {
    f"{tell.__name__}{suffix}": _at(tell, level)
    for tell, levels in LEVELS.items()
    for suffix, level in zip(("", "-safe"), levels, strict=True)
}

if __name__ == "__main__":
    STORIES[sys.argv[1]](sys.argv[2])
