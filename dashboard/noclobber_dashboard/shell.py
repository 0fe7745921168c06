"""The HTML that carries the pages: Streamlit's own, told where its server is.

Opened by a deep link (`/finding?id=...`), Streamlit's script first guesses that its server might live below that
path, asks there in vain and leaves two 404s in the browser's console before it tries the root. One line in front of
its script says where the server is, so that it need not guess. The title is ours from the first moment, too.

What draws our elements comes in scripts of its own, which Streamlit asks for when the first element is there. Every
page needs them: so they are asked for, and read, while the server makes the page.
"""

from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

__all__ = ["PAGES", "shell_routes"]

PAGES: Final = (
    "overview",
    "findings",
    "issues",
    "latent",
    "resources",
    "agents",
    "stream",
    "finding",
    "health",
    "settings",
)
"""Paths of the pages; the first lives at `/`."""
_EARLY: Final = ("Html", "BidiComponent")
"""Scripts of Streamlit's that every page needs, by the name before their print."""
_HINT: Final = "<script>window.__streamlit = { BACKEND_BASE_URL: window.location.origin }</script>"


def shell_routes() -> list[BaseRoute]:
    """A route for the root and for each page; the first page's own path, which Streamlit does not know, leads there."""
    pages = [Route(path, _page, methods=["GET"]) for path in ("/", *(f"/{name}" for name in PAGES[1:]))]
    return [*pages, Route(f"/{PAGES[0]}", lambda _request: RedirectResponse("/", 307), methods=["GET"])]


@cache
def _html() -> str:
    import streamlit

    static = Path(streamlit.__file__).parent / "static"
    html = (static / "index.html").read_text("utf-8")
    scripts = [path.name for name in _EARLY for path in sorted((static / "static" / "js").glob(f"{name}.*.js"))]
    early = "".join(f'import("/static/js/{name}");' for name in scripts)
    return (
        html.replace("<head>", f"<head>{_HINT}", 1)
        .replace("<title>Streamlit</title>", "<title>noclobber</title>", 1)
        .replace("</head>", f'<script type="module">{early}</script></head>', 1)
    )


async def _page(_request: Request) -> Response:
    return HTMLResponse(_html(), headers={"cache-control": "no-cache"})
