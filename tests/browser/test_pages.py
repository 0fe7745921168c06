"""Every page in a real browser: it stands, it fits, it is quiet, and nothing leaves the machine."""

from collections.abc import Callable

import pytest
import sample
from driving import PAGES, Dashboard, Visit

from noclobber_collector.store import open_store

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (390, "dark"),
        *(pytest.param(*each, marks=pytest.mark.long) for each in [(1280, "dark"), (390, "light")]),
    ],
)
def test_every_page_stands_and_is_quiet(visit: Callable[..., Visit], bank: Dashboard, width: int, scheme: str) -> None:
    """No console error, page error, dialog or request to another host; no page is wider than its window."""
    tab = visit(bank, width, 844 if width < 600 else 800, scheme)
    tab.open("/")
    for path, title in PAGES.items():
        if width > 600:
            tab.switch(path)
        else:
            tab.open(path)
        assert tab.page.locator(".prose h1").first.inner_text() == title
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    background = tab.page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert tab.complaints == []


def test_the_witness_graph_draws_quietly(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """Graphviz draws the witness in the page, without asking anybody."""
    tab = visit(bank)
    tab.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    tab.page.get_by_role("tab", name="Witness graph").click()
    tab.page.wait_for_selector(".stGraphVizChart svg text", timeout=20_000)
    words = tab.page.locator(".stGraphVizChart svg").text_content()
    assert "withdraw-agent" in words
    assert "unordered" in words
    tab.page.get_by_role("tab", name="Evidence").click()
    tab.page.wait_for_selector('[role="tabpanel"] [data-testid="stDataFrame"]', timeout=20_000)
    assert tab.complaints == []


def test_from_the_list_to_the_finding(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """A click on the first row of the table opens that finding, under an address that can be sent on."""
    tab = visit(bank)
    tab.open("/findings")
    canvas = tab.page.locator(".dvn-scroller").first
    canvas.wait_for()
    canvas.click(position={"x": 400, "y": 53})
    tab.page.wait_for_url("**/finding?id=*", timeout=20_000)
    tab.ready(diagram=True)
    assert tab.page.url == f"{bank.url}/finding?id={bank.ids['bank']}"
    assert tab.page.locator(".prose h1").first.inner_text().startswith("Lost update on")
    assert tab.complaints == []


@pytest.mark.long
def test_ticked_findings_are_dealt_with_together(visit: Callable[..., Visit], start: Callable[..., Dashboard]) -> None:
    """Two ticks, one silence with its reason: both issues are silenced, and the list can be asked for such."""
    board = start("bank")
    tab = visit(board)
    tab.open("/findings")
    canvas = tab.page.locator(".dvn-scroller").first
    canvas.wait_for()
    canvas.click(position={"x": 16, "y": 53})
    tab.page.get_by_text("1 finding of 1 issue ticked").wait_for()
    canvas.click(position={"x": 16, "y": 88})
    tab.page.get_by_text("2 findings of 2 issues ticked").wait_for()
    tab.page.get_by_role("button", name="Silence").click()
    dialog = tab.page.get_by_test_id("stDialog")
    dialog.get_by_role("textbox", name="Your name").fill("ann")
    dialog.get_by_role("textbox", name="Your name").press("Enter")
    dialog.get_by_role("button", name="Silence").click()
    dialog.wait_for(state="detached")
    silenced = tab.page.request.get(f"{board.url}/api/v1/issues?state=silenced").json()["issues"]
    assert [issue["actor"] for issue in silenced] == ["ann", "ann"]
    tab.open("/findings?state=silenced")
    tab.page.get_by_text(f"{sum(issue['count'] for issue in silenced)} findings of 15").wait_for()
    assert tab.complaints == []


def test_filters_stand_in_the_address(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """A filtered list can be sent as a link."""
    tab = visit(bank)
    tab.open("/findings?severity=critical&kind=Fork")
    tab.page.get_by_text("1 finding of 15").wait_for()
    assert tab.complaints == []


@pytest.mark.long
def test_an_empty_page_notices_the_first_access(visit: Callable[..., Visit], start: Callable[..., Dashboard]) -> None:
    """What to type can be copied; once something arrives the page shows it, and nobody has reloaded it."""
    board = start("empty")
    pages = {"/findings": "15 findings", "/resources": "6 resources"}
    tabs = {path: visit(board) for path in pages}
    for path, tab in tabs.items():
        tab.open(path)
        tab.page.get_by_text("This page notices by itself").wait_for()
    first = tabs["/findings"].page
    first.context.grant_permissions(["clipboard-read", "clipboard-write"])
    first.locator(".copyline").get_by_role("button", name="copy").click()
    first.get_by_role("button", name="copied").wait_for()
    assert first.evaluate("navigator.clipboard.readText()") == "noclobber run --agent planner -- python your_agent.py"
    store = open_store(f"{board.url}/api/v1/store")
    try:
        sample.fill(store)
    finally:
        store.close()
    for path, tab in tabs.items():
        tab.page.get_by_text(pages[path]).first.wait_for(timeout=30_000)
        assert tab.complaints == []


def test_an_unknown_finding_is_said(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """A stale link explains itself and leads on."""
    tab = visit(bank)
    tab.open("/finding?id=nothing")
    assert tab.page.locator(".prose h1").first.inner_text() == "There is no finding with this id"
    tab.page.get_by_role("link", name="All findings").click()
    tab.page.wait_for_url("**/findings")
    assert tab.complaints == []


def test_overview_shows_what_guards_held(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """Each defended access counts once, by the last word on it."""
    tab = visit(bank)
    tab.open("/")
    held = tab.page.locator(".holds")
    held.wait_for()
    assert [" ".join(text.split()) for text in held.locator(".held").all_inner_texts()] == [
        "40 done at once by the store", "12 rejected by a guard", "3 held apart by a lock", "1 changed nothing",
    ]  # fmt: skip


def test_the_overview_path_leads_home(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """The first page's own name in an address is no modal `Page not found`."""
    tab = visit(bank)
    tab.open("/overview")
    assert tab.page.url == f"{bank.url}/"
    assert tab.complaints == []


def test_latent_races_are_plotted_and_lead_to_their_finding(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """The narrowest escape first, its margin and window drawn; the finding says by how much it missed."""
    tab = visit(bank)
    tab.open("/latent")
    tab.page.locator(".prose .lead", has_text="Nothing was lost here").wait_for()
    chart = tab.page.locator(".stVegaLiteChart .marks").first
    chart.wait_for(timeout=20_000)
    box = chart.bounding_box()
    assert box is not None
    assert box["width"] > 600
    first = tab.page.request.get(f"{bank.url}/api/v1/findings?latent=1&status=open").json()["findings"][0]
    tab.open(f"/finding?id={first['id']}")
    tab.page.locator(".prose .fact", has_text="missed by 80 ms").wait_for()
    assert tab.page.locator(".prose .pill", has_text="latent").count() == 1
    assert tab.complaints == []


def test_who_was_affected_is_told_by_agent(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """Each agent with what it did; what left the system first is marked."""
    tab = visit(bank)
    tab.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    row = tab.page.locator(".prose li", has_text="auditor:")
    row.wait_for()
    words = " ".join(row.inner_text().split())
    assert words == (
        "auditor: read redis://bank:6379/0/acct:42; perhaps effect effect://mail/report the first that left the system"
    )
    assert tab.complaints == []


def test_a_pair_of_agents_lists_its_findings(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """The matrix is drawn; a click on a pair's cell lists what happened between the two."""
    tab = visit(bank)
    tab.open("/agents")
    cell = tab.page.locator(".stVegaLiteChart svg [aria-label*='withdraw-agent'][aria-label*='deposit-agent']").first
    cell.wait_for(timeout=20_000)
    cell.click(position={"x": 6, "y": 6})
    tab.page.locator(".prose h2", has_text="Between").wait_for()
    assert tab.complaints == []


def test_the_stream_is_drawn_as_filtered(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """Filters stand in the address: of the bank's account, the two writes."""
    tab = visit(bank)
    tab.open("/stream?live_q=acct:42&op=write")
    tab.page.locator(".prose p", has_text="2 accesses of the last").wait_for()
    assert tab.page.locator(".dots .track i.writes").count() == 2
    assert tab.complaints == []


def test_a_heading_sorts_its_table(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """A click on a number's heading brings the largest up, another one the smallest; who listens is told."""
    tab = visit(bank)
    tab.open("/health")
    table = tab.page.get_by_role("region", name="processes")
    column = "node => [...node.querySelectorAll('tbody td:nth-child(5)')].map(each => Number(each.textContent))"
    for order, way in (("descending", True), ("ascending", False)):
        table.get_by_role("button", name="received").click()
        assert table.get_by_role("columnheader", name="received").get_attribute("aria-sort") == order
        received = table.evaluate(column)
        assert received == sorted(received, reverse=way)
    assert tab.complaints == []


def test_a_sample_is_asked_for_under_a_name(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """A ticked route, a button, a name: one row in the log, which the sender reads."""
    tab = visit(bank)
    tab.open("/settings")
    canvas = tab.page.locator(".dvn-scroller").first
    canvas.wait_for()
    canvas.click(position={"x": 16, "y": 53})
    tab.page.get_by_role("button", name="Send a sample").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("ann")
    dialog.get_by_role("textbox").press("Tab")
    dialog.get_by_role("button", name="Send a sample").click()
    dialog.wait_for(state="detached")
    rows = tab.page.request.get(f"{bank.url}/api/v1/transitions?issue=ops").json()["transitions"]
    assert [(row["kind"], row["actor"]) for row in rows] == [("route.test", "ann"), ("route.added", "sender")]
    assert tab.complaints == []
