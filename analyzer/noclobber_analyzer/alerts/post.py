"""One attempt: a POST to an endpoint, and what came of it.

Only 2xx is success. Redirects are not followed, no proxy and no variable of the environment is looked at, the answer
is read up to 1 kB, and after 15 s the attempt is over whatever the peer does. Nothing raises: an attempt that failed
is an answer too. It goes through httpcore, where nothing but what is written here happens.

It decides nothing about the next attempt: see `schedule`.
"""

import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache

import certifi
import httpcore

from noclobber_analyzer.alerts.addresses import BlockedAddressError, Deadline, GuardedBackend
from noclobber_analyzer.alerts.routes import Route

__all__ = ["ANSWER_BYTES_MAX", "BLOCKED", "NO_ANSWER", "REJECTED", "TIMEOUT_S", "Outcome", "post", "tls_context"]

TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 1_024
NO_ANSWER, BLOCKED, REJECTED = 0, -1, -2
"""Statuses of attempts that got none: nobody answered; the address is not allowed; a 2xx whose body says that the
message was not taken."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        status: HTTP's, 0 without an answer, -1 where the address was blocked, -2 where a 2xx said that it took nothing.
        retry_after_s: what the answer asked for, None: nothing.
        answer: the first 1 kB of it, or what went wrong.
        elapsed_ms: duration.
        raw: the answer's first 1 kB as they came, where there was one.
    """

    status: int
    retry_after_s: float | None
    answer: str
    elapsed_ms: float
    raw: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the message arrived."""
        return 200 <= self.status < 300


def post(route: Route, body: bytes, headers: dict[str, str], now_ns: int, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Send a body to a route's endpoint once; `headers` say what it is."""
    started = time.monotonic()
    status, retry_after_s, raw = _attempt(route, body, headers, now_ns, timeout_s)
    answer = raw.decode("utf-8", "replace")
    return Outcome(status, retry_after_s, answer, (time.monotonic() - started) * 1_000, raw)


def _attempt(
    route: Route, body: bytes, headers: dict[str, str], now_ns: int, timeout_s: float
) -> tuple[int, float | None, bytes]:
    deadline = Deadline(timeout_s, time.monotonic)
    backend = GuardedBackend(route.allow, deadline)
    sent = [("user-agent", "noclobber"), ("connection", "close")]
    try:
        with (
            httpcore.ConnectionPool(ssl_context=tls_context(), network_backend=backend, http2=False, retries=0) as pool,
            pool.stream(
                "POST",
                route.url,
                headers=[*sent, *headers.items()],
                content=body,
                extensions={"timeout": _waits(timeout_s)},
            ) as got,
        ):
            words = {name.lower(): value for name, value in got.headers}
            retry_after = words.get(b"retry-after", b"").decode("latin-1")
            return got.status, _seconds(retry_after, now_ns), _beginning(got)
    except BlockedAddressError as error:
        return BLOCKED, None, str(error).encode()
    except Exception as error:  # an endpoint may do anything, and none of it may stop the lane
        return NO_ANSWER, None, f"{type(error).__name__}: {error}".encode()[:ANSWER_BYTES_MAX]


def _waits(timeout_s: float) -> dict[str, float]:
    return dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)


def _beginning(response: httpcore.Response) -> bytes:
    """The first bytes of the answer; what breaks after the status does not change the status."""
    answer = b""
    try:
        for chunk in response.iter_stream():
            answer += chunk
            if len(answer) >= ANSWER_BYTES_MAX:
                break
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        pass
    return answer[:ANSWER_BYTES_MAX]


def _seconds(retry_after: str, now_ns: int) -> float | None:
    """`Retry-After` as seconds from now: a number, or an HTTP date."""
    text = retry_after.strip()
    if not text:
        return None
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ns / 1e9)
    except (TypeError, ValueError, OverflowError):
        return None


@cache
def tls_context() -> ssl.SSLContext:
    """Certificates of the system, and certifi's where a slim image has none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
