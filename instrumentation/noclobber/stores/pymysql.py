"""PyMySQL: cursors, executemany, begin, commit, rollback, autocommit.

Every statement of a program passes `Cursor.execute` (of the class that all cursors of PyMySQL stand on), many
inserted rows `executemany`, and the driver's own commands the connection's methods. A buffered cursor has all rows
when `execute` returns, and there its read ends.

What is not seen (rows of unbuffered cursors, further results of one text, what a stored procedure does) is told as a
partial read, and a later write from an older state is partial. A connection without a database of its own is left out.

Source: PyMySQL 1.1, 1.2 (cursors.py, connections.py).
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.mysql_session import Running, closing, failing, inserting, querying, starting, steering
from noclobber.stores.sql_session import COVERED
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pymysql"
_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap cursors and connections, if they are as they are known."""
    from pymysql.connections import Connection

    cursor = library.cursors.Cursor
    hooks: list[Hook] = [
        (cursor, "execute", _executing),
        (cursor, "executemany", _batching),
        (cursor, "callproc", _calling),
        (Connection, "query", _querying),
        (Connection, "begin", _commanding("BEGIN")),
        (Connection, "commit", _commanding("COMMIT")),
        (Connection, "rollback", _commanding("ROLLBACK")),
        (Connection, "autocommit", _commanding("SET AUTOCOMMIT")),
        (Connection, "close", closing),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _executing(original: Any) -> Any:
    def execute(self: Any, query: Any, args: Any = None) -> Any:
        running = None
        with GUARD:
            running = starting(LIBRARY, self.connection, query, args)
        if running is None:
            return original(self, query, args)
        with failing(running):
            answer = original(self, query, args)
        with GUARD:
            running.returned(self.rowcount, self.lastrowid, self._result)
        return answer

    return execute


def _batching(original: Any) -> Any:
    def executemany(self: Any, query: Any, args: Any) -> Any:
        batch = None
        with GUARD:
            batch = inserting(LIBRARY, self.connection, query, args)
        if batch is None:
            return original(self, query, args)
        running, noted = batch
        before = COVERED.get()
        COVERED.set(True)  # the texts that it makes of them go through `execute`
        try:
            with failing(running):
                answer = original(self, query, noted)
        finally:
            COVERED.set(before)
        with GUARD:
            running.returned(self.rowcount)
        return answer

    return executemany


def _calling(original: Any) -> Any:
    def callproc(self: Any, procname: Any, args: Any = ()) -> Any:
        running = None
        with GUARD:
            running = starting(LIBRARY, self.connection, "CALL", None)
        if running is None:
            return original(self, procname, args)
        with failing(running):
            answer = original(self, procname, args)
        with GUARD:
            running.returned(result=self._result)
        return answer

    return callproc


def _querying(original: Any) -> Any:
    """A text that a program gives to the connection itself; cursors do so, too, inside what is recorded."""

    def query(self: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        running = None
        with GUARD:
            running = querying(LIBRARY, self, sql)
        if running is None:
            return original(self, sql, *args, **kwargs)
        with failing(running):
            answer = original(self, sql, *args, **kwargs)
        with GUARD:
            running.returned(self._affected_rows, None, self._result)
        return answer

    return query


def _commanding(text: str) -> Any:
    def wrap(original: Any) -> Any:
        def command(self: Any, *args: Any, **kwargs: Any) -> Any:
            running: Running | None = None
            with GUARD:
                running = steering(LIBRARY, self, text)
            if running is None:
                return original(self, *args, **kwargs)
            with failing(running):
                answer = original(self, *args, **kwargs)
            with GUARD:
                running.returned()
            return answer

        return command

    return wrap


INTEGRATION: Final = Integration("pymysql", install, uninstall)
