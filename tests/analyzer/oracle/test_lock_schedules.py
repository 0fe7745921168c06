"""Differential tests against the models of a lock server and of lines that wait for each other.

In both directions: each certain finding is so, and of what is so all is found where the record tells it.
"""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.length import AT_LENGTH
from oracle.locks_model import LockServer, Tenure, Waiting
from oracle.moments import Counted, Thing, anchors, counted, in_all_orders, loosely, steps
from oracle.programs import HELD, HELD_BY_TWO, SERVERS, locked, servers, waits

from noclobber.contract import Certainty, Op
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CERTAIN, LIKELY = Certainty.CERTAIN, Certainty.LIKELY


def _violations(findings: Sequence[Finding], grade: Certainty, *ops: Op) -> set[str]:
    sure = [f for f in findings if f.kind == "lock_violation" and f.certainty.rank >= grade.rank]
    accused = (next(a for a in f.accesses if a.role == "violation") for f in sure)
    return {access.span_id for access in accused if access.op in ops}


def _check_server(world: LockServer, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    overtaken = [write for write in world.writes if world.overtaken(write)]
    outlived = [write for write in world.writes if world.outlived(write)]
    shown = anchors(write.call for write in overtaken if world.is_shown(write))
    certain = _violations(findings, CERTAIN, Op.WRITE)
    assert certain <= anchors(write.call for write in (overtaken if world.tokens else ()))
    foreign = anchors(call for _, call in world.foreign)
    told_foreign = _violations(findings, CERTAIN, Op.UNLOCK)
    assert told_foreign <= foreign
    both = anchors(second.call for _, second in world.at_once())
    assert not _violations(findings, CERTAIN, Op.LOCK)
    if exact:
        likely = _violations(findings, LIKELY, Op.WRITE)
        if world.tokens:
            assert likely == anchors(write.call for write in overtaken)
        else:  # without tokens nobody knows whether who locks again renews a hold or has another
            assert likely <= anchors(write.call for write in outlived)
            assert likely == anchors(write.call for write in outlived) or world.had_again
        assert not world.tokens or shown == certain
        assert anchors(call for held, call in world.foreign if _is_told(world, held, call)) <= told_foreign
        overlaps = _violations(findings, LIKELY, Op.LOCK)
        first = {id(a): b for a, b in reversed(world.at_once()) if a.gave}
        assert overlaps <= both
        assert anchors(b.call for b in first.values()) <= overlaps or (world.had_again and not world.tokens)
    return counted(overtaken=overtaken, certain=certain, outlived=outlived, foreign=told_foreign, at_once=both)


def _is_told(world: LockServer, held: Tenure, unlock: object) -> bool:
    """Whether the record tells that a hold was ended by another: its line tried to end it later, and that one had none.

    Who believes that it ends a hold of its own, which another has long taken over, is not held to account for it.
    """
    other = next(a for _, a in world.foreign if a is unlock)
    own = [t for t in world.tenures if f"s{t.line}" == other.strand and t.call.seq < other.seq]
    closed = all(t.gave and t.tried_at is not None and t.tried_at < _moment(world, unlock) for t in own)
    return closed and held.tried_at is not None


def _moment(world: LockServer, call: object) -> int:
    return next(held.gone_at or 0 for held, by in world.foreign if by is call)


@given(locked, servers)
@settings(max_examples=1500, **PACE)
def test_lock_server(program: list[Thing], server: str) -> None:
    """Writes under a lock that another has taken over, holds at one time, unlocks of what is another's."""
    _check_server(SERVERS[server](program), exact=True)


@given(locked.flatmap(loosely), servers)
@settings(max_examples=600, **PACE)
def test_lock_server_of_calls_that_overlap(program: list[Thing], server: str) -> None:
    """The same where calls overlap: nothing is certain that is not so."""
    _check_server(SERVERS[server](program), exact=False)


# Waits: whoever is in a call waits, so there is no earlier or later


def _check_waits(world: Waiting) -> Counted:
    sure = [f for f in evaluate(world.history()).findings if f.kind == "deadlock" and f.certainty is CERTAIN]
    told = {finding.accesses[-1].span_id for finding in sure}
    closed = anchors(world.closed)
    assert told <= closed
    assert told == closed or not world.follows
    return counted(deadlock=closed)


@given(waits, st.booleans(), st.booleans())
@settings(max_examples=1000, **PACE)
def test_waits(program: list[Thing], follows: bool, names: bool) -> None:
    """Lines that wait in a circle: certain exactly where they do."""
    _check_waits(Waiting(program, follows=follows, names=names))


# All orders of small programs


TURN = ("lock l", "write x")
STEPS_OF_SERVERS: list[tuple[list[Thing], list[list[Thing]]]] = [
    ([], [steps(0, *TURN), steps(1, *TURN), steps(2, "grab l", "write x")]),
    ([], [steps(0, "lock l", "unlock l"), steps(1, "lock l", "unlock l"), steps(2, "unlock l")]),
    ([], [steps(0, "grab l", "unlock l"), steps(1, "grab l", "unlock l"), steps(2, *TURN)]),
    (HELD, [steps(0, "write x", "unlock l"), steps(1, *TURN), steps(2, "pass", "pass")]),
]
"""What was done before, and what each line then does."""


def test_all_orders_of_locking() -> None:
    """Whatever the order in which a lock is taken, written under, lost and given back, on any server."""
    so = Counted()
    for server in SERVERS.values():
        for first, programs in STEPS_OF_SERVERS:
            so += in_all_orders(programs, first, lambda o, at=server: _check_server(at(o), exact=True))
    assert all(0 < so[kind] < so["all"] for kind in ("overtaken", "certain", "outlived", "foreign", "at_once"))


@pytest.mark.parametrize("follows", [True, False])
def test_all_orders_of_waiting(follows: bool) -> None:
    """Two who take two locks in opposite orders, and three who wait in a circle, for locks and for each other."""

    def check(order: list[Thing]) -> Counted:
        return _check_waits(Waiting(order, follows=follows))

    so = in_all_orders([steps(0, "lock a", "lock b", "quit"), steps(1, "lock b", "lock a", "quit")], [], check)
    so += in_all_orders(
        [steps(0, "lock a", "lock b"), steps(1, "lock b", "lock c"), steps(2, "lock c", "lock a")], [], check
    )
    so += in_all_orders([steps(0, "lock a", "join 1"), steps(1, "lock a", "end"), steps(2, "join 0", "end")], [], check)
    so += in_all_orders(
        [steps(0, "lock b", "poll"), steps(1, "unlock b", "lock a"), steps(2, "lock b", "lock a")], HELD_BY_TWO, check
    )
    assert 0 < so["deadlock"] < so["all"]


# For long


@pytest.mark.long
@given(locked, servers)
@settings(max_examples=AT_LENGTH, **PACE)
def test_lock_server_at_length(program: list[Thing], server: str) -> None:
    """A lock server, for long."""
    _check_server(SERVERS[server](program), exact=True)


@pytest.mark.long
@given(locked.flatmap(loosely), servers)
@settings(max_examples=AT_LENGTH, **PACE)
def test_lock_server_of_calls_that_overlap_at_length(program: list[Thing], server: str) -> None:
    """A lock server where calls overlap, for long."""
    _check_server(SERVERS[server](program), exact=False)


@pytest.mark.long
@given(waits, st.booleans(), st.booleans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_waits_at_length(program: list[Thing], follows: bool, names: bool) -> None:
    """Waits, for long."""
    _check_waits(Waiting(program, follows=follows, names=names))
