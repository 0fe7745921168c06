"""A ClickHouse HTTP server for tests: the real engine (chdb) behind the HTTP interface that clickhouse-connect speaks.

The embedded engine can't listen, and no current server is to be had as a package. So that the client's real `http`
transport meets the real engine, this stands between them: queries in the URL, the body or a form, bound parameters,
settings, sessions, compressed and chunked bodies, ClickHouse's own error texts, codes and headers. It proves nothing
about a server's network layer: answers are not streamed, there are no errors in the middle of one, no roles, and a
setting that is given back has its default.

Run as a program it is a server of its own process: `python clickhouse_over_http.py FOLDER PORT [PASSWORD]`.

Source: ClickHouse, "HTTP Interface"; clickhouse-connect 1.12, `httpcommon.py`.
"""

import base64
import contextlib
import email
import email.policy
import gzip
import io
import json
import re
import sys
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import chdb

__all__ = ["ClickHouseOverHttp"]

NO_SETTINGS: Final = frozenset(
    ["query", "database", "query_id", "session_id", "session_timeout", "session_check", "compress", "decompress",
     "role", "user", "password", "default_format", "wait_end_of_query", "buffer_size", "client_protocol_version",
     "enable_http_compression", "quota_key", "http_headers_progress_interval_ms", "send_progress_in_http_headers",
     "cancel_http_readonly_queries_on_client_close"]
)  # fmt: skip
STATUS: Final = {60: 404, 81: 404, 62: 400, 47: 400, 516: 403}
AUTHENTICATION_FAILED: Final = 516
_INSERT: Final = re.compile(rb"^\s*(INSERT\s+INTO\s.*?)\sFORMAT\s+(\w+)[ \t]*\r?\n?", re.IGNORECASE | re.DOTALL)
_FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE: Final = re.compile(r"Code: (\d+)\.")


class Asked(NamedTuple):
    """A request, taken apart."""

    values: Mapping[str, str]
    sql: bytes

    @property
    def bound(self) -> dict[str, str]:
        """Parameters of the statement, in ClickHouse's own text form."""
        return {name[6:]: value for name, value in self.values.items() if name.startswith("param_")}

    @property
    def settings(self) -> dict[str, str]:
        """Whatever else stands in the URL."""
        return {
            name: value
            for name, value in self.values.items()
            if name not in NO_SETTINGS and not name.startswith("param_")
        }


class Answered(NamedTuple):
    """What goes back."""

    fmt: str
    body: bytes
    rows_read: int
    rows_written: int


class ClickHouseError(Exception):
    """The engine's words and its code."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = _CODE.search(text)
        self.code = int(found[1]) if found else 1002


class Connections:
    """Handles of one engine: one a session, so that temporary tables live on, and a pool for the rest."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._sessions: dict[str, tuple[Any, threading.Lock]] = {}
        first = chdb.connect(path)  # it stays open: the engine lives as long as one of its handles
        self.version = first.query("SELECT version()", "TabSeparated").bytes().decode().strip()
        self._first = first

    @contextlib.contextmanager
    def one(self, session: str) -> Iterator[Any]:
        """A handle for one statement; a handle whose statement failed is never used again."""
        with self._lock:
            if session and session not in self._sessions:
                self._sessions[session] = (chdb.connect(self._path), threading.Lock())
            kept = self._sessions.get(session)
            handle = None if kept or not self._idle else self._idle.pop()
        if kept:
            with kept[1]:
                yield kept[0]
            return
        handle = handle or chdb.connect(self._path)
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        with self._lock:
            self._idle.append(handle)

    def close(self) -> None:
        """Close all; the engine ends with the last."""
        for handle in (*self._idle, *(handle for handle, _ in self._sessions.values()), self._first):
            handle.close()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    connections: ClassVar[Connections]
    password: ClassVar[str]

    def do_GET(self) -> None:
        """`/ping`, or a query in the URL."""
        if urlsplit(self.path).path == "/ping":
            self._send(200, b"Ok.\n", {})
        else:
            self._answer(b"")

    def do_POST(self) -> None:
        """A statement in the URL, in the body or in a form, with its data behind it."""
        self._answer(self._body())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        query_id, begun = "", time.monotonic_ns()
        try:
            asked = self._asked(body)
            query_id = asked.values.get("query_id", "") or str(uuid.uuid4())
            self._check(asked)
            answered = self._run(asked)
        except ClickHouseError as error:
            text = f"{error}".strip()
            if "(version " not in text:
                text += f" (version {self.connections.version} (official build))"
            self._send(
                STATUS.get(error.code, 500), text.encode() + b"\n", {"X-ClickHouse-Exception-Code": str(error.code)}
            )
            return
        summary = {
            "read_rows": str(answered.rows_read), "written_rows": str(answered.rows_written),
            "elapsed_ns": str(time.monotonic_ns() - begun),
        }  # fmt: skip
        headers = {
            "X-ClickHouse-Format": answered.fmt, "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Summary": json.dumps(summary),
        }  # fmt: skip
        data = answered.body
        if asked.values.get("enable_http_compression") == "1" and "gzip" in self.headers.get("Accept-Encoding", ""):
            data, headers["Content-Encoding"] = gzip.compress(data, 1), "gzip"
        self._send(200, data, headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(body)),
            "X-ClickHouse-Server-Display-Name": "clickhouse-over-http", "X-ClickHouse-Timezone": "UTC", **headers,
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(parts)

    def _asked(self, body: bytes) -> Asked:
        values = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            values |= _form(kind, body)
            body = b""
        else:
            body = _unpacked(body, self.headers.get("Content-Encoding", ""))
        query = values.get("query", "").encode()
        return Asked(values, query + (b"\n" if query and body else b"") + body)

    def _check(self, asked: Asked) -> None:
        """The password, where the server has one."""
        given = asked.values.get("password", self.headers.get("X-ClickHouse-Key", ""))
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            given = base64.b64decode(text).decode().partition(":")[2]
        if given != self.password:
            raise ClickHouseError(
                f"Code: {AUTHENTICATION_FAILED}. DB::Exception: default: Authentication failed: password is incorrect, "
                "or there is no user with such name. (AUTHENTICATION_FAILED)"
            )

    def _run(self, asked: Asked) -> Answered:
        with self.connections.one(asked.values.get("session_id", "")) as handle, _temporary() as folder:
            settings = list(asked.settings.items())
            database = asked.values.get("database")
            # A handle keeps what was set: a database that was not named is the default one again.
            _query(handle, f"USE {_quoted(database or 'default', '`')}")
            for name, value in settings:
                _query(handle, f"SET {_name(name)} = {_quoted(value)}")
            result, fmt = self._statement(handle, asked, folder)
            for name, _ in settings:
                _query(handle, f"SET {_name(name)} = DEFAULT")
        return Answered(fmt, result.bytes(), result.rows_read(), result.rows_written())

    def _statement(self, handle: Any, asked: Asked, folder: Path) -> tuple[Any, str]:
        insert = _INSERT.match(asked.sql)
        if insert and insert[2].lower() != b"values":
            file = folder / "data"
            file.write_bytes(asked.sql[insert.end() :])
            fmt = insert[2].decode()
            sql = f"{insert[1].decode()} FROM INFILE {_quoted(str(file))} COMPRESSION 'none' FORMAT {fmt}"
            return _query(handle, sql, fmt, asked.bound), fmt
        sql = asked.sql.decode()
        named = _FORMAT.search(sql)
        fmt = named[1] if named else asked.values.get("default_format") or "TabSeparated"
        return _query(handle, sql[: named.start()] if named else sql, fmt, asked.bound), fmt


def _query(handle: Any, sql: str, fmt: str = "TabSeparated", bound: Mapping[str, str] | None = None) -> Any:
    try:
        result = handle.query(sql, fmt, params=dict(bound or {}))
    except Exception as error:
        raise ClickHouseError(str(error)) from error
    if result.has_error():
        raise ClickHouseError(result.error_message())
    return result


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _name(setting: str) -> str:
    if not re.fullmatch(r"\w+", setting):
        raise ClickHouseError(f"Code: 115. DB::Exception: Unknown setting '{setting}'. (UNKNOWN_SETTING)")
    return setting


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def _form(kind: str, body: bytes) -> dict[str, str]:
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True)).decode()  # type: ignore[arg-type]  # parts of a form are no messages
        for part in message.iter_parts()  # type: ignore[attr-defined]  # the HTTP policy gives an EmailMessage
    }


def _unpacked(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "" | "identity":
            return body
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case "lz4":
            import lz4.frame  # type: ignore[import-untyped]  # it has no types

            with lz4.frame.open(io.BytesIO(body)) as stream:  # a frame for each block of rows
                return bytes(stream.read())
        case "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True).read()
    raise ClickHouseError(f"Code: 415. DB::Exception: Unknown compression method: {encoding}. (UNKNOWN_FORMAT)")


class ClickHouseOverHttp:
    """The server, on a thread; of a process only one at a time, since chdb opens one folder in a process.

    Args:
        folder: of the engine's data.
        options: of the engine, as `config-file`.
        password: of the user `default`.
        port: 0 is any free one.
    """

    def __init__(
        self, folder: Path, *, options: Mapping[str, str] | None = None, password: str = "", port: int = 0
    ) -> None:
        query = "&".join(f"{name}={value}" for name, value in (options or {}).items())
        self._connections = Connections(f"{folder}?{query}" if query else str(folder))
        handler = type("Bound", (Handler,), {"connections": self._connections, "password": password})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://default{':' + password if password else ''}@127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and close the engine."""
        self._server.shutdown()
        self._thread.join(20)
        self._server.server_close()
        self._connections.close()


if __name__ == "__main__":
    server = ClickHouseOverHttp(Path(sys.argv[1]), port=int(sys.argv[2]), password="".join(sys.argv[3:]))
    print(server.url, flush=True)
    threading.Event().wait()
