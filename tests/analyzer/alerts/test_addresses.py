"""Which addresses a webhook may reach."""

import ipaddress
from collections.abc import Callable

import pytest

from noclobber_analyzer.alerts.addresses import is_allowed
from noclobber_analyzer.alerts.post import BLOCKED, post
from noclobber_analyzer.alerts.routes import RouteError, route_from
from noclobber_analyzer.alerts.signing import new_secret

INNER = [
    "127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "0.0.0.0", "::",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "240.0.0.1", "fe80::1",
    "fd00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1", "2001:0:7f00:1::",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "::ffff:0:10.0.0.1", "2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1",
    "3fff::1", "5f00::1", "192.88.99.1", "192.0.0.1", "0.1.2.3", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("text", INNER)
def test_inner_addresses_are_blocked_in_every_disguise(text: str) -> None:
    """Loopback, private, link-local, metadata, multicast, and IPv6 forms that carry one of them."""
    assert not is_allowed(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(text: str) -> None:
    """Also where an IPv6 form carries them."""
    assert is_allowed(ipaddress.ip_address(text))


def test_an_allowed_network_is_allowed_and_nothing_beside_it() -> None:
    """The owner of a route may name networks of his own."""
    allow = (ipaddress.ip_network("10.1.0.0/16"),)
    assert is_allowed(ipaddress.ip_address("10.1.2.3"), allow)
    assert is_allowed(ipaddress.ip_address("::ffff:10.1.2.3"), allow)
    assert not is_allowed(ipaddress.ip_address("10.2.0.1"), allow)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "0177.0.0.1"]
)
def test_an_attempt_at_an_inner_address_is_blocked(host: str, receiver) -> None:
    """However it is written, nothing reaches the receiver."""
    route = route_from({"url": f"http://{host}:{receiver.port}/", "secret": new_secret()})
    outcome = post(route, b"{}", {}, 0)
    assert outcome.status == BLOCKED
    assert "may not reach" in outcome.answer
    assert receiver.requests == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://x/", "http+unix://%2frun%2fdocker.sock/", "unix:/x"])
def test_only_http_is_spoken(url: str) -> None:
    """No file, no other protocol, no socket of this machine."""
    with pytest.raises(RouteError, match="http"):
        route_from({"url": url, "format": "slack"})


def test_one_inner_address_of_a_name_blocks_all(monkeypatch: pytest.MonkeyPatch, receiver) -> None:
    """A name with a public and an inner address is not tried at all."""
    import socket

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    route = route_from({"url": f"http://rebind.example:{receiver.port}/", "secret": new_secret()})
    assert post(route, b"{}", {}, 0).status == BLOCKED


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, make_receiver: Callable) -> None:
    """A proxy variable does not lead the message elsewhere."""
    proxy, receiver = make_receiver(), make_receiver()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
    headers = {"webhook-id": "m", "webhook-timestamp": "0", "webhook-signature": "v1,"}
    assert post(receiver.route(), b"{}", headers, 0).status == 204
    assert (len(proxy.requests), len(receiver.requests)) == (0, 1)
