"""A store that is lent to a child process: its statements go over a pipe, answers come back as the store gave them.

One process alone may hold the embedded store, and one interpreter runs one thread at a time. Live analysis needs a
core for itself and the store now and then. So it runs as a process of its own, and borrows the store of the one that
holds it: the lender runs the statement and hands on the answer in ClickHouse's format `Native`, without looking at a
row; the borrower decodes it as every client of ClickHouse does.

Only what live analysis asks for is lent: questions and inserts. Both ends are of one release and belong to one user;
each message is one statement or its answer.

Source: docs/decisions/0013.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

import msgspec

from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_collector.store import NOTHING, Store

if TYPE_CHECKING:
    from clickhouse_connect.driver.query import QueryResult

__all__ = ["BorrowedStore", "lend"]

log = logging.getLogger("noclobber.store")
_pack: Final = msgspec.msgpack.encode


class _Insert(msgspec.Struct, tag="insert", array_like=True):
    table: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class _Ask(msgspec.Struct, tag="ask", array_like=True):
    sql: str
    parameters: Mapping[str, Any]


class _Failure(msgspec.Struct, array_like=True):
    """What a statement failed with: an error of the store, or of the lender itself (`code` None)."""

    text: str
    code: int | None
    is_unreachable: bool


_asked: Final = msgspec.msgpack.Decoder(_Ask | _Insert)
_failed: Final = msgspec.msgpack.Decoder(_Failure)
_GIVEN, _REFUSED = b"\0", b"\1"


def lend(store: Store, connection: Connection) -> None:
    """Answer a borrower, one statement after the other, until it has gone."""
    while True:
        try:
            asked = connection.recv_bytes()
        except (EOFError, OSError):
            return
        answer = _answer(store, asked)
        try:
            connection.send_bytes(answer)
        except OSError:
            return


def _answer(store: Store, asked: bytes) -> bytes:
    try:
        statement = _asked.decode(asked)
        if isinstance(statement, _Ask):
            return _GIVEN + store.native(statement.sql, statement.parameters)
        store.insert(statement.table, statement.columns, statement.rows)
    except StoreError as error:
        return _REFUSED + _pack(_Failure(str(error), error.code, isinstance(error, StoreUnreachableError)))
    except Exception as error:  # it must not end for one statement
        log.exception("a statement of a borrower failed")
        return _REFUSED + _pack(_Failure(f"{type(error).__name__}: {error}", None, is_unreachable=False))
    return _GIVEN


class BorrowedStore:
    """A store that another process holds, as `Store` gives it to live analysis; thread safe.

    Args:
        connection: to the lender.
        on_gone: called when the lender turns out to have gone, before that is raised.

    Raises:
        StoreError: by each statement, where the store or the lender refuses it.
        StoreUnreachableError: where the lender's store does not answer, or the lender has gone.
    """

    def __init__(self, connection: Connection, on_gone: Callable[[], object] = lambda: None) -> None:
        self._connection, self._on_gone = connection, on_gone
        self._lock = threading.Lock()

    def rows(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return [tuple(row) for row in self._result(sql, parameters).result_rows]

    def columns(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> dict[str, Sequence[Any]]:
        """The columns of a query by name, each as long as there are rows; without rows there may be no names."""
        result = self._result(sql, parameters)
        found = result.result_columns or [() for _ in result.column_names]
        return dict(zip(result.column_names, found, strict=True))

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert rows at once: all of them or none."""
        if rows:
            self._sent(_Insert(table, columns, rows))

    def _result(self, sql: str, parameters: Mapping[str, object]) -> "QueryResult":
        return _decoded(self._sent(_Ask(sql, parameters)))

    def _sent(self, statement: _Ask | _Insert) -> memoryview:
        """The answer to a statement."""
        asked = _pack(statement)
        with self._lock:
            try:
                self._connection.send_bytes(asked)
                answer = memoryview(self._connection.recv_bytes())
            except (EOFError, OSError) as error:
                self._on_gone()
                raise StoreUnreachableError("the process that lends the store has gone") from error
        if answer[:1] == _GIVEN:
            return answer[1:]
        failure = _failed.decode(answer[1:])
        raise (StoreUnreachableError if failure.is_unreachable else StoreError)(failure.text, failure.code)


class _Bytes:
    """An answer as the decoder wants to read it: whole, as if it came in one piece."""

    exception_tag: str | None = None
    last_message: bytes | None = None

    def __init__(self, data: memoryview) -> None:
        self.gen = iter((bytes(data),))

    def close(self) -> None:
        """There is nothing to close."""


def _decoded(data: memoryview) -> "QueryResult":
    """Native bytes as the client decodes those of its own queries."""
    from clickhouse_connect.driver import ctypes
    from clickhouse_connect.driver.query import QueryContext, QueryResult
    from clickhouse_connect.driver.transform import NativeTransform

    if not data:
        return QueryResult([])
    buffer: Any = ctypes.RespBuffCls  # of Cython, where that was built
    result = NativeTransform.parse_response(buffer(_Bytes(data)), QueryContext())
    assert isinstance(result, QueryResult)
    return result
