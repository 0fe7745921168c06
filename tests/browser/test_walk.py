"""Everything on every page is clicked: menu, filters, buttons, links, exports; as on a desk and as on a telephone.

After each click the page stands, nothing overlaps, nothing is wider than the window, and nothing went wrong in the tab:
no console error, no error of the page, no request to another host. What the pages look like is kept as pictures in
the test's own folder, or in the one that NOCLOBBER_PICTURES names.
"""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import PAGES, WAIT_MS, Dashboard, Visit

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(2_400)]

SIZES = {1280: 800, 390: 844}
EXPORTS = ("findings", "issues", "resources", "accesses", "transitions", "deliveries")
OVERLAPS = """() => {
  const shown = [...document.querySelectorAll('.stMainBlockContainer .stElementContainer')]
    .filter((e) => e.checkVisibility() && !e.closest('[data-testid="stDialog"]'))
    .map((e) => ({ e, r: e.getBoundingClientRect() })).filter(({ r }) => r.width > 2 && r.height > 2);
  const found = [];
  for (const [i, a] of shown.entries()) for (const b of shown.slice(i + 1)) {
    if (a.e.contains(b.e) || b.e.contains(a.e)) continue;
    const wide = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left);
    const high = Math.min(a.r.bottom, b.r.bottom) - Math.max(a.r.top, b.r.top);
    if (wide > 1 && high > 1) found.push([a, b].map(({ e }) => `${e.className.slice(-60)} ${e.innerText}`));
  }
  return found;
}"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures are kept."""
    folder = Path(os.environ.get("NOCLOBBER_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (1280, "dark"), (390, "light")])
def test_everything_is_clicked(
    visit: Callable[..., Visit], start: Callable[..., Dashboard], pictures: Path, width: int, scheme: str
) -> None:
    """Each page by its place in the menu, then all that can be clicked on it; the finding by its link."""
    board = start("bank", NOCLOBBER_TRACE_URL="https://traces.invalid/t/{trace_id}")
    tab = visit(board, width, SIZES[width], scheme)
    tab.open("/")
    for path, title in PAGES.items():
        by_menu(tab, title)
        stands(tab, width)
        tab.page.screenshot(path=pictures / f"{title.lower().replace(' ', '-')}-{width}-{scheme}.png")
        clicked(tab, path, width)
    finding = f"/finding?id={board.ids['bank']}"
    tab.open(finding, diagram=True)
    stands(tab, width)
    racing = [box.bounding_box() for box in tab.page.locator(".spacetime .box.race").all()]
    assert len(racing) == 2
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in racing)
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= SIZES[width] for box in racing)
    tab.page.screenshot(path=pictures / f"finding-{width}-{scheme}.png", full_page=True)
    clicked(tab, finding, width)


def test_every_export_is_a_file(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """The button's own CSV, and each list of the API as JSON, CSV and Parquet."""
    tab = visit(bank)
    tab.open("/findings")
    assert tab.page.locator("[kind=elementToolbar][aria-label^='Download as CSV']").first.is_hidden()
    with tab.page.expect_download() as waited:
        tab.page.get_by_role("button", name="Download as CSV", exact=True).click()
    rows = list(csv.reader(io.StringIO(Path(waited.value.path()).read_text("utf-8"))))
    assert len(rows) == 16
    for name in EXPORTS:
        for form, begin in (("json", b"{"), ("csv", b"\xef\xbb\xbf"), ("parquet", b"PAR1")):
            answer = tab.page.request.get(f"{bank.url}/api/v1/{name}?format={form}")
            assert answer.status == 200
            assert answer.body().startswith(begin), (name, form)
    assert tab.complaints == []


def by_menu(tab: Visit, title: str) -> None:
    """To a page as a person gets there; on a telephone the menu is opened first."""
    menu = tab.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True)
    opener = tab.page.get_by_test_id("stExpandSidebarButton")
    if tab.page.viewport_size["width"] < 600:
        opener.click()
    menu.click()
    tab.page.locator(".stElementContainer .prose h1", has_text=title).first.wait_for(timeout=WAIT_MS)
    tab.ready()
    collapse = tab.page.get_by_test_id("stSidebarCollapseButton").get_by_role("button")
    if tab.page.viewport_size["width"] < 600 and collapse.is_visible():
        collapse.click()
        tab.page.wait_for_function(
            "document.querySelector('[data-testid=stSidebar]').getBoundingClientRect().right <= 1"
        )


def stands(tab: Visit, width: int) -> None:
    tab.ready()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.page.evaluate(OVERLAPS) == []
    assert tab.complaints == []


def clicked(tab: Visit, path: str, width: int) -> None:
    """All buttons, tabs, switches and fields within the page; what a click opened is clicked as well, then closed."""
    main = tab.page.locator(".stMainBlockContainer")
    done: set[str] = set()
    while (control := unclicked(main, done)) is not None:
        if control.get_attribute("role") in ("switch", "checkbox") or control.get_attribute("type") == "checkbox":
            control.evaluate("node => node.click()")  # what a person hits is the label around it
        else:
            control.click()
        stands_again(tab, path, width)
        inside(tab, path, width)
    for field in main.get_by_role("textbox").all():
        field.fill("acct")
        field.press("Enter")
        stands_again(tab, path, width)
        field.fill("")
        field.press("Enter")
    choices = main.locator('[data-testid="stSelectbox"], [data-testid="stMultiSelect"]')
    for number in range(choices.count()):
        choices.nth(number).locator("input").first.click()
        tab.page.get_by_role("option").first.click()
        inside(tab, path, width)
    addresses = {link.get_attribute("href") or "" for link in main.get_by_role("link").all()}
    for address in sorted(each for each in addresses if each.startswith("/")):
        assert tab.page.request.get(tab.base + address).status == 200, address
    assert tab.complaints == []


def unclicked(main: Any, done: set[str]) -> Any | None:
    """The next control that was not clicked yet, by what it says and where it stands among its like."""
    for kind in ("button", "tab", "switch", "checkbox"):
        for number, control in enumerate(main.get_by_role(kind).all()):
            name = f"{kind} {number} {(control.get_attribute('aria-label') or control.text_content() or '')[:60]}"
            if name in done or len(done) > 150:
                continue
            done.add(name)
            if control.evaluate("node => node.matches('[kind=elementToolbar]') || Boolean(node.closest('canvas'))"):
                continue  # Streamlit's own tools, which show themselves under the mouse, and what stands for a canvas
            if control.is_visible() and control.is_enabled():
                return control
    return None


def stands_again(tab: Visit, path: str, width: int) -> None:
    """Back on the page, should a click have led away from it."""
    tab.page.wait_for_timeout(50)
    stands(tab, width)
    if not tab.page.url.startswith(tab.base + path.partition("?")[0]):
        tab.open(path)


def inside(tab: Visit, path: str, width: int) -> None:
    """What stands in a popover that a click opened; a dialog that follows is closed as it came."""
    body = tab.page.get_by_test_id("stPopoverBody")
    for number in range(body.get_by_role("button").count() if body.is_visible() else 0):
        if not body.is_visible():
            break
        body.get_by_role("button").nth(number).click()
        dialog = tab.page.get_by_test_id("stDialog")
        tab.page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=WAIT_MS)
        if dialog.is_visible():
            dialog.get_by_role("button", name="Close").click()
            dialog.wait_for(state="hidden")
    # a list that is open hides the rest of the page from whoever asks by role, as it does from who listens
    opened = (tab.page.get_by_test_id("stDialog"), body, tab.page.get_by_role("listbox"))
    if any(each.first.is_visible() for each in opened):
        tab.page.keyboard.press("Escape")
    stands_again(tab, path, width)
