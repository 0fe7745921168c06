"""Letters, to a real mail server: what arrives, what is refused, and what is never sent in the clear."""

import asyncio
import email
import email.policy
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from hostile import HOSTILE
from test_formats import AT_NS, DATA

from noclobber_analyzer.alerts.delivery import deliver
from noclobber_analyzer.alerts.formats import Told, dressed
from noclobber_analyzer.alerts.mail import mail
from noclobber_analyzer.alerts.post import BLOCKED, NO_ANSWER
from noclobber_analyzer.alerts.routes import Route, route_from

Servers = Callable[..., "Server"]


class Server(Controller):
    """A mail server that keeps what it got, and answers as told."""

    def __init__(self, answer: str = "250 kept", **words: Any) -> None:
        super().__init__(self, hostname="127.0.0.1", port=0, **words)
        self.answer = answer
        self.letters: list[tuple[list[str], Any]] = []
        self.logins: list[tuple[str, str]] = []

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802  aiosmtpd's name
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        read = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append((list(envelope.rcpt_tos), read))
        return self.answer

    def login(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"secret", handled=False)

    def route(self, **words: object) -> Route:
        table = {"format": "email", "url": f"smtp://localhost:{self.port}", "from": "noclobber@example.com",
                 "to": ["ops@example.com", "boss@example.com"], "allow": ["127.0.0.0/8", "::1/128"]}  # fmt: skip
        return route_from({**table, **words})


@pytest.fixture
def start() -> Iterator[Servers]:
    """Starts mail servers on free ports."""
    started = []

    def make(answer: str = "250 kept", **words: Any) -> Server:
        made = Server(answer, loop=asyncio.new_event_loop(), **words)
        made.start()
        started.append(made)
        return made

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for `localhost`, which our side trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    ours = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr("noclobber_analyzer.alerts.mail.tls_context", lambda: ours)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    return theirs


def hand(route: Route, data: str = "plain") -> Any:
    event = Told("msg_1", "issue.opened", AT_NS, DATA[data])
    return deliver(route, dressed(route, event), {}, AT_NS)


def test_a_letter_arrives(start: Servers) -> None:
    """All of it is there: what happened, the facts, the link; its id is the message's."""
    server = start()
    outcome = hand(server.route())
    ((to, read),) = server.letters
    assert (outcome.ok, outcome.status) == (True, 250)
    assert to == ["ops@example.com", "boss@example.com"]
    assert read["Subject"] == "New: lost update on redis://h:6379/0/acct:* (deposit, withdraw)"
    assert read["Message-ID"] == "<msg_1@noclobber>"
    text = read.get_content()
    assert "withdraw replaced what deposit wrote." in text
    assert "https://noclobber.example/finding?id=f1" in text


def test_a_name_makes_no_header(start: Servers) -> None:
    """Line ends in a name end no header; the letter is plain text, whatever is in it."""
    server = start()
    assert hand(server.route(), "hostile").ok
    ((_, read),) = server.letters
    assert sorted(read.keys()) == sorted(
        ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
         "Content-Transfer-Encoding"]
    )  # fmt: skip
    assert read.get_content_type() == "text/plain"
    assert HOSTILE[0] in read.get_content()


@pytest.mark.parametrize("answer", ["451 try later", "554 go away"])
def test_what_the_server_answers_is_kept(start: Servers, answer: str) -> None:
    """Its code is the attempt's status, its words the answer; no code but 2yz is success."""
    outcome = hand(start(answer).route())
    assert (outcome.ok, outcome.status, outcome.answer) == (False, int(answer[:3]), answer[4:])


def test_some_refused_is_sent_and_all_refused_is_not(start: Servers) -> None:
    """A second letter would reach those twice who have the first."""
    server = start()
    some = hand(server.route(to=["nobody@example.com", "ops@example.com"]))
    none = hand(server.route(to=["nobody@example.com"]))
    assert (some.ok, some.answer) == (True, "refused for nobody@example.com")
    assert (none.ok, none.status) == (False, 550)
    assert [to for to, _ in server.letters] == [["ops@example.com"]]


def test_a_password_travels_encrypted(start: Servers, trusted: ssl.SSLContext) -> None:
    """After STARTTLS it is shown and taken; a wrong one is the server's refusal."""
    server = start(tls_context=trusted, auth_required=True, require_starttls=True)
    server.SMTP_kwargs["authenticator"] = server.login
    assert hand(server.route(user="me", password="secret")).ok
    assert hand(server.route(user="me", password="wrong")).status == 535
    assert ("me", "secret") in server.logins


def test_no_password_without_encryption(start: Servers) -> None:
    """A server that can't do STARTTLS gets neither login nor letter."""
    server = start(auth_require_tls=False)
    server.SMTP_kwargs["authenticator"] = server.login
    outcome = hand(server.route(user="me", password="secret"))
    assert (outcome.ok, outcome.status) == (False, NO_ANSWER)
    assert "STARTTLS" in outcome.answer
    assert (server.logins, server.letters) == ([], [])


def test_inner_servers_are_blocked_unless_allowed(start: Servers) -> None:
    """The same guard as for webhooks: a typed name must not reach the machine's own services."""
    server = start()
    outcome = hand(server.route(allow=[]))
    assert (outcome.ok, outcome.status, server.letters) == (False, BLOCKED, [])


@pytest.mark.parametrize("words", ["220-and so on", "2"])
def test_who_drips_bytes_ends_with_the_attempt(words: str) -> None:
    """A greeting that never ends, a byte or a line at a time: the deadline is one for all of it."""
    held = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        peer, _ = held.accept()
        with peer, suppress(OSError):
            while True:
                peer.sendall((words + "\r\n" if len(words) > 1 else words).encode())
                time.sleep(0.1)

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    route = route_from({"format": "email", "url": f"smtp://127.0.0.1:{held.getsockname()[1]}", "from": "a@b.example",
                        "to": ["c@d.example"], "allow": ["127.0.0.0/8"]})  # fmt: skip
    begun = time.monotonic()
    outcome = mail(route, b"", {}, AT_NS, timeout_s=1.0)
    took = time.monotonic() - begun
    held.close()
    dripping.join(5)
    assert (outcome.ok, outcome.status) == (False, NO_ANSWER)
    assert 0.9 < took < 3
