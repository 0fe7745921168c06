"""The store: one client type for the embedded engine and for a server.

No part of noclobber asks which of the two it is. A URL `chdb:///folder` opens the engine inside this process, which
alone may hold that folder; `http(s)://user:password@host:8123/database` reaches a server. Parameters are always bound
by ClickHouse, never put into the text of a statement.

A client whose statement failed is closed and replaced: with chdb the next statement on it would silently get the old
rows (seen with chdb-core 26.9.0). Clients are not shared between threads.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_collector.migrate import migrate

__all__ = ["DATABASE", "Store", "open_store"]

DATABASE: Final = "noclobber"
CONNECT_TIMEOUT_S: Final = 10
NOTHING: Final[Mapping[str, object]] = {}
_FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT: Final = re.compile(
    r"\s*INSERT\s+INTO\s+(\S+?)\s*(?:\(([^)]*)\))?\s*(?:SETTINGS .*)?FORMAT", re.IGNORECASE | re.DOTALL
)


def open_store(url: str, *, token: str | None = None, prepare: bool = True) -> "Store":
    """The store at `url`, its tables made or brought up to date.

    Args:
        url: `chdb:///absolute/folder`, or `http(s)://[user[:password]@]host[:port]/[path/]database`.
        token: bearer token, for a store that is reached through a running engine's API.
        prepare: make or migrate the tables; off for a store that belongs to a running engine.

    Raises:
        StoreUnreachableError: nobody answers there.
        StoreUnusableError: its tables belong to a newer version, or it can't be read.
        StoreError: the URL makes no sense.
    """
    connect = _embedded(url) if url.startswith("chdb://") else _server(url, token)
    if prepare:
        first = connect(None)
        try:
            first.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic")
        except Exception as error:
            raise StoreError(f"the store {_hidden(url)} takes no database: {error}") from error
        finally:
            first.close()
    store = Store(lambda: connect(DATABASE), _hidden(url))
    if prepare:
        migrate(store)
    return store


def _embedded(url: str) -> Callable[[str | None], Any]:
    folder = url.removeprefix("chdb://")
    if not folder.startswith("/"):
        raise StoreError(f"an embedded store needs an absolute folder: chdb:///path, not {url}")

    def connect(database: str | None) -> Any:
        try:
            import clickhouse_connect

            return clickhouse_connect.get_client(dsn=f"chdb://{folder}", database=database)
        except ImportError as error:
            raise StoreError("the embedded store needs chdb: pip install 'noclobber[embedded]'") from error
        except Exception as error:
            raise StoreError(f"the embedded store in {folder} can't be opened: {error}") from error

    return connect


def _server(url: str, token: str | None) -> Callable[[str | None], Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreError(f"no store can be reached at {_hidden(url)!r}: use chdb:///folder or http(s)://user@host:8123")
    path = parts.path.strip("/")

    def connect(database: str | None) -> Any:
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import ClickHouseError

        more: dict[str, Any] = {"proxy_path": path} if "/" in path or path.startswith("api") else {}
        if token:
            more["headers"] = {"authorization": f"Bearer {token}"}
        try:
            return clickhouse_connect.get_client(
                host=parts.hostname,
                port=parts.port or (8443 if parts.scheme == "https" else 8123),
                username=unquote(parts.username or "default"),
                password=unquote(parts.password or ""),
                secure=parts.scheme == "https",
                database=database or "__default__",
                connect_timeout=CONNECT_TIMEOUT_S,
                autogenerate_session_id=False,
                **more,
            )
        except (ClickHouseError, OSError) as error:
            raise StoreUnreachableError(f"the store at {_hidden(url)} does not answer: {_short(error)}") from error

    return connect


def _hidden(url: str) -> str:
    """`url` without its password."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url


class Store:
    """Statements over one database.

    Thread safe: each thread has a client of its own.

    Args:
        connect: makes a client.
        name: how people know it, for messages.
    """

    def __init__(self, connect: Callable[[], Any], name: str) -> None:
        self._connect = connect
        self.name = name
        self._local = threading.local()
        self._clients: set[Any] = set()
        self._lock = threading.Lock()

    def rows(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return [tuple(row) for row in self._query(sql, parameters).result_rows]

    def dicts(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[dict[str, Any]]:
        """The rows of a query, by column name."""
        return list(self._query(sql, parameters).named_results())

    def columns(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> dict[str, Sequence[Any]]:
        """The columns of a query, by name, each as long as there are rows."""
        result = self._query(sql, parameters)
        found = result.result_columns or [() for _ in result.column_names]
        return dict(zip(result.column_names, found, strict=True))

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert rows at once: all of them or none."""
        if rows:
            self._with(lambda client: client.insert(table, rows, column_names=list(columns)), f"insert into {table}")

    def load(self, table: str, data: bytes, fmt: str, settings: Mapping[str, Any]) -> None:
        """Insert `data` as it is, in ClickHouse's own format `fmt`."""
        self._with(
            lambda client: client.raw_insert(table, insert_block=data, fmt=fmt, settings=dict(settings)),
            f"load into {table}",
        )

    def command(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> None:
        """Run a statement that returns nothing."""
        self._with(lambda client: client.command(sql, parameters=dict(parameters)), sql)

    def raw(self, sql: str, parameters: Mapping[str, object], settings: Mapping[str, Any], fmt: str) -> tuple[str, bytes]:
        """A statement's answer in ClickHouse's format `fmt` (or what its FORMAT clause says), for `store_route`."""
        named = _FORMAT.search(sql)
        kind, text = (named[1], sql[: named.start()]) if named else (fmt, sql)
        if not _gives_rows(text):
            self.command(text, parameters)
            return kind, b""
        answer = self._with(
            lambda client: client.raw_query(text, parameters=dict(parameters), settings=dict(settings), fmt=kind), text
        )
        return kind, bytes(answer)

    def insert_raw(self, statement: str, fmt: str, data: bytes, settings: Mapping[str, Any]) -> None:
        """Insert `data`, which is in ClickHouse's format `fmt`, by an INSERT statement; for `store_route`."""
        found = _INSERT.match(statement)
        if found is None:
            raise StoreError(f"this insert can't be read: {statement[:200]}")
        table = found[1].strip("`").rpartition(".")[2].strip("`")
        names = [name.strip(" `") for name in (found[2] or "").split(",") if name.strip()] or None
        self._with(
            lambda client: client.raw_insert(table, names, insert_block=data, fmt=fmt, settings=dict(settings)),
            statement,
        )

    def close(self) -> None:
        """Close every client."""
        with self._lock:
            clients, self._clients = self._clients, set()
        for client in clients:
            client.close()
        self._local = threading.local()

    def _query(self, sql: str, parameters: Mapping[str, object]) -> Any:
        return self._with(lambda client: client.query(sql, parameters=dict(parameters)), sql)

    def _with(self, ask: Callable[[Any], Any], what: str) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        client = self._client()
        try:
            return ask(client)
        except (ClickHouseError, OSError) as error:
            self._replace(client)
            kind = StoreUnreachableError if _unreachable(error) else StoreError
            raise kind(f"{self.name}: {_short(error)} (in: {what[:200]})") from error
        except BaseException:
            self._replace(client)
            raise

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
            with self._lock:
                self._clients.add(client)
        return client

    def _replace(self, client: Any) -> None:
        self._local.client = None
        with self._lock:
            self._clients.discard(client)
        client.close()


def _gives_rows(sql: str) -> bool:
    return sql.lstrip(" (\n").upper().startswith(("SELECT", "WITH", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN"))


def _unreachable(error: Exception) -> bool:
    text = str(error)
    return "Code: " not in text and ("onnect" in text or "imed out" in text or isinstance(error, OSError))


def _short(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:500]
