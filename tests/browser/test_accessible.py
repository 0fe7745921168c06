"""Every page as people with other senses meet it: axe-core finds nothing serious, in light and in dark.

What Streamlit itself draws is judged as well, since nobody can tell it from ours; no rule is let off.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from driving import PAGES, Dashboard, Visit

pytestmark = pytest.mark.browser

SERIOUS = ("serious", "critical")
RUN = "async (options) => (await axe.run(document, options)).violations"


@pytest.fixture(scope="module")
def script() -> str:
    """The text of axe-core."""
    found = find_spec("axe_playwright_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("axe-playwright-python is not installed")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text("utf-8")


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_serious_is_found(
    visit: Callable[..., Visit], bank: Dashboard, script: str, scheme: str, width: int
) -> None:
    """All pages, and the finding with a box opened and the menu of copies."""
    tab = visit(bank, width, 800, scheme)
    found = {}
    tab.open("/")
    for path in PAGES:
        if width > 600:
            tab.switch(path)
        else:
            tab.open(path)
        found |= judged(tab, script, path)
    tab.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    tab.page.locator(".spacetime .box.race").last.click()
    tab.page.get_by_role("button", name="Copy", exact=True).click()
    tab.page.locator(".copyrow").first.wait_for()
    found |= judged(tab, script, "/finding")
    assert found == {}


def judged(tab: Visit, script: str, path: str) -> dict[tuple[str, str], list[str]]:
    """By page and rule, the nodes that break it seriously."""
    if not tab.page.evaluate("'axe' in window"):
        tab.page.evaluate(script)
    violations: list[dict[str, Any]] = tab.page.evaluate(RUN, {"resultTypes": ["violations"]})
    return {
        (path, violation["id"]): [f"{node['target']} {node['html'][:160]}" for node in violation["nodes"][:4]]
        for violation in violations
        if violation["impact"] in SERIOUS
    }
