"""When the next attempt is: a function of the log alone."""

import pytest

from noclobber_analyzer.alerts.post import Outcome
from noclobber_analyzer.alerts.schedule import ATTEMPTS_MAX, STEPS_S, Breaker, Next, closing, next_attempt
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.tables import Delivery

NOW_NS = 1_790_000_000 * SECOND_NS


def failed(attempt: int, at_ns: int, status: int = 500, retry_after_s: float | None = None) -> Delivery:
    begun = Delivery("m", "t", "e", attempt, "begun", at_ns)
    return closing(begun, Outcome(status, retry_after_s, "no", 1.0), at_ns)


def test_the_first_attempt_is_at_once() -> None:
    """A new message is due when it came into being."""
    assert next_attempt([], NOW_NS) == Next(1, NOW_NS)


def test_waits_follow_the_schedule_and_end_in_a_dead_letter() -> None:
    """Ten attempts, each wait within 20 % of the schedule's, then nothing more."""
    rows, at_ns = [], NOW_NS
    for attempt in range(1, ATTEMPTS_MAX + 1):
        rows.append(failed(attempt, at_ns))
        coming = next_attempt(rows, NOW_NS)
        if attempt == ATTEMPTS_MAX:
            assert coming is None
            break
        assert coming is not None
        assert coming.attempt == attempt + 1
        wait_s = (coming.at_ns - at_ns) / SECOND_NS
        assert 0.8 * STEPS_S[attempt - 1] <= wait_s <= 1.2 * STEPS_S[attempt - 1]
        at_ns = coming.at_ns


def test_the_wait_is_the_same_for_everyone_who_reads_the_log() -> None:
    """Jitter is no dice: two readers agree."""
    assert next_attempt([failed(1, NOW_NS)], 0) == next_attempt([failed(1, NOW_NS)], 0)


def test_retry_after_is_a_least_wait() -> None:
    """Asked to wait an hour, the second attempt comes after an hour; asked for a second, after the schedule's 5 s."""
    hour = next_attempt([failed(1, NOW_NS, 503, 3_600.0)], 0)
    assert hour == Next(2, NOW_NS + 3_600 * SECOND_NS)
    soon = next_attempt([failed(1, NOW_NS, 503, 1.0)], 0)
    assert soon is not None
    assert soon.at_ns >= NOW_NS + 4 * SECOND_NS


def test_an_attempt_without_an_end_waits_out_its_timeout() -> None:
    """The sender died: its attempt may still be under way for 15 s."""
    assert next_attempt([Delivery("m", "t", "e", 1, "begun", NOW_NS)], 0) == Next(2, NOW_NS + 15 * SECOND_NS)


def test_what_arrived_is_never_sent_again() -> None:
    """Not even where a person asks for it."""
    arrived = closing(Delivery("m", "t", "e", 1, "begun", NOW_NS), Outcome(200, None, "", 1.0), NOW_NS)
    assert next_attempt([arrived], 0) is None
    assert next_attempt([arrived], 0, resent_ns=NOW_NS + 1) is None


def test_a_dead_letter_sent_again_gets_one_more_attempt() -> None:
    """The eleventh attempt is the last one as well."""
    dead = [failed(attempt, NOW_NS) for attempt in range(1, ATTEMPTS_MAX + 1)]
    assert next_attempt(dead, 0, resent_ns=NOW_NS + 9) == Next(11, NOW_NS + 9)
    assert next_attempt([*dead, failed(11, NOW_NS + 10)], 0, resent_ns=NOW_NS + 9) is None


@pytest.mark.parametrize(("status", "pause_s"), [(503, 5), (429, 5), (0, 5), (-1, 5), (500, 0), (404, 0), (302, 0)])
def test_a_throttling_or_dead_endpoint_is_left_alone(status: int, pause_s: int) -> None:
    """One failure of a message's own says nothing of the endpoint; being busy or away does."""
    breaker = Breaker()
    breaker.take(failed(1, NOW_NS, status))
    assert breaker.until_ns == NOW_NS + pause_s * SECOND_NS


def test_an_endpoint_that_fails_again_and_again_is_left_alone() -> None:
    """The fifth failure in a row opens the breaker, a success closes it."""
    breaker = Breaker()
    for attempt in range(1, 6):
        breaker.take(failed(attempt, NOW_NS))
    assert breaker.until_ns == NOW_NS + 5 * SECOND_NS
    breaker.take(closing(Delivery("n", "t", "e", 1, "begun", NOW_NS), Outcome(204, None, "", 1.0), NOW_NS))
    assert (breaker.failures, breaker.until_ns) == (0, 0)
