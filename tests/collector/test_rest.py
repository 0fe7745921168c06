"""How long the loader rests between two inserts."""

import pytest

from noclobber_collector.loader import REST_FULL_S, REST_MAX_S, REST_SPANS, SPANS_MAX, rest_s


def test_few_spans_are_followed_at_once() -> None:
    """Latency counts where little comes."""
    assert rest_s(REST_SPANS - 1, 10.0) == 0.0


def test_at_a_middle_rate_it_rests_by_what_the_insert_took() -> None:
    """At five thousand a second what an insert took decides, up to a limit that a finding's latency bears."""
    assert rest_s(REST_SPANS, 0.05) == pytest.approx(0.15)
    assert rest_s(REST_SPANS, 5.0) == REST_MAX_S


@pytest.mark.parametrize(("rate", "least"), [(25_000, 20_000), (5_000, 0)])
def test_inserts_grow_with_the_rate(rate: int, least: int) -> None:
    """At 25,000 a second an insert grows until it is worth its merges; at 5,000 it stays small."""
    spans = REST_SPANS
    for _ in range(50):
        took_s = 0.02 + spans * 10e-6
        spans = min(SPANS_MAX, int(rate * (took_s + rest_s(spans, took_s))))
    assert least <= spans <= SPANS_MAX
    assert spans >= least
    if not least:
        assert spans < rate * (REST_MAX_S + 0.2)


def test_no_rest_is_longer_than_that_of_a_full_insert() -> None:
    """However much was in it."""
    assert rest_s(10 * SPANS_MAX, 0.1) == REST_FULL_S
