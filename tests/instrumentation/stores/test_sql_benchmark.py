"""What SQL capture costs the caller, against the same program without it, in one run."""

import time
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import StaticPool

from noclobber.testing import capture

ROUNDS, STATEMENTS = 7, 2000
ADDED_US_MAX = 60.0
"""A stock instrumentation adds about 48 µs of the caller's time; machines differ, so the bound is wide."""


def caller_us(engine: Engine) -> float:
    """CPU time of the caller's thread for one keyed SELECT: the best of the rounds."""
    select = text("SELECT id, bal FROM accounts WHERE id = :i")
    best = float("inf")
    with engine.connect() as connection:
        for _ in range(ROUNDS):
            began = time.thread_time()
            for number in range(STATEMENTS):
                assert connection.execute(select, {"i": number % 10}).all() == [(number % 10, 100)]
            best = min(best, (time.thread_time() - began) / STATEMENTS)
    return best * 1e6


@pytest.mark.benchmark
def test_a_keyed_select(record_property: Callable[[str, object], None]) -> None:
    """The caller pays for two clock reads, a look-up of the plan and its rows; the drain does the rest."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)"))
        connection.execute(text("INSERT INTO accounts VALUES (:i, 100)"), [{"i": number} for number in range(10)])
    bare = caller_us(engine)
    with capture(fixed=False, background=True, flush_interval_s=0.2) as captured:
        recorded = caller_us(engine)
        reads = [span for span in captured.spans if span.attributes["noclobber.op"] == "read"]
    assert len(reads) == ROUNDS * STATEMENTS
    record_property("ratio", recorded / bare)
    print(f"keyed SELECT: {bare:.1f} µs bare, {recorded:.1f} µs recorded, ratio {recorded / bare:.2f}")
    assert recorded - bare < ADDED_US_MAX
    engine.dispose()
