"""The store: one client type for the embedded engine and for a server.

No part of noclobber asks which of the two it is. A URL `chdb:///folder` opens the engine inside this process, which
alone may hold that folder; `http(s)://user:password@host:8123/database` reaches a server. Parameters are always bound
by ClickHouse, never put into the text of a statement.

A client whose statement failed is closed and replaced: with chdb the next statement on it would silently get the old
rows (seen with chdb-core 26.9.0). A client serves one statement at a time; those that are idle wait in a pool, since
threads come and go (each page of the dashboard is drawn in a thread of its own).
"""

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from noclobber_collector.ddl import LOCAL, SHARDED_BY, rendered
from noclobber_collector.errors import StoreError, StoreUnreachableError, StoreUnusableError
from noclobber_collector.migrate import migrate
from noclobber_collector.retention import keep, wanted_days

__all__ = ["DATABASE", "ENGINE_PATH", "Store", "open_store", "wait_for_store"]

DATABASE: Final = "noclobber"
ENGINE_PATH: Final = "api/v1/store"
"""Where a running engine offers its store (`noclobber_collector.store_route`)."""
ACCESS_DENIED: Final = 497
MAKE_DATABASE: Final = "CREATE DATABASE IF NOT EXISTS {name:Identifier}{on_cluster} ENGINE = Atomic"
ON_CLUSTER: Final[Mapping[str, object]] = {
    "distributed_foreground_insert": 1,  # an insert is acknowledged by the shards, not by a queue
    "load_balancing": "in_order",
    "prefer_localhost_replica": 0,  # with in_order: who reads asks the replica that was written to, while it is there
    "distributed_product_mode": "global",
}
"""Settings of each statement on a cluster."""
WAIT_FIRST_S: Final = 0.5
WAIT_MAX_S: Final = 10.0
IDLE_MAX: Final = 8
"""Idle clients that are kept."""
CONNECT_TIMEOUT_S: Final = 10
GIVE_ROWS: Final = ("SELECT", "WITH", "SHOW", "DESC", "EXISTS", "EXPLAIN", "CHECK")
NOTHING: Final[Mapping[str, object]] = {}
_CLUSTER: Final = re.compile(r"[\w.-]*")
_FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")
_INSERT: Final = re.compile(
    r"\s*INSERT\s+INTO\s+(\S+?)\s*(?:\(([^)]*)\))?\s*(?:SETTINGS .*)?FORMAT", re.IGNORECASE | re.DOTALL
)


def open_store(url: str, *, token: str | None = None, prepare: bool = True) -> "Store":
    """The store at `url`, its tables made or brought up to date.

    Args:
        url: `chdb:///absolute/folder`, or `http(s)://[user[:password]@]host[:port]/[[path/]database][?cluster=NAME]`;
            the path `api/v1/store` is a running engine's.
        token: bearer token, for a store that is reached through a running engine's API.
        prepare: make or migrate the tables; off for a store that belongs to a running engine.

    Raises:
        StoreUnreachableError: nobody answers there.
        StoreUnusableError: the URL makes no sense, its tables belong to a newer version, or it can't be read.
        StoreError: it refuses us.
    """
    name = _hidden(url)
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what fails is raised, and said once
    cluster = ""
    if url.startswith("chdb://"):
        connect, database = _embedded(url), DATABASE
    else:
        connect, database, cluster = _server(url, token)
    if prepare:
        first = Store(lambda: connect(None), name)
        try:
            for statement in rendered(MAKE_DATABASE, {}, cluster):
                first.command(statement, {"name": database})
        except StoreError as error:
            if error.code != ACCESS_DENIED:  # the database may be there already; the tables will tell
                raise
        finally:
            first.close()
    store = Store(lambda: connect(database), name, cluster)
    if prepare:
        try:
            migrate(store)
            keep(store, wanted_days())
        except StoreError:
            store.close()
            raise
    return store


def wait_for_store(url: str, ending: threading.Event, say: Callable[[str], None]) -> "Store | None":
    """The store at `url` as soon as it answers; None if the end came first.

    Args:
        url: as for `open_store`.
        ending: set when nobody waits any more.
        say: told each new reason why it has to wait.

    Raises:
        StoreUnusableError: waiting will not help.
    """
    said, pause_s = "", WAIT_FIRST_S
    while not ending.is_set():
        try:
            return open_store(url)
        except StoreUnusableError:
            raise
        except StoreError as error:
            if str(error) != said:
                said = str(error)
                say(f"{said}; what arrives is kept in the spool meanwhile")
            ending.wait(pause_s)
            pause_s = min(pause_s * 2, WAIT_MAX_S)
    return None


def _embedded(url: str) -> Callable[[str | None], Any]:
    folder = url.removeprefix("chdb://")
    if not folder.startswith("/"):
        raise StoreUnusableError(f"an embedded store needs an absolute folder: chdb:///path, not {url}")

    def connect(database: str | None) -> Any:
        try:
            import clickhouse_connect

            return clickhouse_connect.get_client(dsn=f"chdb://{folder}", database=database)
        except ImportError as error:
            raise StoreUnusableError("the embedded store needs chdb: pip install 'noclobber[embedded]'") from error
        except Exception as error:
            raise StoreUnusableError(f"the embedded store in {folder} can't be opened: {_short(error)}") from error

    return connect


def _server(url: str, token: str | None) -> tuple[Callable[[str | None], Any], str, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreUnusableError(
            f"no store can be reached at {_hidden(url)!r}: use chdb:///folder or http(s)://user@host:8123/database"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    cluster = options.pop("cluster", "")
    if options or not _CLUSTER.fullmatch(cluster):
        raise StoreUnusableError(
            f"a store's URL may end in ?cluster=NAME, with letters, digits, dots and dashes; not {parts.query!r}"
        )
    path, _, database = parts.path.strip("/").rpartition("/")
    if parts.path.strip("/") == ENGINE_PATH:
        path, database = ENGINE_PATH, ""

    def connect(database: str | None) -> Any:
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import ClickHouseError

        more: dict[str, Any] = {"proxy_path": path} if path else {}
        if cluster and database:
            more["settings"] = dict(ON_CLUSTER)
        if token:
            more["access_token"] = token
        else:
            more |= {"username": unquote(parts.username or "default"), "password": unquote(parts.password or "")}
        try:
            return clickhouse_connect.get_client(
                host=parts.hostname,
                port=port or (8443 if parts.scheme == "https" else 8123),
                secure=parts.scheme == "https",
                database=database or "__default__",
                connect_timeout=CONNECT_TIMEOUT_S,
                autogenerate_session_id=False,
                **more,
            )
        except (ClickHouseError, OSError) as error:
            name = _hidden(url)
            code = getattr(error, "code", None)
            if code is not None:
                raise StoreError(f"the store at {name} refuses us: {_short(error)}", code) from error
            raise StoreUnreachableError(f"the store at {name} does not answer: {_short(error)}") from error

    return connect, database or DATABASE, cluster


def _hidden(url: str) -> str:
    """`url` without its password."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url


class _Bound:
    """A parameter as it came over the wire: the sender's client has escaped it, ours would do so again."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Store:
    """Statements over one database.

    Thread safe: a client serves one statement at a time.

    Args:
        connect: makes a client.
        name: how people know it, for messages.
        cluster: over which it is spread; "": one engine.
    """

    def __init__(self, connect: Callable[[], Any], name: str, cluster: str = "") -> None:
        self._connect = connect
        self.name = name
        self.cluster = cluster
        self._idle: list[Any] = []
        self._closed = False
        self._lock = threading.Lock()

    def rows(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return [tuple(row) for row in self._query(sql, parameters).result_rows]

    def dicts(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[dict[str, Any]]:
        """The rows of a query, by column name."""
        return list(self._query(sql, parameters).named_results())

    def columns(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> dict[str, Sequence[Any]]:
        """The columns of a query by name, each as long as there are rows; without rows there may be no names."""
        result = self._query(sql, parameters)
        found = result.result_columns or [() for _ in result.column_names]
        return dict(zip(result.column_names, found, strict=True))

    def native(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> bytes:
        """The answer to a query in ClickHouse's format `Native`, for a client elsewhere (`loan`)."""
        bound = dict(parameters)
        return bytes(self._with(lambda client: client.raw_query(sql, parameters=bound, fmt="Native"), sql))

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

    def delete(self, table: str, where: str, parameters: Mapping[str, object] = NOTHING) -> None:
        """Delete rows, on every shard; done when it returns.

        Args:
            table: one of ours.
            where: the condition; constants and bound parameters only.
            parameters: of the condition.
        """
        self.alter("DELETE FROM {table}{on_cluster} WHERE {where}", table, parameters, where=where)

    def alter(self, statement: str, table: str, parameters: Mapping[str, object] = NOTHING, **parts: str) -> None:
        """Run a statement on the rows of a table, on every shard.

        Args:
            statement: with `{table}{on_cluster}` where the name stands, and bound parameters.
            table: one of ours.
            parameters: bound ones.
            parts: what stands for other names in braces; constants only.
        """
        for each in rendered(statement, {**parts, "table": self.local(table)}, self.cluster):
            self.command(each, parameters)

    def local(self, table: str) -> str:
        """The table that holds the rows of `table`: on a cluster those of this shard."""
        return table + LOCAL if self.cluster and table in SHARDED_BY else table

    def raw(self, sql: str, parameters: Mapping[str, str], settings: Mapping[str, Any], fmt: str) -> tuple[str, bytes]:
        """A statement's answer in ClickHouse's format `fmt` (or what its FORMAT clause says).

        Parameters are in ClickHouse's own text form, as they come over its HTTP interface.
        """
        named = _FORMAT.search(sql)
        kind, text = (named[1], sql[: named.start()]) if named else (fmt, sql)
        bound = {name: _Bound(value) for name, value in parameters.items()}
        if not _gives_rows(text):
            self.command(text, bound)
            return kind, b""
        answer = self._with(
            lambda client: client.raw_query(text, parameters=bound, settings=dict(settings), fmt=kind), text
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
        """Close every client; one that is at work closes when it is done."""
        with self._lock:
            clients, self._idle = self._idle, []
            self._closed = True
        for client in clients:
            client.close()

    def _query(self, sql: str, parameters: Mapping[str, object]) -> Any:
        return self._with(lambda client: client.query(sql, parameters=dict(parameters)), sql)

    def _with(self, ask: Callable[[Any], Any], what: str) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        client = self._taken()
        try:
            answer = ask(client)
        except (ClickHouseError, OSError) as error:
            client.close()
            kind = StoreUnreachableError if _is_unreachable(error) else StoreError
            raise kind(f"{self.name}: {_short(error)} (in: {what[:200]})", getattr(error, "code", None)) from error
        except BaseException:
            client.close()
            raise
        self._give_back(client)
        return answer

    def _taken(self) -> Any:
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.name} is closed")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, client: Any) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < IDLE_MAX:
                self._idle.append(client)
                return
        client.close()


def _gives_rows(sql: str) -> bool:
    return sql.lstrip(" (\n").upper().startswith(GIVE_ROWS)


def _is_unreachable(error: Exception) -> bool:
    """Whether no server answered: what it says itself carries a code."""
    from clickhouse_connect.driver.exceptions import OperationalError

    return getattr(error, "code", None) is None and isinstance(error, OperationalError | OSError)


def _short(error: BaseException) -> str:
    """The first line of what went wrong; of a connection's failure only the reason."""
    text = str(error).strip().split("\n")[0]
    reason = _ERRNO.search(text)
    return reason[1] if reason and getattr(error, "code", None) is None else text[:500]
