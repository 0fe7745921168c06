"""A running engine's store for commands beside it, in ClickHouse's own HTTP interface.

`analyze`, `findings` and `doctor` can't open an embedded store that `noclobber up` holds. They reach it here, with the
same client that they would use for a server: queries in the body, bound parameters and settings in the URL, rows in
ClickHouse's formats. It is for the commands' own statements, with the API's token, and listens where the API does. By
GET it answers a ping and nothing else.

Source: ClickHouse, "HTTP Interface"; clickhouse-connect's httpclient.
"""

import asyncio
import gzip
import io
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
    ["query", "database", "query_id", "session_id", "session_timeout", "session_check", "compress", "decompress",
     "role", "user", "password", "default_format", "wait_end_of_query", "buffer_size", "client_protocol_version",
     "enable_http_compression", "quota_key", "http_headers_progress_interval_ms", "send_progress_in_http_headers"]
)  # fmt: skip
"""Parameters of the URL that are no settings of ClickHouse."""
_INSERT: Final = re.compile(rb"^\s*INSERT\s.*?\sFORMAT\s+(\w+)[ \t]*\r?\n?", re.IGNORECASE | re.DOTALL)
BODY_MAX: Final = 256 << 20
"""Bytes of a request, as they come and unpacked."""
UNKNOWN_EXCEPTION: Final = 1002
READONLY: Final = 164


def store_route(store: Store, path: str = "/api/v1/store") -> Route:
    """The route; mount it where the API's token is checked."""

    async def answer(request: Request) -> Response:
        if request.url.path.rstrip("/").endswith("/ping"):
            return Response("Ok.\n", media_type="text/plain")
        if request.method != "POST":  # a browser follows any link by GET, with the cookies of whoever clicked it
            message = f"Code: {READONLY}. DB::Exception: statements are posted"
            return Response(message, 405, {"Allow": "POST", "X-ClickHouse-Exception-Code": str(READONLY)})
        try:
            asked = await _asked(request)
            kind, body = await asyncio.to_thread(_run, store, asked)
        except (StoreError, ValueError) as error:
            code = getattr(error, "code", None) or UNKNOWN_EXCEPTION
            return Response(f"Code: {code}. DB::Exception: {error}", 500, {"X-ClickHouse-Exception-Code": str(code)})
        headers = {
            "X-ClickHouse-Format": kind,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Query-Id": asked.query_id,
            "X-ClickHouse-Summary": '{"read_rows":"0","written_rows":"0","elapsed_ns":"0"}',
        }
        return Response(body, headers=headers, media_type="application/octet-stream")

    return Route(path + "{rest:path}", answer, methods=["GET", "POST"])


class _Asked:
    def __init__(
        self, query: bytes, parameters: Mapping[str, str], settings: Mapping[str, str], query_id: str, fmt: str
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
        body = _unpacked(await _body(request), request.headers.get("content-encoding", ""))
    parameters = {name.removeprefix("param_"): value for name, value in values.items() if name.startswith("param_")}
    settings = {
        name: value for name, value in values.items() if name not in NOT_SETTINGS and not name.startswith("param_")
    }
    joined = query + (b"\n" if query and body else b"") + body
    fmt = values.get("default_format") or request.headers.get("x-clickhouse-format") or "TabSeparated"
    return _Asked(joined, parameters, settings, values.get("query_id", ""), fmt)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_MAX:
            raise ValueError(f"the request has more than {BODY_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression, as clickhouse-connect compresses inserts.

    Raises:
        ValueError: another encoding, or too much comes out.
    """
    if not encoding or encoding == "identity":
        return body
    if encoding == "lz4":
        import lz4.frame  # type: ignore[import-untyped]  # it has no types

        with lz4.frame.open(io.BytesIO(body)) as stream:
            data: bytes = stream.read(BODY_MAX + 1)
    elif encoding == "zstd":
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            data = reader.read(BODY_MAX + 1)  # a client may send a frame for each block of rows
    elif encoding == "gzip":
        with gzip.open(io.BytesIO(body)) as file:
            data = file.read(BODY_MAX + 1)
    elif encoding == "deflate":
        data = zlib.decompressobj(15).decompress(body, BODY_MAX + 1)
    else:
        raise ValueError(f"the content-encoding {encoding!r} is not known")
    if len(data) > BODY_MAX:
        raise ValueError(f"the request has more than {BODY_MAX} bytes")
    return data


def _run(store: Store, asked: _Asked) -> tuple[str, bytes]:
    found = _INSERT.match(asked.query)
    if found:
        store.insert_raw(found[0].decode(), found[1].decode(), asked.query[found.end() :], dict(asked.settings))
        return found[1].decode(), b""
    return store.raw(asked.query.decode(), asked.parameters, asked.settings, asked.fmt)
