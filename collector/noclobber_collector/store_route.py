"""A running engine's store for commands beside it, in ClickHouse's own HTTP interface.

`analyze`, `findings` and `doctor` can't open an embedded store that `noclobber up` holds. They reach it here, with the
same client that they would use for a server: queries in the body, bound parameters and settings in the URL, rows in
ClickHouse's formats. It is for the commands' own statements, with the API's token, and listens where the API does.

Source: ClickHouse, "HTTP Interface"; clickhouse-connect's httpclient.
"""

import asyncio
import gzip
import re
import zlib
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from noclobber_collector.errors import StoreError
from noclobber_collector.store import Store

__all__ = ["store_route"]

NOT_SETTINGS: Final = frozenset(
    """query database query_id session_id session_timeout session_check compress decompress role user password
    default_format wait_end_of_query buffer_size client_protocol_version enable_http_compression quota_key
    http_headers_progress_interval_ms send_progress_in_http_headers""".split()
)
_INSERT: Final = re.compile(rb"^\s*INSERT\s.*?\sFORMAT\s+(\w+)[ \t]*\r?\n?", re.IGNORECASE | re.DOTALL)
BODY_MAX: Final = 256 << 20


def store_route(store: Store, path: str = "/api/v1/store") -> Route:
    """The route; mount it where the API's token is checked."""

    async def answer(request: Request) -> Response:
        if request.url.path.rstrip("/").endswith("/ping"):
            return Response("Ok.\n", media_type="text/plain")
        asked = await _asked(request)
        try:
            kind, body = await asyncio.to_thread(_run, store, asked)
        except StoreError as error:
            return Response(
                f"{error} (version 26.9.2.1 (official build))", 500, {"X-ClickHouse-Exception-Code": "1002"}
            )
        headers = {
            "X-ClickHouse-Format": kind,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Query-Id": asked.query_id,
            "X-ClickHouse-Summary": '{"read_rows":"0","written_rows":"0","elapsed_ns":"0"}',
        }
        return Response(body, headers=headers, media_type="application/octet-stream")

    return Route(path + "{rest:path}", answer, methods=["GET", "POST"])


class _Bound:
    """A parameter as the client has bound it: ClickHouse's text for its type, escaped already, and not to be again."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class _Asked:
    def __init__(
        self, query: bytes, parameters: Mapping[str, object], settings: Mapping[str, str], query_id: str, fmt: str
    ) -> None:
        self.query, self.parameters, self.settings = query, parameters, settings
        self.query_id, self.fmt = query_id, fmt


async def _asked(request: Request) -> _Asked:
    values = dict(request.query_params)
    query = values.get("query", "").encode()
    if request.headers.get("content-type", "").startswith("multipart/"):
        form: FormData = await request.form()
        values |= {name: str(value) for name, value in form.items()}
        query = values.get("query", "").encode()
        body = b""
    else:
        body = _unpacked(await request.body(), request.headers.get("content-encoding", ""))
    parameters = {
        name.removeprefix("param_"): _Bound(value) for name, value in values.items() if name.startswith("param_")
    }
    settings = {
        name: value for name, value in values.items() if name not in NOT_SETTINGS and not name.startswith("param_")
    }
    joined = query + (b"\n" if query and body else b"") + body
    fmt = values.get("default_format") or request.headers.get("x-clickhouse-format") or "TabSeparated"
    return _Asked(joined, parameters, settings, values.get("query_id", ""), fmt)


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    if encoding == "lz4":
        import lz4.frame

        unpacked: bytes = lz4.frame.decompress(body)
        return unpacked
    return body


def _run(store: Store, asked: _Asked) -> tuple[str, bytes]:
    found = _INSERT.match(asked.query)
    if found:
        store.insert_raw(found[0].decode(), found[1].decode(), asked.query[found.end() :], dict(asked.settings))
        return found[1].decode(), b""
    return store.raw(asked.query.decode(), asked.parameters, asked.settings, asked.fmt)
