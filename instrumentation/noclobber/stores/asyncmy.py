"""asyncmy: cursors, executemany, begin, commit, rollback, autocommit, pools.

The driver has PyMySQL's shape, written in Cython: the methods of its connection can be wrapped, those of its cursors
can't. So `Connection.cursor` gives out cursors of subclasses with the same names, which stand below a program's own.
A batch may go to the server in one piece (MariaDB's bulk protocol) and then passes no `execute`, whatever it does.

Not recorded: what PyMySQL's hooks do not record; a statement that a program prepares itself is a partial look at the
whole database.

Source: asyncmy 0.2 (cursors.pyx, connection.pyx, pool.pyx).
"""

import functools
from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores import mysql_session
from noclobber.stores.mysql_async import aclosing, calling, commanding, executing, plainly, querying
from noclobber.stores.mysql_session import closing, failing, inserting
from noclobber.stores.sql_session import COVERED, recording
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "asyncmy"
PREPARED: Final = "CALL"
"""Planned as what may read any table."""
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap connections, if they are as they are known."""
    from asyncmy import connection

    hooks: list[Hook] = [
        (connection.Connection, "cursor", _giving),
        (connection.Connection, "query", querying(LIBRARY)),
        (connection.Connection, "begin", commanding(LIBRARY, "BEGIN")),
        (connection.Connection, "commit", commanding(LIBRARY, "COMMIT")),
        (connection.Connection, "rollback", commanding(LIBRARY, "ROLLBACK")),
        (connection.Connection, "autocommit", commanding(LIBRARY, "SET AUTOCOMMIT")),
        (connection.Connection, "close", closing),
        (connection.Connection, "ensure_closed", aclosing),
    ]
    prepared = getattr(connection, "PreparedStatement", None)  # not before 0.2.14
    if prepared is not None:  # cursors make and run some, too, inside what is recorded
        reading = plainly(lambda self: mysql_session.querying(LIBRARY, self._connection, PREPARED))
        hooks += [(prepared, "execute", reading), (prepared, "execute_bulk", reading)]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _giving(original: Any) -> Any:
    def cursor(self: Any, cursor: Any = None) -> Any:
        with GUARD:
            if recording() is not None:
                return original(self, _recorded(cursor or self._cursor_cls))
        return original(self, cursor)

    return cursor


@functools.lru_cache(256)
def _recorded(kind: Any) -> Any:
    """A class of cursors that are recorded, for those of `kind`; as it is, where that is not possible."""
    from asyncmy.cursors import Cursor

    if not isinstance(kind, type) or not issubclass(kind, Cursor):
        return kind
    below = _plain()
    bases = (below,) if kind is Cursor else (kind, below)
    make: Any = type(kind)  # its metaclass
    return make(kind.__name__, bases, {"__module__": kind.__module__, "__qualname__": kind.__qualname__})


@functools.cache
def _plain() -> Any:
    from asyncmy.cursors import Cursor

    wrapped = {"execute": executing(LIBRARY), "executemany": _batching, "callproc": calling(LIBRARY)}
    methods = {
        name: functools.wraps(getattr(Cursor, name))(make(getattr(Cursor, name))) for name, make in wrapped.items()
    }
    return type("Cursor", (Cursor,), {"__module__": Cursor.__module__, **methods})


def _batching(original: Any) -> Any:
    async def executemany(self: Any, query: Any, args: Any) -> Any:
        batch = None
        with GUARD:
            bulk = bool(getattr(self.connection, "_bulk_supported", False) and self.connection._stmt_cache_size)
            batch = inserting(LIBRARY, self.connection, query, args, whole=bulk)
        if batch is None:
            return await original(self, query, args)
        running, noted = batch
        before = COVERED.get()
        COVERED.set(True)  # the texts that it makes of them go through `execute`
        try:
            with failing(running):
                given: Any = iter(noted)
                if isinstance(args, list | tuple):
                    for _ in given:
                        pass
                    given = args  # which the driver asks for by number
                answer = await original(self, query, given)
        finally:
            COVERED.set(before)
        with GUARD:
            running.returned(self.rowcount)
        return answer

    return executemany


INTEGRATION: Final = Integration("asyncmy", install, uninstall)
