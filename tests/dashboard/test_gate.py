"""Who may ask: host names, origins, tokens, on HTTP and WebSocket; and what every answer carries."""

import argparse
import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from assembled import TOKEN, application
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from noclobber.cli import CommandError
from noclobber_dashboard.acts import DEEDS
from noclobber_dashboard.commands import add_allowed_host, allowed_hosts
from noclobber_dashboard.destinations import own_page
from noclobber_dashboard.login import login_from
from noclobber_dashboard.openapi import Deed
from noclobber_dashboard.security import SECURITY_HEADERS, Gate
from noclobber_dashboard.settings import DashboardSettings, streamlit_options

STREAM = "/_stcore/stream"
BASE = "http://127.0.0.1:8501"
ELSEWHERE = (
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example",
    "https://evil.example", "https:evil.example", "javascript:alert(1)", "evil.example", "", "finding?id=x",
    "/finding@evil.example", "/finding/../..//evil.example", "/.//evil.example", "/%2F/evil.example", " /finding",
    "/finding?id=\x00", "/finding?id=\r\nset-cookie: a=b", "/finding?id=é", "/finding\\?id=x", "/auth/logout",
    "/sign-in/oidc", "/api/v1/findings", "/finding?id=" + "x" * 2_000,
)  # fmt: skip
"""Pages of others, and whatever a browser or a proxy might take for one; addresses of our own that are no pages."""
PATHS = ("/", "/findings", "/finding?id=x", "/api/v1/findings", "/api/v1/store/?query=SELECT%201", "/_stcore/health")


@pytest.fixture
def open_(filled: Any) -> TestClient:
    """The application without one."""
    return TestClient(application(filled, DashboardSettings(allowed_hosts=("board.example",))), base_url=BASE)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": f"Basic {TOKEN}"},
     {"cookie": f"noclobber_session={TOKEN}"}, {"authorization": "Bearer "}, {"cookie": "noclobber_session="}],
)  # fmt: skip
def test_without_the_token_nothing_is_shown(closed: TestClient, path: str, headers: dict[str, str]) -> None:
    """No token, a wrong one, or the right one in the wrong place: 401 everywhere."""
    answer = closed.get(path, headers=headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text


@pytest.mark.parametrize("path", ["/?token=" + TOKEN, "/api/v1/findings?token=" + TOKEN])
def test_a_token_in_the_address_is_none(closed: TestClient, path: str) -> None:
    """Addresses end in logs and histories, so a token there is not taken."""
    assert closed.get(path).status_code == 401


def test_the_token_opens(closed: TestClient) -> None:
    """A bearer token is taken for pages and API."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert closed.get("/", headers=headers).status_code == 200
    assert closed.get("/api/v1/findings", headers=headers).status_code == 200


def test_signing_in_gives_a_cookie_that_holds_no_token(closed: TestClient) -> None:
    """The form takes the token once; the cookie is a keyed hash, unreadable to scripts, and comes along with a link."""
    wrong = closed.post("/sign-in", data={"token": "x"})
    right = closed.post("/sign-in", data={"token": TOKEN}, follow_redirects=False)
    assert (wrong.status_code, right.status_code, right.headers["location"]) == (401, 303, "/")
    cookie = right.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert closed.get("/findings").status_code == 200
    assert closed.post("/sign-in", content=b"token=" + b"x" * 9_000).status_code == 413


@pytest.mark.parametrize("path", ["/finding?id=a%2Fb&x=%22%3E%3Cb%3E", "/issues", "/"])
def test_who_has_to_sign_in_goes_on_to_what_they_asked_for(closed: TestClient, path: str) -> None:
    """The form holds the page, also after a wrong token, as text that ends no attribute."""
    form = closed.get(path, headers={"accept": "text/html"})
    assert (form.status_code, hidden(form.text)) == (401, path)
    wrong = closed.post("/sign-in", data={"token": "x", "next": hidden(form.text)})
    assert (wrong.status_code, hidden(wrong.text)) == (401, path)
    right = closed.post("/sign-in", data={"token": TOKEN, "next": hidden(wrong.text)}, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, path)


def test_the_form_holds_text(closed: TestClient) -> None:
    """What stands behind the question mark ends neither the field nor the address that it is led to."""
    given = {"token": "x", "next": '/finding?id="><script>x</script>'}
    form = closed.post("/sign-in", data=given)
    assert (hidden(form.text), "<script>" in form.text) == (given["next"], False)
    led = closed.post("/sign-in", data={**given, "token": TOKEN}, follow_redirects=False)
    assert led.headers["location"] == "/finding?id=%22%3E%3Cscript%3Ex%3C/script%3E"


@pytest.mark.parametrize("page", ELSEWHERE)
def test_signing_in_leads_nowhere_else(closed: TestClient, page: str) -> None:
    """Whoever writes the form's hidden field chooses one of our pages, or the first one."""
    answer = closed.post("/sign-in", data={"token": TOKEN, "next": page}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert hidden(closed.post("/sign-in", data={"token": "x", "next": page}).text) == "/"
    assert own_page(page) == "/"


def hidden(form: str) -> str:
    (value,) = re.findall(r'<input name="next" type="hidden" value="([^"<>]*)">', form)
    return unescape(value)


def oidc_board() -> TestClient:
    """A gate before what Streamlit's callback answers with, whether somebody has come in or not."""
    words = {"client_id": "x", "client_secret": "x", "cookie_secret": "x" * 32, "server_metadata_url": "https://id.example",
             "redirect_uri": "https://board.example/oauth2callback"}  # fmt: skip
    settings = DashboardSettings(login=login_from({"readers": ["*"], "oidc": words}, {}))
    back = Route("/oauth2callback", lambda _request: RedirectResponse("/"))
    return TestClient(Gate(Starlette(routes=[back]), settings), base_url="https://board.example")


def test_a_provider_leads_back_to_what_was_asked_for() -> None:
    """The form's link names the page, a cookie for the callback alone holds it meanwhile, and is gone afterwards."""
    board = oidc_board()
    form = board.get("/finding?id=a%2Fb&x=1", headers={"accept": "text/html"}).text
    (link,) = re.findall(r'href="([^"]+)"', form)
    away = board.get(link, follow_redirects=False)
    assert (away.status_code, away.headers["location"].partition("?")[0]) == (303, "/auth/login")
    cookie = away.headers["set-cookie"]
    assert all(f"; {word}" in cookie for word in ("HttpOnly", "Path=/oauth2callback", "SameSite=lax", "Secure"))
    back = board.get("/oauth2callback", follow_redirects=False)
    assert back.headers["location"] == "/finding?id=a%2Fb&x=1"
    assert board.get("/oauth2callback", follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_provider_leads_back_to_nowhere_else(page: str) -> None:
    """Neither what stands in the link nor what stands in the cookie is believed."""
    board = oidc_board()
    board.get("/sign-in/oidc", params={"next": page}, follow_redirects=False)
    assert board.get("/oauth2callback", follow_redirects=False).headers["location"] == "/"
    forged = {"cookie": f"noclobber_destination={quote(page, safe='')}"}
    assert oidc_board().get("/oauth2callback", headers=forged, follow_redirects=False).headers["location"] == "/"


def refused(client: TestClient, **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with client.websocket_connect(STREAM, headers=named):
            return False
    except WebSocketDisconnect as error:
        return error.code == 1008


def test_the_socket_is_behind_the_same_gate(closed: TestClient) -> None:
    """Without a token, or from a foreign page, the WebSocket does not open."""
    assert refused(closed)
    assert refused(closed, authorization="Bearer wrong")
    assert refused(closed, authorization=f"Bearer {TOKEN}", origin="https://evil.example")
    assert refused(closed, authorization=f"Bearer {TOKEN}", host="evil.example")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "127.0.0.1@evil.example", "0.0.0.0"],
)  # fmt: skip
def test_a_forged_host_is_refused(open_: TestClient, host: str) -> None:
    """A DNS name that was rebound to this machine reaches nothing."""
    for path in ("/", "/api/v1/findings"):
        assert open_.get(path, headers={"host": host}).status_code == 400
    assert refused(open_, host=host)


def test_where_people_are_sent_they_are_served() -> None:
    """The public address of the links, and the one to which a provider leads back, are names of the dashboard."""
    words = {"client_id": "x", "client_secret": "x", "server_metadata_url": "https://id.example",
             "redirect_uri": "https://In.example/oauth2callback"}  # fmt: skip
    login = login_from({"readers": ["*"], "oidc": words}, {})
    settings = DashboardSettings("0.0.0.0", url="https://Board.example:8443/nc", login=login)
    assert settings.hosts == ("localhost", "127.0.0.1", "::1", "board.example", "in.example")


def test_names_are_typed_or_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed comes first; an address in place of a name would never match, and is refused."""
    parser = argparse.ArgumentParser()
    add_allowed_host(parser)
    monkeypatch.setenv("NOCLOBBER_ALLOWED_HOST", "board.example  ::1")
    assert allowed_hosts(parser.parse_args([])) == ("board.example", "::1")
    assert allowed_hosts(parser.parse_args(["--allowed-host", "a", "--allowed-host", "b-2.c"])) == ("a", "b-2.c")
    for name in ("https://board.example", "board.example:8501", "board.example/", ""):
        with pytest.raises(CommandError, match="a name alone"):
            allowed_hosts(parser.parse_args([f"--allowed-host={name}"]))


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost", "LOCALHOST:8501", "[::1]:8501", "board.example"])
def test_known_hosts_are_served(open_: TestClient, host: str) -> None:
    """The machine's own names, and those that were named, with or without a port."""
    assert open_.get("/api/v1/findings?limit=1", headers={"host": host}).status_code == 200


def test_other_sites_can_link_but_not_read(open_: TestClient) -> None:
    """A link in a mail opens the page; a script on another page gets nothing."""
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    script = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    assert open_.get("/finding?id=x", headers=link).status_code == 200
    assert open_.get("/api/v1/findings", headers=script).status_code == 403
    assert open_.get("/api/v1/findings", headers={"origin": "https://evil.example"}).status_code == 403
    assert open_.post("/api/v1/store/", content=b"SELECT 1", headers={"origin": "null"}).status_code == 403
    for path in ("/api/v1/store/?query=SELECT%201", "/auth/logout"):
        assert open_.get(path, headers=link).status_code == 403


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.path)
def test_a_link_changes_nothing(closed: TestClient, deed: Deed) -> None:
    """Signed in, whatever acts is found by its own method only; and from another site by none."""
    closed.post("/sign-in", data={"token": TOKEN})
    path = "/api/v1" + deed.path.format(id="none", name="none")
    seen = closed.get(path, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert seen.status_code in (404, 405) or deed.path == "/silences"  # a list by GET, by POST a new one
    posted = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "origin": "https://evil.example"}
    assert closed.request(deed.method, path, headers=posted).status_code == 403
    del posted["origin"]
    assert closed.request(deed.method, path, headers=posted).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/v1/findings", "/api/v1/none", "/static/none.js"])
def test_every_answer_carries_the_policy(open_: TestClient, path: str) -> None:
    """CSP and its companions stand on pages, answers and errors alike."""
    headers = open_.get(path).headers
    assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "http:" not in headers["content-security-policy"]


def test_nothing_phones_home() -> None:
    """Statistics are off, details stay in the log, no watcher and no address service: as flags, which beat files."""
    options = streamlit_options(DashboardSettings())
    assert {name: options[name] for name in (
        "browser_gatherUsageStats", "client_showErrorDetails", "server_fileWatcherType", "server_address",
        "logger_hideWelcomeMessage", "server_enableXsrfProtection", "server_enableAgentApi",
    )} == {
        "browser_gatherUsageStats": False, "client_showErrorDetails": "none", "server_fileWatcherType": "none",
        "server_address": "127.0.0.1", "logger_hideWelcomeMessage": True, "server_enableXsrfProtection": True,
        "server_enableAgentApi": False,
    }  # fmt: skip
