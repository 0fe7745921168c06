"""What hooks of asynchronous MySQL drivers share (aiomysql, asyncmy): both keep the names of PyMySQL's classes.

Each function makes the wrapper of one method. A cancelled call closes its connection, and with it the transaction.

Source: aiomysql 0.2, 0.3 (cursors.py, connection.py); asyncmy 0.2 (cursors.pyx, connection.pyx).
"""

from collections.abc import Callable
from typing import Any

from noclobber.guard import GUARD
from noclobber.stores import mysql_session
from noclobber.stores.mysql_session import Running, failing, inserting, let_go, starting, steering
from noclobber.stores.sql_session import COVERED

__all__ = ["aclosing", "batching", "calling", "commanding", "executing", "plainly", "querying"]

Maker = Callable[[Any], Any]
"""Makes a wrapper of what was there."""


def executing(library: str) -> Maker:
    """A cursor's `execute`."""

    def wrap(original: Any) -> Any:
        async def execute(self: Any, query: Any, args: Any = None) -> Any:
            running = None
            with GUARD:
                running = starting(library, self.connection, query, args)
            if running is None:
                return await original(self, query, args)
            with failing(running):
                answer = await original(self, query, args)
            with GUARD:
                running.returned(self.rowcount, self.lastrowid, self._result)
            return answer

        return execute

    return wrap


def batching(library: str) -> Maker:
    """A cursor's `executemany`, where it makes texts of many sets that go through `execute`."""

    def wrap(original: Any) -> Any:
        async def executemany(self: Any, query: Any, args: Any) -> Any:
            batch = None
            with GUARD:
                batch = inserting(library, self.connection, query, args)
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
                running.returned(self.rowcount)
            return answer

        return executemany

    return wrap


def calling(library: str) -> Maker:
    """A cursor's `callproc`."""

    def wrap(original: Any) -> Any:
        async def callproc(self: Any, procname: Any, args: Any = ()) -> Any:
            running = None
            with GUARD:
                running = starting(library, self.connection, "CALL", None)
            if running is None:
                return await original(self, procname, args)
            with failing(running):
                answer = await original(self, procname, args)
            with GUARD:
                running.returned(result=self._result)
            return answer

        return callproc

    return wrap


def querying(library: str) -> Maker:
    """A text that a program gives to the connection itself; cursors do so, too, inside what is recorded."""

    def wrap(original: Any) -> Any:
        async def query(self: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
            running = None
            with GUARD:
                running = mysql_session.querying(library, self, sql)
            if running is None:
                return await original(self, sql, *args, **kwargs)
            with failing(running):
                answer = await original(self, sql, *args, **kwargs)
            with GUARD:
                running.returned(self._affected_rows, None, self._result)
            return answer

        return query

    return wrap


def commanding(library: str, text: str) -> Maker:
    """A command that the driver sends by itself."""
    return plainly(lambda self: steering(library, self, text))


def plainly(begin: Callable[[Any], Running | None]) -> Maker:
    """A call of which nothing is known but that it returned; `begin` says, by its object, what it is recorded as."""

    def wrap(original: Any) -> Any:
        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            running: Running | None = None
            with GUARD:
                running = begin(self)
            if running is None:
                return await original(self, *args, **kwargs)
            with failing(running):
                answer = await original(self, *args, **kwargs)
            with GUARD:
                running.returned()
            return answer

        return call

    return wrap


def aclosing(original: Any) -> Any:
    """What says good-bye and closes a connection."""

    async def ensure_closed(self: Any, *args: Any, **kwargs: Any) -> Any:
        let_go(self)
        return await original(self, *args, **kwargs)

    return ensure_closed
