"""One attempt against a real server that misbehaves."""

import threading
import time

from receivers import Answer, Receiver

from noclobber_analyzer.alerts.post import ANSWER_BYTES_MAX, NO_ANSWER, post

HEADERS = {"webhook-id": "m", "webhook-timestamp": "0", "webhook-signature": "v1,"}


def test_success_is_2xx(receiver: Receiver) -> None:
    """204 is as good as 200."""
    outcome = post(receiver.route(), b"{}", HEADERS, 0)
    assert (outcome.status, outcome.ok) == (204, True)


def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver) -> None:
    """The receiver gets one request, at the path that the route names."""
    receiver.answers = [Answer(302, {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"})]
    outcome = post(receiver.route(), b"{}", HEADERS, 0)
    assert (outcome.status, outcome.ok) == (302, False)
    assert [request["path"] for request in receiver.requests] == ["/hook"]


def test_a_cut_connection_is_no_answer(receiver: Receiver) -> None:
    """It says what happened instead of raising."""
    receiver.answers = [Answer(cut=True)]
    outcome = post(receiver.route(), b"{}", HEADERS, 0)
    assert (outcome.status, outcome.ok) == (NO_ANSWER, False)
    assert outcome.answer


def test_a_dead_port_is_no_answer(receiver: Receiver) -> None:
    """Nobody listens."""
    route = receiver.route(url="http://127.0.0.1:1/")
    assert post(route, b"{}", HEADERS, 0).status == NO_ANSWER


def test_retry_after_is_read_as_seconds_and_as_a_date(receiver: Receiver) -> None:
    """Both forms of HTTP; nonsense is nothing."""
    receiver.answers = [
        Answer(503, {"retry-after": "120"}),
        Answer(503, {"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}),
        Answer(503, {"retry-after": "soon"}),
    ]
    assert [post(receiver.route(), b"{}", HEADERS, 10**10).retry_after_s for _ in range(3)] == [120.0, 90.0, None]


def test_a_slow_answer_ends_at_the_deadline(receiver: Receiver) -> None:
    """A receiver that thinks for ever, and one that drips a byte at a time, cost no more than the timeout."""
    held = threading.Event()
    receiver.answers = [Answer(hold=held), Answer(drip=True)]
    for _ in range(2):
        started = time.monotonic()
        assert post(receiver.route(), b"{}", HEADERS, 0, timeout_s=0.3).status == NO_ANSWER
        assert time.monotonic() - started < 3
    held.set()


def test_a_huge_answer_is_read_to_its_limit(receiver: Receiver) -> None:
    """The first kilobyte is kept, the status counts."""
    receiver.answers = [Answer(200, body=b"x" * 10_000_000)]
    outcome = post(receiver.route(), b"{}", HEADERS, 0)
    assert (outcome.ok, len(outcome.answer)) == (True, ANSWER_BYTES_MAX)
