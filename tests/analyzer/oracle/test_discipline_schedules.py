"""Differential tests of writes without the lock that everybody else holds (lockset), against the lock server's model.

Two lines have read and written under a lock, one after the other, so often that it is a discipline. Then they go on,
and a third line comes that may or may not hold it. What is so is told from who held what at each moment.

Source: Savage et al. 1997 (Eraser); contract 3.1 (`lock_violation`: unguarded access).
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.length import AT_LENGTH
from oracle.locks_model import LockServer
from oracle.moments import Counted, Thing, anchors, counted, in_all_orders, loosely, schedules, steps, things

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import evaluate

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
ROUND = ("lock l", "read x", "write x", "unlock l")
DISCIPLINE = [each for turn in range(6) for each in steps(turn % 2, *ROUND)]
"""Twelve reads and writes under the lock, of which the first two are one line's alone."""
SHARE, LEAST = 0.9, 10

after = schedules(
    lambda: LockServer([]),
    [*things("lock", "unlock", to="l", lines=3), *things("write", "write", "read", to="x")],
    first=DISCIPLINE,
)


def _check(world: LockServer, *, exact: bool) -> Counted:
    findings = [f for f in evaluate(world.history()).findings if f.kind == "lock_violation"]
    told = {next(a.span_id for a in finding.accesses if a.role == "violation") for finding in findings}
    held, of = world.share_held()
    bare = anchors(write.call for write in world.bare())
    so = bare if of >= LEAST and held >= SHARE * of else set()
    assert not [f for f in findings if f.certainty is Certainty.CERTAIN]
    assert told <= so
    assert told == so or not exact
    return counted(unguarded=so, bare=bare)


@given(after, st.booleans())
@settings(max_examples=100, **PACE)
def test_discipline(program: list[Thing], tokens: bool) -> None:
    """A write by whoever holds nothing, inside another's hold: told exactly where nearly all others hold the lock."""
    _check(LockServer(program, tokens=tokens), exact=True)


@given(after.flatmap(loosely), st.booleans())
@settings(max_examples=60, **PACE)
def test_discipline_of_calls_that_overlap(program: list[Thing], tokens: bool) -> None:
    """The same where calls overlap: nobody is accused who did not write inside another's hold."""
    _check(LockServer(program, tokens=tokens), exact=False)


def test_all_orders() -> None:
    """Who writes without the lock beside two who take it, in all orders."""
    so = in_all_orders(
        [steps(0, "lock l", "write x", "unlock l"), steps(1, "lock l", "unlock l"), steps(2, "write x")],
        DISCIPLINE,
        lambda order: _check(LockServer(order), exact=True),
    )
    assert 0 < so["unguarded"] < so["all"]


@pytest.mark.long
@given(after, st.booleans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_discipline_at_length(program: list[Thing], tokens: bool) -> None:
    """Writes without the lock, for long."""
    _check(LockServer(program, tokens=tokens), exact=True)
