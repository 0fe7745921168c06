"""Chromium, a filled store, and `noclobber dashboard` over it: everything real, each in a process of its own."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driving import WAIT_MS, Dashboard, Visit, fill, serve

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium; closed after each module, since its driver keeps an event loop running on this thread."""
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not path:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def contexts(chromium: Any) -> Iterator[dict[object, Any]]:
    """Browsing contexts by what they are for: one that is used again has Streamlit's seven megabytes in its cache."""
    made: dict[object, Any] = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def visit(chromium: Any, contexts: dict[object, Any]) -> Iterator[Callable[..., Visit]]:
    """Makes tabs, each in a context of its own, but for those on a dashboard that is shared."""
    opened = []

    def make(dashboard: Dashboard, width: int = 1280, height: int = 800, scheme: str = "light") -> Visit:
        key = (dashboard.url, width, height, scheme) if dashboard.is_shared else len(contexts)
        if key not in contexts:
            contexts[key] = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            contexts[key].set_default_timeout(WAIT_MS)
        made = Visit(contexts[key].new_page(), dashboard.url)
        opened.append(made.page)
        made.watch()
        return made

    yield make
    for page in opened:
        page.close()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Dashboard]]:
    """Starts dashboards: over a new embedded store filled as the words say, or over the store at a URL."""
    started: list[Dashboard] = []

    def make(*words: str, store: str = "", port: int = 0, **environ: str) -> Dashboard:
        ids: dict[str, Any] = {}
        if not store:
            folder = tmp_path_factory.mktemp("dashboard") / "store"
            ids, store = fill(folder, *words), f"chdb://{folder}"
        made = serve(store, port, environ, tmp_path_factory.mktemp("log") / "stderr")
        made.ids = ids
        started.append(made)
        return made

    yield make
    for dashboard in started:
        dashboard.stop()


@pytest.fixture(scope="session")
def dashboard(start: Callable[..., Dashboard]) -> Dashboard:
    """A dashboard over the bank's race, a dozen findings more, and names out of an attacker's corpus."""
    return shared(start("hostile"))


@pytest.fixture(scope="session")
def bank(start: Callable[..., Dashboard]) -> Dashboard:
    """A dashboard over the bank's race and a dozen findings more."""
    return shared(start("bank", NOCLOBBER_TRACE_URL="https://traces.invalid/t/{trace_id}?at={span_id}"))


def shared(board: Dashboard) -> Dashboard:
    """The same, known as one on which nobody signs in."""
    board.is_shared = True
    return board
