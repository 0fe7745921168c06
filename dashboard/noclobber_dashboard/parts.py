"""Parts of pages that keep themselves fresh: made once for all tabs, and sent only when something in them changed.

Streamlit refreshes a part by running its code again for each open tab, new or not: ten tabs are ten times the work, and
most of it makes what stands there already. Here a tab's script (`components/prose`) asks for the part instead, with
the tag of what it shows; the answer is the part's bytes, kept for all who ask within its time, or 304 and nothing.
A tab that nobody looks at asks nothing. Ages are counted on in the browser, so that time alone changes no part.

Source: RFC 9110, 13.1.2 (`If-None-Match`).
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber_collector.errors import StoreError
from noclobber_dashboard.cached import Cached
from noclobber_dashboard.components.prose import Shape, show
from noclobber_dashboard.queries import Queries

__all__ = ["Part", "Parts", "part_routes"]

WORD_MAX: Final = 2_000
"""Most characters of one word of an address."""
_HEADERS: Final = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page.

    Attributes:
        name: in its address, lower-case letters.
        every_s: how often a tab asks for it, and how long one answer serves all.
        make: what it shows, from the store's answers and the words of its address.
        words: which words its address may hold.
    """

    name: str
    every_s: float
    make: Callable[[Queries, Mapping[str, str]], Sequence[Shape]]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Made:
    nodes: list[dict[str, Any]]
    body: bytes
    tag: str


class Parts:
    """The parts of all pages, each made anew when its time is over and somebody asks.

    Args:
        queries: what they are made from.
        parts: those that there are.
    """

    def __init__(self, queries: Queries, parts: Sequence[Part]) -> None:
        self._queries = queries
        self._parts = {part.name: part for part in parts}
        self._cached = Cached(ttl_s=0.0)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def show(self, name: str, asked: Mapping[str, str] | None = None, *, fresh: bool = True) -> None:
        """Show a part on the page that runs.

        Args:
            name: which.
            asked: words of its address.
            fresh: whether it is asked for again; False: it stands still.
        """
        words = {word: text for word, text in (asked or {}).items() if text}
        made = self.made(name, words)
        data: dict[str, Any] = {"nodes": made.nodes, "now": time.time_ns() // 1_000_000}
        if fresh:
            path = f"/parts/{name}" + (f"?{urlencode(words)}" if words else "")
            data["again"] = {"path": path, "seconds": self._parts[name].every_s, "tag": made.tag}
        show(data, key=f"part-{name}")

    def made(self, name: str, asked: Mapping[str, str]) -> _Made:
        """A part as it is now, or was a moment ago."""
        part = self._parts[name]
        words = {word: asked.get(word, "")[:WORD_MAX] for word in part.words}
        return self._cached.get((name, *words.values()), lambda: self._make(part, words), least_s=part.every_s)

    def _make(self, part: Part, words: Mapping[str, str]) -> _Made:
        nodes = [shape.as_data() for shape in part.make(self._queries, words)]
        body = json.dumps({"nodes": nodes}, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        return _Made(nodes, body, f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"')


def part_routes(parts: Parts) -> list[BaseRoute]:
    """Where tabs ask for parts."""

    async def part(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in parts:
            return JSONResponse({"error": "there is no such part"}, 404)
        try:
            made = await anyio.to_thread.run_sync(parts.made, name, request.query_params)
        except StoreError:
            return JSONResponse({"error": "the store does not answer"}, 503, {"retry-after": "2"})
        headers = {**_HEADERS, "etag": made.tag}
        if request.headers.get("if-none-match") == made.tag:
            return Response(status_code=304, headers=headers)
        return Response(made.body, media_type="application/json", headers=headers)

    return [Route("/parts/{name}", part, methods=["GET"])]
