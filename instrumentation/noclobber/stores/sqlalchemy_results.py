"""The rows of a SQLAlchemy result, seen as the caller fetches them.

A result asks its strategy for rows, whichever way the caller goes (all, one by one, in parts, streamed); so the
strategy of a result that is of interest is exchanged for one that passes everything on and looks at what comes back.
Nothing is fetched earlier, later or in other portions than without it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from noclobber.guard import GUARD

__all__ = ["Listener", "Listening", "Overheard"]


class Listener(Protocol):
    """Who wants to know the rows."""

    def add(self, rows: Sequence[Any]) -> None:
        """Rows that the caller gets."""
        ...

    def finish(self, *, complete: bool = True) -> None:
        """Nothing more will come."""
        ...


class Overheard:
    """A result's way of fetching rows, of which it is told what was fetched and when it was the last: a `Listener`."""

    __slots__ = ("_busy", "_closed", "_inner")

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._busy = self._closed = False

    def add(self, rows: Sequence[Any]) -> None:
        """Rows that the caller gets."""
        raise NotImplementedError

    def finish(self, *, complete: bool = True) -> None:
        """Nothing more will come."""
        raise NotImplementedError

    @property
    def alternate_cursor_description(self) -> Any:
        """What the strategy itself says."""
        return self._inner.alternate_cursor_description

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        """All rows were fetched."""
        self._inner.soft_close(result, dbapi_cursor)
        self._close()

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        """The caller wants no more."""
        self._inner.hard_close(result, dbapi_cursor)
        self._close()

    def _close(self) -> None:
        self._closed = True
        if not self._busy:
            self.finish()

    def yield_per(self, result: Any, dbapi_cursor: Any, num: int) -> None:
        """The result changes its strategy; it stays listened to."""
        self._inner.yield_per(result, dbapi_cursor, num)
        if result.cursor_strategy is not self:
            self._inner, result.cursor_strategy = result.cursor_strategy, self

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """The next row."""
        row = self._fetch(self._inner.fetchone, result, dbapi_cursor, hard_close)
        self._got(() if row is None else (row,))
        return row

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """Some rows."""
        rows = self._fetch(self._inner.fetchmany, result, dbapi_cursor, size)
        self._got(rows)
        return rows

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """All rows that are left."""
        rows = self._fetch(self._inner.fetchall, result, dbapi_cursor)
        self._got(rows)
        return rows

    def _fetch(self, fetch: Any, *args: Any) -> Any:
        """Fetch; a result closes itself with the last rows in hand, which are to be seen first."""
        self._busy = True
        try:
            return fetch(*args)
        except BaseException:
            self.finish(complete=False)
            raise
        finally:
            self._busy = False

    def _got(self, rows: Sequence[Any]) -> None:
        try:
            self.add(rows)
            if self._closed:
                self.finish()
        except Exception as error:
            GUARD.caught(error)

    def handle_exception(self, result: Any, dbapi_cursor: Any, err: BaseException) -> Any:
        """Raises, as the strategy would."""
        return self._inner.handle_exception(result, dbapi_cursor, err)


class Listening(Overheard):
    """A result's way of fetching rows, which tells a listener."""

    __slots__ = ("_run",)

    def __init__(self, inner: Any, run: Listener) -> None:
        super().__init__(inner)
        self._run = run

    def add(self, rows: Sequence[Any]) -> None:
        """Rows that the caller gets."""
        self._run.add(rows)

    def finish(self, *, complete: bool = True) -> None:
        """Nothing more will come."""
        self._run.finish(complete=complete)
