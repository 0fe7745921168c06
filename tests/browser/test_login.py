"""People come in: by OpenID Connect at a provider of its own, or named by a proxy; a reader sees no button to act.

The provider is `oidc-provider-mock`, made for tests: discovery, keys, the code flow and signed ID tokens over HTTP.
"""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from driving import Dashboard, Visit

pytestmark = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A running OpenID Connect provider."""
    pytest.importorskip("authlib", reason="authlib is not installed: pip install 'noclobber[oidc]'")
    port = free_port()
    words = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    for name, verified in (("ann@example.com", True), ("eve@evil.example", True), ("bob@example.com", False)):
        claims = {"sub": name.partition("@")[0], "email": name, "email_verified": verified}
        words += ["--user-claims", json.dumps(claims)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 20
    while True:
        assert process.poll() is None, "the provider ended: is oidc-provider-mock installed?"
        assert time.monotonic() < until
        try:
            urllib.request.urlopen(f"{url}/.well-known/openid-configuration", timeout=5).close()
            break
        except OSError:
            time.sleep(0.05)
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(10)


@pytest.fixture(scope="module")
def guarded(provider: str, start: Callable[..., Dashboard], tmp_path_factory: pytest.TempPathFactory) -> Dashboard:
    """A dashboard behind that provider, and behind a proxy on this machine."""
    port, file = free_port(), tmp_path_factory.mktemp("login") / "noclobber.toml"
    file.write_text(
        f"""[login]
operators = ["ann@example.com"]
readers = ["*@example.com"]
[login.oidc]
client_id = "noclobber"
client_secret = "not checked by this provider"
server_metadata_url = "{provider}/.well-known/openid-configuration"
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
[login.proxy]
header = "X-Forwarded-User"
trusted = ["127.0.0.1/32"]
"""
    )
    return start("bank", port=port, NOCLOBBER_CONFIG=str(file))


def sign_in(tab: Visit, name: str, path: str = "/issues") -> None:
    tab.page.goto(tab.base + path)
    tab.page.get_by_role("link", name="Sign in with OpenID Connect").click()
    tab.page.locator(f"button[value={name}]").click()


def test_an_operator_comes_in_by_openid_connect(visit: Callable[..., Visit], guarded: Dashboard) -> None:
    """Through the provider and back; what is done stands in the log under the name that the provider gave."""
    tab = visit(guarded)
    sign_in(tab, "ann")
    tab.ready()
    tab.open("/settings")
    tab.page.get_by_role("button", name="Add a silence").click()
    tab.page.get_by_label("Matchers, one a line").fill("kind=fork\nresource=redis://*")
    tab.page.get_by_label("Why").fill("load test")
    assert tab.page.get_by_label("Your name").count() == 0
    tab.page.get_by_role("button", name="Add", exact=True).click()
    tab.page.get_by_role("dialog").wait_for(state="detached")
    answer = tab.page.request.get(tab.base + "/api/v1/audit?limit=5")
    acts = [(act["what"], act["who"], act["origin"]) for act in answer.json()["audit"]]
    assert ("silence.added", "ann@example.com", "127.0.0.1") in acts
    assert ("access.signed_in", "ann@example.com", "127.0.0.1") in acts
    tab.page.request.get(tab.base + "/auth/logout", max_redirects=0)
    assert tab.page.request.get(tab.base + "/api/v1/audit").status == 401


def test_a_provider_leads_back_to_the_finding(visit: Callable[..., Visit], guarded: Dashboard) -> None:
    """Who opens an alert's link signed out stands before its finding once the provider has let them in."""
    tab, path = visit(guarded), f"/finding?id={quote(guarded.ids['bank'], safe='')}"
    sign_in(tab, "ann", path)
    tab.ready(diagram=True)
    assert tab.page.url == guarded.url + path
    assert "noclobber_destination" not in {cookie["name"] for cookie in tab.page.context.cookies()}


@pytest.mark.parametrize("name", ["eve", "bob"])
def test_whoever_is_not_named_or_not_verified_stays_outside(
    visit: Callable[..., Visit], guarded: Dashboard, name: str
) -> None:
    """The provider knows them, the owner does not: no page, no API, no WebSocket."""
    tab = visit(guarded)
    sign_in(tab, name)
    tab.page.get_by_label("Token").wait_for()
    assert tab.page.request.get(tab.base + "/api/v1/findings").status == 401
    outcome = tab.page.evaluate(
        """() => new Promise((done) => {
          const socket = new WebSocket(location.origin.replace('http', 'ws') + '/_stcore/stream');
          socket.onopen = () => done('open'); socket.onerror = () => done('refused');
        })"""
    )
    assert outcome == "refused"


def test_a_reader_behind_a_proxy_sees_everything_and_no_button(visit: Callable[..., Visit], guarded: Dashboard) -> None:
    """The same pages without what acts; an operator named by the same header has it."""
    expect = pytest.importorskip("playwright.sync_api").expect
    for name, buttons in (("carl@example.com", 0), ("ann@example.com", 1)):
        tab = visit(guarded)
        tab.page.context.set_extra_http_headers({"X-Forwarded-User": name})
        tab.open("/settings")
        expect(tab.page.get_by_role("button", name="Add a silence")).to_have_count(buttons, timeout=30_000)
        tab.open("/issues")
        expect(tab.page.get_by_text("You may read; an operator")).to_have_count(1 - buttons, timeout=30_000)
        assert tab.complaints == []
