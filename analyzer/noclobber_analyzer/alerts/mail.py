"""Alerts by e-mail: a plain letter for each message, and one attempt to hand it to a mail server.

The letter's `Message-ID` is the message's id, so a letter that is sent again after a crash is the same letter to its
reader. The server's name goes through the same guard as a webhook's (`addresses`). Passwords travel encrypted only:
`smtps://` from the first byte, `smtp://` after STARTTLS, which may be left out only towards a server without a login.

Source: RFC 5321 (SMTP; a reply of 2yz is success, 4yz may be tried again), RFC 5322, RFC 8314.
"""

import io
import smtplib
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore

from noclobber_analyzer.alerts.addresses import BlockedAddressError, Deadline, checked_addresses
from noclobber_analyzer.alerts.post import ANSWER_BYTES_MAX, BLOCKED, NO_ANSWER, TIMEOUT_S, Outcome, tls_context
from noclobber_analyzer.alerts.routes import Route
from noclobber_analyzer.alerts.words import Words, shortened

__all__ = ["letter", "mail"]

SUBJECT_MAX: Final = 200
PORTS: Final = {"smtp": 587, "smtps": 465}
REPLIES_BYTES_MAX: Final = 65_536
"""Of all replies of one attempt: a server may go on and on."""


def letter(words: Words, message_id: str, at_ns: int, sender: str, to: Sequence[str]) -> bytes:
    """The letter as it goes out; the same bytes for the same message."""
    made = EmailMessage(policy=SMTP)
    # a name that an agent chose may hold a line's end: in a header it would begin another one
    made["Subject"] = shortened(" ".join(words.heading.split()), SUBJECT_MAX)
    made["From"] = sender
    made["To"] = ", ".join(to)
    made["Date"] = format_datetime(datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC))
    made["Message-ID"] = f"<{message_id}@noclobber>"
    made["Auto-Submitted"] = "auto-generated"
    facts = "\n".join(f"{name}: {text}" for name, text in words.facts)
    parts = (words.sentence, f"What to change: {words.advice}" if words.advice else "", facts, words.link)
    made.set_content("\n\n".join(filter(None, parts)) + "\n", charset="utf-8", cte="quoted-printable")
    return made.as_bytes()


def mail(route: Route, body: bytes, _headers: dict[str, str], _now_ns: int, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Hand a letter to the route's server once; the outcome's status is the server's reply code."""
    started = time.monotonic()
    try:
        status, answer = _handed(route, body, Deadline(timeout_s, time.monotonic))
    except BlockedAddressError as error:
        status, answer = BLOCKED, str(error)
    except smtplib.SMTPResponseException as error:
        status, answer = error.smtp_code, _text(error.smtp_error)
    except smtplib.SMTPRecipientsRefused as error:
        code, told = next(iter(error.recipients.values()))
        status, answer = code, _text(told)
    except Exception as error:  # a server may do anything, and none of it may stop the lane
        status, answer = NO_ANSWER, f"{type(error).__name__}: {error}"
    return Outcome(status, None, answer[:ANSWER_BYTES_MAX], (time.monotonic() - started) * 1_000)


def _handed(route: Route, body: bytes, deadline: Deadline) -> tuple[int, str]:
    parts = urlsplit(route.url)
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    with _Client(host, port, route, deadline, at_once=parts.scheme == "smtps") as client:
        if parts.scheme == "smtp" and (client.has_extn("starttls") or route.user):
            client.starttls(context=tls_context())
            client.ehlo()
        if route.user:
            client.login(route.user, route.password)
        refused = client.sendmail(route.sender, list(route.to), body)
    if refused:  # some of several: who was not refused has it, and a second letter would reach them twice
        return 250, f"refused for {', '.join(sorted(refused))}"
    return 250, "accepted"


class _Client(smtplib.SMTP):
    """A client whose connection goes to a checked address and ends at the attempt's deadline."""

    def __init__(self, host: str, port: int, route: Route, deadline: Deadline, *, at_once: bool) -> None:
        self._route = route
        self._deadline = deadline
        self._at_once = at_once
        super().__init__(host, port, timeout=deadline.left())
        self.ehlo()

    def _get_socket(self, host: str, port: int, _timeout: float) -> Any:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in checked_addresses(host, port, self._route.allow, self._deadline.left()):
            try:
                made = socket.create_connection((str(address), port), self._deadline.left())
            except OSError as error:
                failure = error
                continue
            made.settimeout(self._deadline.left())
            return _secured(made, host) if self._at_once else made
        raise failure

    def send(self, s: Any) -> None:
        """Send a command, or the letter."""
        if self.sock is not None:
            self.sock.settimeout(self._deadline.left())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply."""
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_TimedReplies(self.sock, self._deadline))
        return super().getreply()


class _TimedReplies(io.RawIOBase):
    """A server's replies, every wait for which ends at the attempt's deadline: who drips bytes gains no time."""

    def __init__(self, made: socket.socket, deadline: Deadline) -> None:
        self._made = made
        self._deadline = deadline
        self._left = REPLIES_BYTES_MAX

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What came next; 0: the server ended the connection."""
        self._made.settimeout(self._deadline.left())
        taken = self._made.recv_into(buffer)
        self._left -= taken
        if self._left < 0:
            raise smtplib.SMTPException(f"more than {REPLIES_BYTES_MAX} bytes of replies")
        return taken


def _secured(made: socket.socket, host: str) -> ssl.SSLSocket:
    return tls_context().wrap_socket(made, server_hostname=host)


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
