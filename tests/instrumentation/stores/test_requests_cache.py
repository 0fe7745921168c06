"""requests-cache over a real server and real caches: what is told, what is answered, what is left to others."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from noclobber.contract import Attr
from noclobber.testing import Captured, capture

requests_cache = pytest.importorskip("requests_cache", reason="requests-cache belongs to the extra `test`")
BODY = b"a page that is long enough"


class Pages(BaseHTTPRequestHandler):
    """Answers every request with one body."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """A server's URL."""
    server = HTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def told(captured: Captured) -> list[tuple[Any, ...]]:
    return [(each[Attr.OP], each[Attr.OUTCOME], each.get(Attr.PARTIAL, False)) for each in captured.accesses]


@pytest.mark.parametrize("backend", ["sqlite", "filesystem", "memory"])
def test_a_session_misses_saves_and_hits(pages: str, tmp_path: Path, backend: str) -> None:
    """A miss, a save without base, a hit of what was saved; one name, without the URL in it; no SQL, no files."""
    url = f"{pages}/secret-in-the-path"
    with capture() as captured, requests_cache.CachedSession(str(tmp_path / "c"), backend, expire_after=60) as session:
        answers = [session.get(url), session.get(url)]
        assert [(each.content, each.from_cache) for each in answers] == [(BODY, False), (BODY, True)]
        assert told(captured) == [("read", "not_found", True), ("write", "ok", False), ("read", "ok", False)]
        miss, save, hit = captured.accesses
        assert {each[Attr.RESOURCE] for each in captured.accesses} == {miss[Attr.RESOURCE]}
        assert {span.library for span in captured.spans} == {"requests-cache"}
        assert Attr.VERSION_BASE not in save
        assert save[Attr.VERSION_WRITTEN] == hit[Attr.VERSION_READ]
        assert 0 < save[Attr.TTL_MS] <= 60_000
        assert answers[0].cache_key not in str(captured.accesses)
        assert "secret-in-the-path" not in str(captured.accesses)
        assert save[Attr.RESOURCE].startswith("requests-cache://" if backend == "memory" else "cache://")


def test_what_was_made_of_a_cached_response_has_a_base(pages: str, tmp_path: Path) -> None:
    """A program that saves what it made of what it got from the cache, not of what a server sent."""
    with capture() as captured, requests_cache.CachedSession(str(tmp_path / "c"), "sqlite") as session:
        key = session.get(pages).cache_key
        page = session.cache.get_response(key)
        page._content = b"another page"
        session.cache.save_response(page, key)
        read, write = captured.accesses[-2:]
        assert write[Attr.VERSION_BASE] == read[Attr.VERSION_READ]
        assert write[Attr.VERSION_WRITTEN] != read[Attr.VERSION_READ]


def test_what_takes_away(pages: str, tmp_path: Path) -> None:
    """By key, row by row; by condition, partial; everything, the container."""
    with capture() as captured, requests_cache.CachedSession(str(tmp_path / "c"), "sqlite") as session:
        key = session.get(pages).cache_key
        session.cache.delete(key, "another")
        session.cache.delete(expired=True)
        session.cache.clear()
        deletes = captured.accesses[2:]
        assert [(each[Attr.OP], each.get(Attr.PARTIAL, False)) for each in deletes] == [
            ("delete", False), ("delete", False), ("update", True), ("delete", False),
        ]  # fmt: skip
        assert deletes[0][Attr.RESOURCE] == captured.accesses[0][Attr.RESOURCE]
        assert deletes[2][Attr.RESOURCE] == deletes[3][Attr.RESOURCE] == str(deletes[0][Attr.RESOURCE])[:-32]


def test_a_cache_that_fails_raises_its_own_error(tmp_path: Path) -> None:
    """A save of what is no response is refused by the library, and told as unknown."""
    with capture() as captured, requests_cache.CachedSession(str(tmp_path / "c"), "memory") as session:
        with pytest.raises(AttributeError):
            session.cache.save_response(None, "key")
        assert told(captured) == [("write", "unknown", False)]
