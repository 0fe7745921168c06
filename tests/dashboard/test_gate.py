"""Who may ask: host names, origins, tokens, on HTTP and WebSocket; and what every answer carries."""

from typing import Any

import pytest
from assembled import TOKEN, application
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from noclobber_dashboard.security import SECURITY_HEADERS
from noclobber_dashboard.settings import DashboardSettings, streamlit_options

STREAM = "/_stcore/stream"
BASE = "http://127.0.0.1:8501"
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
    """The form takes the token once; the cookie is a keyed hash, unreadable to scripts."""
    wrong = closed.post("/sign-in", data={"token": "x"})
    right = closed.post("/sign-in", data={"token": TOKEN}, follow_redirects=False)
    assert (wrong.status_code, right.status_code, right.headers["location"]) == (401, 303, "/")
    cookie = right.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert closed.get("/findings").status_code == 200
    assert closed.post("/sign-in", content=b"token=" + b"x" * 9_000).status_code == 413


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
