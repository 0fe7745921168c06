"""Who may look: the token, the way to sign in, and what a person sees before anything has arrived."""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from html import escape
from urllib.parse import quote, urlsplit

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
    assert tab.page.locator(".prose h1").first.inner_text() == "Findings"
    assert TOKEN not in tab.page.url
    cookies = tab.page.context.cookies()
    assert all(TOKEN not in cookie["value"] for cookie in cookies)
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies if "noclobber" in cookie["name"]] == [
        (True, "Lax")
    ]


@pytest.fixture(scope="module")
def bank_closed(start: Callable[..., Dashboard]) -> Dashboard:
    """A dashboard that asks for a token, with a finding in it."""
    return start("bank", NOCLOBBER_TOKEN=TOKEN)


@pytest.fixture(scope="module")
def elsewhere(bank_closed: Dashboard) -> Iterator[str]:
    """Another site, as a chat or a mail in the browser is: a page with an alert's link, and one that posts a form."""
    finding = f"{bank_closed.url}/finding?id={quote(bank_closed.ids['bank'], safe='')}"
    page = f"""<!doctype html><title>chat</title><a href="{escape(finding)}" rel="noopener">Open</a>
        <form method="post" action="{bank_closed.url}/api/v1/silences"><button>Post</button></form>
        <a href="{bank_closed.url}/api/v1/store/?query=SELECT%201">Ask</a>"""

    class Chat(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"  # to a browser another site than 127.0.0.1
    server.shutdown()
    server.server_close()


def sign_in(tab: Visit) -> None:
    tab.page.get_by_label("Token").fill(TOKEN)
    tab.page.get_by_role("button", name="Sign in").click()
    tab.ready()


def assert_on_the_finding(tab: Visit, board: Dashboard) -> None:
    tab.ready(diagram=True)
    assert tab.page.url == f"{board.url}/finding?id={quote(board.ids['bank'], safe='')}"


def test_an_alerts_link_leads_to_its_finding(
    visit: Callable[..., Visit], bank_closed: Dashboard, elsewhere: str
) -> None:
    """From another site: whoever is not signed in gets there by signing in, whoever is at once; to act it is no way."""
    tab = visit(bank_closed)
    tab.page.goto(elsewhere)
    tab.page.get_by_role("link", name="Open").click()
    sign_in(tab)
    assert_on_the_finding(tab, bank_closed)
    tab.page.goto(elsewhere)
    tab.page.get_by_role("link", name="Open").click()
    assert_on_the_finding(tab, bank_closed)
    for role, name, said in (("button", "Post", "from other sites"), ("link", "Ask", "from other sites")):
        tab.page.goto(elsewhere)
        tab.page.get_by_role(role, name=name).click()
        tab.page.get_by_text(said).wait_for()


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


def test_the_real_server_refuses_strangers(closed: Dashboard, bank: Dashboard) -> None:
    """Over a bare socket: a forged Host, a foreign Origin, no token, on pages, files, API and the WebSocket."""
    stream = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
              "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/findings", "/static/js/none.js", "/api/v1/findings", "/_stcore/health", "/_stcore/stream"):
        more = stream if path.endswith("stream") else {}
        assert status(closed, path, more) in (401, 403)
        assert status(closed, path, {**more, "authorization": "Bearer x"}) in (401, 403)
        assert status(bank, path, {**more, "host": "evil.example"}) in (400, 403)
        assert status(bank, path, {**more, "origin": "https://evil.example"}) == 403
    assert status(closed, "/_stcore/stream", {**stream, **bearer}) == 101
    assert status(bank, "/_stcore/stream", stream) == 101
    for path in ("/../../../../etc/passwd", "/static/..%2f..%2f..%2f..%2fetc/passwd", "/media/..%2f..%2fetc/passwd"):
        assert status(bank, path, {}) in (200, 400, 403, 404)
        assert b"root:" not in answer(bank, path, {})


def answer(board: Dashboard, path: str, headers: dict[str, str]) -> bytes:
    """The beginning of an answer, asked for without a library that would tidy the request."""
    where = urlsplit(board.url)
    named = {"host": where.netloc, "connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    with socket.create_connection((where.hostname, where.port), timeout=10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        return line.recv(4_096)


def status(board: Dashboard, path: str, headers: dict[str, str]) -> int:
    return int(answer(board, path, headers).split()[1])


@pytest.mark.parametrize(
    ("path", "title"),
    [("/", "Nothing has arrived yet"), ("/findings", "No findings"), ("/issues", "No issues"),
     ("/latent", "No latent races"),
     ("/resources", "No resource was touched in the last 24 h"),
     ("/health", "No process has reported in the last 24 h")],
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
