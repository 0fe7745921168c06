"""aiomysql: cursors, executemany, begin, commit, rollback, autocommit, pools.

The asynchronous twin of PyMySQL's hooks (`pymysql`), on aiomysql's own classes; pools hand out the same connections.
A cancelled call closes its connection, and with it the transaction.

Not recorded: what PyMySQL's hooks do not record.

Source: aiomysql 0.2, 0.3 (cursors.py, connection.py, pool.py).
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.mysql_session import Running, closing, failing, inserting, let_go, querying, starting, steering
from noclobber.stores.sql_session import COVERED
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "aiomysql"
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap cursors and connections, if they are as they are known."""
    from aiomysql.connection import Connection
    from aiomysql.cursors import Cursor

    hooks: list[Hook] = [
        (Cursor, "execute", _executing),
        (Cursor, "executemany", _batching),
        (Cursor, "callproc", _calling),
        (Connection, "query", _querying),
        (Connection, "begin", _commanding("BEGIN")),
        (Connection, "commit", _commanding("COMMIT")),
        (Connection, "rollback", _commanding("ROLLBACK")),
        (Connection, "autocommit", _commanding("SET AUTOCOMMIT")),
        (Connection, "close", closing),
        (Connection, "ensure_closed", _aclosing),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _executing(original: Any) -> Any:
    async def execute(self: Any, query: Any, args: Any = None) -> Any:
        running = None
        with GUARD:
            running = starting(LIBRARY, self._connection, query, args)
        if running is None:
            return await original(self, query, args)
        with failing(running):
            answer = await original(self, query, args)
        with GUARD:
            running.returned(self._rowcount, self._lastrowid, self._result)
        return answer

    return execute


def _batching(original: Any) -> Any:
    async def executemany(self: Any, query: Any, args: Any) -> Any:
        batch = None
        with GUARD:
            batch = inserting(LIBRARY, self._connection, query, args)
        if batch is None:
            return await original(self, query, args)
        running, noted = batch
        before = COVERED.get()
        COVERED.set(True)  # the texts that it makes of them go through `execute`
        try:
            with failing(running):
                answer = await original(self, query, noted)
        finally:
            COVERED.set(before)
        with GUARD:
            running.returned(self._rowcount)
        return answer

    return executemany


def _calling(original: Any) -> Any:
    async def callproc(self: Any, procname: Any, args: Any = ()) -> Any:
        running = None
        with GUARD:
            running = starting(LIBRARY, self._connection, "CALL", None)
        if running is None:
            return await original(self, procname, args)
        with failing(running):
            answer = await original(self, procname, args)
        with GUARD:
            running.returned(result=self._result)
        return answer

    return callproc


def _querying(original: Any) -> Any:
    """A text that a program gives to the connection itself; cursors do so, too, inside what is recorded."""

    async def query(self: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        running = None
        with GUARD:
            running = querying(LIBRARY, self, sql)
        if running is None:
            return await original(self, sql, *args, **kwargs)
        with failing(running):
            answer = await original(self, sql, *args, **kwargs)
        with GUARD:
            running.returned(self._affected_rows, None, self._result)
        return answer

    return query


def _commanding(text: str) -> Any:
    def wrap(original: Any) -> Any:
        async def command(self: Any, *args: Any, **kwargs: Any) -> Any:
            running: Running | None = None
            with GUARD:
                running = steering(LIBRARY, self, text)
            if running is None:
                return await original(self, *args, **kwargs)
            with failing(running):
                answer = await original(self, *args, **kwargs)
            with GUARD:
                running.returned()
            return answer

        return command

    return wrap


def _aclosing(original: Any) -> Any:
    async def ensure_closed(self: Any, *args: Any, **kwargs: Any) -> Any:
        let_go(self)
        return await original(self, *args, **kwargs)

    return ensure_closed


INTEGRATION: Final = Integration("aiomysql", install, uninstall)
