"""What goes with an attempt, and the way by which it goes."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from receivers import Answer, Receiver
from test_formats import AT_NS, DATA, OF_FORMAT

from noclobber_analyzer.alerts.delivery import deliver, headers_of
from noclobber_analyzer.alerts.formats import Told, dressed
from noclobber_analyzer.alerts.message import Message
from noclobber_analyzer.alerts.post import NO_ANSWER, REJECTED
from noclobber_analyzer.alerts.routes import Format, Route, route_from
from noclobber_analyzer.alerts.schedule import closing
from noclobber_analyzer.tables import Delivery


@pytest.fixture
def heard() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A server's address without its scheme, and what it was sent: headers and body."""
    requests: list[tuple[dict[str, str], bytes]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.append(({name.lower(): text for name, text in self.headers.items()}, body))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", requests
    server.shutdown()
    server.server_close()


def attempt(route: Route) -> Any:
    event = Told("msg_1", "issue.opened", AT_NS, DATA["plain"])
    message = Message(event.id, "t", AT_NS, dressed(route, event))
    now_ns = time.time_ns()  # receivers look at the signature's age
    return deliver(route, message.body, headers_of(route, message, now_ns), now_ns)


def _told(rejected: int, message: str) -> bytes:
    said = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return ExportLogsServiceResponse(partial_success=said).SerializeToString()


HTTP = [style for style in Format if style not in (Format.EMAIL, Format.APPRISE)]


@pytest.mark.parametrize("style", HTTP)
def test_each_format_says_what_it_is(heard: tuple[str, list[Any]], style: Format) -> None:
    """Content type of the format, the route's own headers, our id; a signature where there is a secret."""
    address, requests = heard
    table = {"url": f"http://{address}/hook", "allow": ["127.0.0.0/8"], "headers": {"Authorization": "Bearer x"}}
    assert attempt(route_from({"format": str(style), **OF_FORMAT.get(style, {}), **table})).status == 202
    ((headers, body),) = requests
    types = {Format.CLOUDEVENTS: "application/cloudevents+json; charset=utf-8", Format.OTLP: "application/x-protobuf"}
    assert headers["content-type"] == types.get(style, "application/json")
    assert (headers["authorization"], headers["webhook-id"]) == ("Bearer x", "msg_1")
    assert ("webhook-signature" in headers) is (style is Format.STANDARD)
    assert body


@pytest.mark.parametrize(
    ("answer", "ok", "words"),
    [
        (b"", True, ""),
        (ExportLogsServiceResponse().SerializeToString(), True, ""),
        (b"<html>thanks</html>", True, "<html>thanks</html>"),
        (_told(0, "mind the rate"), True, "mind the rate"),
        (_told(1, "too old \u2014 " * 20), False, "too old"),
        (_told(1, ""), False, "no reason"),
    ],
)
def test_a_log_record_that_was_rejected_has_not_arrived(
    receiver: Receiver, answer: bytes, ok: bool, words: str
) -> None:
    """OTLP's 200 with a partial success that took nothing is the end of it, and no success; else 2xx is."""
    receiver.answers = [Answer(200, body=answer)]
    route = route_from({"name": "logs", "format": "otlp", "url": f"http://127.0.0.1:{receiver.port}/v1/logs",
                        "allow": ["127.0.0.0/8"]})  # fmt: skip
    outcome = attempt(route)
    assert (outcome.ok, outcome.status) == ((True, 200) if ok else (False, REJECTED))
    assert words in outcome.answer
    begun = Delivery("msg_1", "t", "logs", 1, "begun", 1, 0, False, False, 0.0, "")
    assert closing(begun, outcome, 2).final


def test_a_chat_may_be_signed_too(receiver: Receiver) -> None:
    """The reference library verifies it over the bytes that went out."""
    assert attempt(receiver.route(format="slack")).ok
    assert (receiver.unverified, receiver.requests[0]["json"]["blocks"][0]["type"]) == (0, "header")


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of apprise's own imports
def test_apprise_carries_words(heard: tuple[str, list[Any]]) -> None:
    """Heading, sentence and link, by apprise's own JSON service."""
    pytest.importorskip("apprise", reason="apprise is not installed")
    address, requests = heard
    outcome = attempt(route_from({"format": "apprise", "url": f"json://{address}/hook"}))
    assert outcome.ok
    told = json.loads(requests[0][1])
    assert told["title"] == "noclobber"
    assert "lost update on redis://h:6379/0/acct:*" in told["message"]
    assert "https://noclobber.example/finding?id=f1" in told["message"]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of apprise's own imports
def test_apprise_without_success_is_tried_again() -> None:
    """It says only that it did not work; nothing listens there."""
    pytest.importorskip("apprise", reason="apprise is not installed")
    outcome = attempt(route_from({"format": "apprise", "url": "json://127.0.0.1:9/hook"}))
    assert (outcome.ok, outcome.status) == (False, NO_ANSWER)
