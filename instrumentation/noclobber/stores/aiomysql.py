"""aiomysql: cursors, executemany, begin, commit, rollback, autocommit, pools.

The asynchronous twin of PyMySQL's hooks (`pymysql`), on aiomysql's own classes; pools hand out the same connections.
A cancelled call closes its connection, and with it the transaction.

Not recorded: what PyMySQL's hooks do not record.

Source: aiomysql 0.2, 0.3 (cursors.py, connection.py, pool.py).
"""

from types import ModuleType
from typing import Final

from noclobber.bootstrap.registry import Integration
from noclobber.stores.mysql_async import aclosing, batching, calling, commanding, executing, querying
from noclobber.stores.mysql_session import closing
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "aiomysql"
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap cursors and connections, if they are as they are known."""
    from aiomysql.connection import Connection
    from aiomysql.cursors import Cursor

    hooks: list[Hook] = [
        (Cursor, "execute", executing(LIBRARY)),
        (Cursor, "executemany", batching(LIBRARY)),
        (Cursor, "callproc", calling(LIBRARY)),
        (Connection, "query", querying(LIBRARY)),
        (Connection, "begin", commanding(LIBRARY, "BEGIN")),
        (Connection, "commit", commanding(LIBRARY, "COMMIT")),
        (Connection, "rollback", commanding(LIBRARY, "ROLLBACK")),
        (Connection, "autocommit", commanding(LIBRARY, "SET AUTOCOMMIT")),
        (Connection, "close", closing),
        (Connection, "ensure_closed", aclosing),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


INTEGRATION: Final = Integration("aiomysql", install, uninstall)
