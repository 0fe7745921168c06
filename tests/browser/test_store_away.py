"""The store goes away and comes back: the pages say so, and come back by themselves."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from driving import Dashboard, Visit, fill

pytestmark = pytest.mark.browser


@pytest.mark.long
def test_pages_survive_their_store(
    visit: Callable[..., Visit], start: Callable[..., Dashboard], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A clear sentence while the store is away, no traceback, and the page again once it is back, untouched."""
    folder = tmp_path_factory.mktemp("away") / "store"
    ids = fill(folder, "bank")
    near = start(store=f"chdb://{folder}")
    far = start(store=f"{near.url}/api/v1/store")
    tab = visit(far)
    tab.open("/findings")
    tab.page.get_by_text("15 findings").wait_for()
    near.stop()
    for path in ("/issues", "/", "/health", f"/finding?id={ids['bank']}"):
        tab.page.goto(far.url + path)
        tab.page.get_by_role("heading", name="The store does not answer").first.wait_for(timeout=20_000)
        assert "Traceback" not in tab.page.content()
    answer = tab.page.request.get(far.url + "/api/v1/findings")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
    assert "did not answer" in answer.json()["error"]
    start(store=f"chdb://{folder}", port=int(urlsplit(near.url).port or 0))
    tab.ready(diagram=True)
    assert tab.page.locator(".prose h1").first.inner_text().startswith("Lost update on")
    assert [entry for entry in tab.complaints if not entry.startswith("console: ")] == []
