"""The page that an alert opens: the race is seen in the first screen, and a person can act."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import pytest
from driving import Dashboard, Visit

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(visit: Callable[..., Visit], bank: Dashboard) -> Visit:
    """The bank's finding, opened by its link."""
    made = visit(bank)
    made.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    return made


@pytest.fixture(scope="module")
def still(chromium: Any, bank: Dashboard) -> Iterator[Visit]:
    """The same once for all tests that look and touch nothing."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = Visit(context.new_page(), bank.url)
    made.watch()
    made.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    yield made
    context.close()


def boxes(tab: Visit, selector: str) -> list[dict[str, float]]:
    return [box for each in tab.page.locator(selector).all() if (box := each.bounding_box()) is not None]


def meet(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two rectangles overlap by more than a hair."""
    wide = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    high = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    return wide > 1 and high > 1


def test_both_racing_boxes_are_in_the_first_screen(still: Visit) -> None:
    """Without scrolling, 1280 by 800 shows both racing accesses whole, and the sentence above them."""
    racing = boxes(still, ".spacetime .box.race")
    assert len(racing) == 2
    for box in racing:
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= 1280
        assert box["y"] + box["height"] <= 800
    sentence = boxes(still, ".prose p.lead")[0]
    strip = boxes(still, ".prose .strip")[0]
    diagram = boxes(still, ".spacetime")[0]
    assert sentence["y"] < strip["y"] < diagram["y"] < 300
    assert strip["height"] < 60
    assert still.complaints == []


def test_an_arc_joins_the_racing_boxes(still: Visit) -> None:
    """The red line begins at one box and ends at the other, with its name on it."""
    arc = boxes(still, ".spacetime .arc path[data-from]")[0]
    upper, lower = sorted(boxes(still, ".spacetime .box.race"), key=lambda box: box["y"])
    assert upper["y"] + upper["height"] - 4 <= arc["y"] <= upper["y"] + upper["height"] + 16
    assert lower["y"] - 16 <= arc["y"] + arc["height"] <= lower["y"] + 4
    assert still.page.locator(".spacetime .arc text").text_content() == "unordered conflict"


def test_no_two_labels_overlap(still: Visit) -> None:
    """Every word in the diagram can be read, and none is cut off at its edge."""
    words = boxes(still, ".spacetime svg text")
    assert len(words) > 10
    assert [pair for pair in combinations(words, 2) if meet(*pair)] == []
    scroll = boxes(still, ".spacetime .scroll")[0]
    assert all(scroll["y"] <= box["y"] and box["y"] + box["height"] <= scroll["y"] + scroll["height"] for box in words)


@pytest.mark.long
def test_a_race_of_two_lanes_alone(visit: Callable[..., Visit], start: Callable[..., Dashboard]) -> None:
    """Where no third lane gives room below, the words under the last lane are whole, on a telephone too."""
    board = start("pair")
    for width in (1280, 390):
        tab = visit(board, width, 844)
        tab.open(f"/finding?id={board.ids['bank']}", diagram=True)
        words, scroll = boxes(tab, ".spacetime svg text"), boxes(tab, ".spacetime .scroll")[0]
        assert [pair for pair in combinations(words, 2) if meet(*pair)] == []
        assert all(
            scroll["y"] <= box["y"] and box["y"] + box["height"] <= scroll["y"] + scroll["height"] for box in words
        )
        assert tab.complaints == []


def test_no_label_overlaps_a_box(still: Visit) -> None:
    """The names of arrows stand beside the boxes, never on them."""
    labels, bodies = boxes(still, ".spacetime .edge-label"), boxes(still, ".spacetime .box .body")
    assert labels
    assert not [1 for label in labels for body in bodies if meet(label, body)]


def test_a_box_shows_its_span(tab: Visit) -> None:
    """A click opens the panel with the access's attributes; Escape closes it."""
    box = tab.page.locator(".spacetime .box.race").last
    key = box.get_attribute("data-id")
    box.click()
    panel = tab.page.locator(".spacetime .panel")
    panel.wait_for(state="visible")
    assert panel.get_attribute("data-id") == key
    words = panel.inner_text()
    for said in (
        "withdraw-agent",
        "overwriter",
        str(key).partition(":")[2],
        "redis://bank:6379/0/acct:42",
        "bank/withdraw",
    ):
        assert said in words
    tab.page.keyboard.press("Escape")
    panel.wait_for(state="hidden")
    assert tab.complaints == []


def test_the_keyboard_walks_the_diagram(tab: Visit) -> None:
    """Who has no mouse reaches the boxes, moves along a lane and opens one."""
    box = tab.page.locator(".spacetime .box.race").first
    box.focus()
    tab.page.keyboard.press("ArrowLeft")
    tab.page.keyboard.press("Enter")
    panel = tab.page.locator(".spacetime .panel")
    panel.wait_for(state="visible")
    assert "model call" in panel.locator("header").inner_text()


def test_only_the_causal_past(tab: Visit) -> None:
    """The auditor's later read fades when only what led to the race is asked for."""
    tab.page.get_by_role("button", name="Show only what led to the race (p)").click()
    faded = tab.page.evaluate(
        "[...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean)"
        ".flatMap(r => [...r.querySelectorAll('.box')]).filter(b => Number(getComputedStyle(b).opacity) < 0.5)"
        ".map(b => b.getAttribute('aria-label').split(' ')[0])"
    )
    assert faded == ["auditor"]


def test_only_what_rests_on_it(tab: Visit) -> None:
    """By key: what neither raced nor came of the race fades; the same key shows all again."""
    tab.page.locator(".spacetime .box.race").first.focus()
    faded = "node => [...node.querySelectorAll('.box')].filter(b => Number(getComputedStyle(b).opacity) < 0.5).length"
    field = tab.page.locator(".spacetime").first
    tab.page.keyboard.press("a")
    assert field.evaluate(faded) == 4
    tab.page.keyboard.press("a")
    assert field.evaluate(faded) == 0
    tab.page.keyboard.press("?")
    tab.page.locator(".spacetime .keys").wait_for(state="visible")


def test_it_is_copied_and_downloaded_in_each_form(tab: Visit, bank: Dashboard) -> None:
    """A click puts the form on the clipboard; the link beside it gives the same as a file."""
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.page.get_by_role("button", name="Copy", exact=True).click()
    rows = tab.page.locator(".copyrow")
    rows.first.wait_for()
    begins = ("Lost update on", "## Lost update on", "{", "deposit-agent {", "digraph witness")
    assert rows.count() == len(begins)
    for row, begin in zip(rows.all(), begins, strict=True):
        row.get_by_role("button").click()
        row.get_by_role("button", name="copied").wait_for()
        copied = tab.page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith(begin)
        address = row.get_by_role("link").get_attribute("href")
        assert tab.page.request.get(bank.url + address).text() == copied
        row.get_by_role("button", name="copy as").wait_for()
    assert tab.complaints == []


def test_what_follows_has_its_order(still: Visit) -> None:
    """States, fix, affected, certainty, issue: from what happened to what to do."""
    still.page.locator(".prose h2", has_text="How it was grouped").wait_for()
    titles = still.page.locator(".prose h2").all_inner_texts()
    assert titles == [
        "States of acct:42", "How to fix it", "Who was affected", "How sure this is", "How often it came",
        "How it was grouped",
    ]  # fmt: skip
    assert "incrby" in still.page.locator(".codeblock").inner_text()


def test_somebody_acknowledges_and_it_is_logged(visit: Callable[..., Visit], start: Callable[..., Dashboard]) -> None:
    """From the finding: acknowledge with a name; accepting without a reason is refused; the log has it all."""
    board = start("bank")
    tab = visit(board)
    tab.open(f"/finding?id={board.ids['bank']}", diagram=True)
    _act(tab, "Acknowledge", {"Your name": "ana"})
    _pill(tab, "acknowledged")
    _open_dialog(tab, "Accept as intended")
    _confirm(tab, "Accept as intended")
    tab.page.get_by_text("Accepting an issue needs a reason").wait_for()
    dialog = tab.page.get_by_test_id("stDialog")
    assert dialog.get_by_role("textbox", name="Your name").input_value() == "ana"
    dialog.get_by_role("textbox", name="Reason").fill("two writers are meant")
    dialog.get_by_role("textbox", name="Reason").press("Enter")
    _confirm(tab, "Accept as intended")
    _pill(tab, "accepted")
    tab.open("/issues?state=accepted")
    tab.page.get_by_text("1 issue; 5 more in other states").wait_for()
    log = tab.page.request.get(f"{board.url}/api/v1/transitions?issue={board.ids['issue']}").json()["transitions"]
    assert [(row["actor"], row["kind"], row["reason"]) for row in log] == [
        ("ana", "state.accepted", "two writers are meant"), ("ana", "state.acknowledged", ""),
        ("analyzer", "issue.opened", ""),
    ]  # fmt: skip
    assert tab.complaints == []


@pytest.mark.long
def test_ticked_issues_are_resolved_together(visit: Callable[..., Visit], start: Callable[..., Dashboard]) -> None:
    """From the list of issues: two rows, one dialog, two rows in the log."""
    board = start("bank")
    tab = visit(board)
    tab.open("/issues")
    canvas = tab.page.locator(".dvn-scroller").first
    canvas.wait_for()
    canvas.click(position={"x": 16, "y": 53})
    tab.page.get_by_text("1 issue ticked").wait_for()
    canvas.click(position={"x": 16, "y": 88})
    tab.page.get_by_text("2 issues ticked").wait_for()
    tab.page.get_by_role("button", name="Resolve").click()
    tab.page.get_by_text("Resolve: 2 issues").wait_for()
    _confirm(tab, "Resolve")
    tab.page.get_by_text("4 issues; 2 more in other states").wait_for()
    issues = tab.page.request.get(f"{board.url}/api/v1/issues?state=resolved").json()["issues"]
    assert len(issues) == 2
    assert tab.complaints == []


def _open_dialog(tab: Visit, button: str) -> None:
    tab.page.get_by_role("button", name="Issue", exact=True).click()
    tab.page.get_by_test_id("stPopoverBody").get_by_role("button", name=button).click()
    tab.page.get_by_test_id("stDialog").wait_for()


def _act(tab: Visit, button: str, fields: dict[str, str]) -> None:
    _open_dialog(tab, button)
    dialog: Any = tab.page.get_by_test_id("stDialog")
    for name, value in fields.items():
        dialog.get_by_role("textbox", name=name).fill(value)
        dialog.get_by_role("textbox", name=name).press("Enter")
    _confirm(tab, button)


def _confirm(tab: Visit, button: str) -> None:
    tab.page.get_by_test_id("stDialog").get_by_role("button", name=button).click()


def _pill(tab: Visit, state: str) -> None:
    tab.page.locator(".prose .pill", has_text=state).first.wait_for()
