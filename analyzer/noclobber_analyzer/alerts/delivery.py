"""One attempt by whatever way an endpoint is reached: HTTP, a mail server, apprise.

Every way takes the same and answers the same, so lanes, schedule and log know nothing of it.
"""

import time
from dataclasses import replace

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from noclobber_analyzer.alerts.formats import content_type
from noclobber_analyzer.alerts.mail import mail
from noclobber_analyzer.alerts.message import Message
from noclobber_analyzer.alerts.post import ANSWER_BYTES_MAX, NO_ANSWER, REJECTED, Outcome, post
from noclobber_analyzer.alerts.routes import Format, Route
from noclobber_analyzer.alerts.signing import signed_headers

__all__ = ["deliver", "headers_of"]

TITLE = "noclobber"


def headers_of(route: Route, message: Message, now_ns: int) -> dict[str, str]:
    """What goes with an attempt: the body's type, the route's headers, and ours, signed where there is a secret."""
    kind = {"content-type": content_type(route.format)}
    return {**kind, **dict(route.headers), **signed_headers(message.id, message.body, route.secrets, now_ns)}


def deliver(route: Route, body: bytes, headers: dict[str, str], now_ns: int) -> Outcome:
    """Make one attempt; nothing raises."""
    if route.format is Format.EMAIL:
        return mail(route, body, headers, now_ns)
    if route.format is Format.APPRISE:
        return _by_apprise(route, body)
    outcome = post(route, body, headers, now_ns)
    return _unless_rejected(outcome) if route.format is Format.OTLP and outcome.ok else outcome


def _unless_rejected(outcome: Outcome) -> Outcome:
    """What came of a log record: OTLP's 200 may say that it was not taken, and never will be ("Partial Success")."""
    try:
        told = ExportLogsServiceResponse.FromString(outcome.raw).partial_success
    except DecodeError:  # not OTLP's answer, but a 2xx
        return outcome
    if not told.rejected_log_records:
        return outcome
    return replace(outcome, status=REJECTED, answer=f"rejected: {told.error_message or 'no reason was given'}")


def _by_apprise(route: Route, body: bytes) -> Outcome:
    """Apprise only says whether it went well. It opens its own connections, which no guard of ours sees."""
    started = time.monotonic()
    try:
        import apprise
    except ImportError:
        return Outcome(NO_ANSWER, None, "apprise is not installed: pip install 'noclobber[apprise]'", 0.0)
    try:
        told = apprise.Apprise()
        went = told.add(route.url) and told.notify(body=body.decode(), title=TITLE, body_format="text")
        status, answer = (200, "sent") if went else (NO_ANSWER, "apprise could not send it; its log says why")
    except Exception as error:  # a plugin may do anything, and none of it may stop the lane
        status, answer = NO_ANSWER, f"{type(error).__name__}: {error}"[:ANSWER_BYTES_MAX]
    return Outcome(status, None, answer, (time.monotonic() - started) * 1_000)
