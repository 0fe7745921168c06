"""Who may look: the token, the way to sign in, and what a person sees before anything has arrived."""

from collections.abc import Callable

import pytest
from driving import Dashboard, Visit

pytestmark = pytest.mark.browser

TOKEN = "a-token-of-some-length-4711"


@pytest.fixture(scope="module")
def closed(start: Callable[..., Dashboard]) -> Dashboard:
    """A dashboard that asks for a token, over a store in which nothing is yet."""
    return start(NOCLOBBER_TOKEN=TOKEN)


@pytest.fixture
def inside(visit: Callable[..., Visit], closed: Dashboard) -> Visit:
    """A tab that has signed in."""
    tab = visit(closed)
    tab.page.goto(closed.url + "/")
    tab.page.get_by_label("Token").fill(TOKEN)
    tab.page.get_by_role("button", name="Sign in").click()
    tab.ready()
    tab.complaints.clear()  # Chromium reports the 401 that carried the form
    return tab


def test_a_person_signs_in(visit: Callable[..., Visit], closed: Dashboard) -> None:
    """The form refuses a wrong token, takes the right one, and pages and WebSocket work from then on."""
    tab = visit(closed)
    tab.page.goto(closed.url + "/findings")
    tab.page.get_by_label("Token").fill("wrong")
    tab.page.get_by_role("button", name="Sign in").click()
    tab.page.get_by_text("That is not the token").wait_for()
    tab.page.get_by_label("Token").fill(TOKEN)
    tab.page.get_by_role("button", name="Sign in").click()
    tab.ready()
    assert tab.page.locator(".prose h1").first.inner_text() == "Overview"
    assert TOKEN not in tab.page.url
    cookies = tab.page.context.cookies()
    assert all(TOKEN not in cookie["value"] for cookie in cookies)
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies if "noclobber" in cookie["name"]] == [
        (True, "Strict")
    ]


def test_without_a_token_the_socket_stays_closed(visit: Callable[..., Visit], closed: Dashboard) -> None:
    """The pages' WebSocket is refused as the pages are."""
    tab = visit(closed)
    tab.page.goto(closed.url + "/")
    outcome = tab.page.evaluate(
        """() => new Promise((done) => {
          const socket = new WebSocket(location.origin.replace('http', 'ws') + '/_stcore/stream');
          socket.onopen = () => done('open'); socket.onerror = () => done('refused');
        })"""
    )
    assert outcome == "refused"


@pytest.mark.parametrize(
    ("path", "title"),
    [("/", "Nothing has arrived yet"), ("/findings", "No findings"), ("/issues", "No issues"),
     ("/resources", "No resource was touched yet"), ("/health", "No process has reported yet")],
)  # fmt: skip
def test_an_empty_page_says_what_to_do(inside: Visit, path: str, title: str) -> None:
    """Where nothing is, the command that changes it stands ready to be copied."""
    inside.open(path)
    empty = inside.page.locator(".prose .empty")
    empty.wait_for()
    assert empty.locator("h2").inner_text() == title
    assert "noclobber run" in empty.locator("pre").inner_text()
    empty.get_by_role("button", name="copy").click()
    empty.get_by_role("button", name="copied").wait_for()
    assert inside.complaints == []
