"""Differential tests against the models of a broker, a log and a table of jobs: messages, and who worked on them.

In both directions: each certain finding is so, and of what is so all is found where the record tells it.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.length import AT_LENGTH
from oracle.moments import (
    Counted,
    Thing,
    anchors,
    counted,
    in_all_orders,
    loosely,
    named,
    steps,
    told,
)
from oracle.programs import GROUPS, IN_THE_LOG, SENT, deliveries, jobs, messages
from oracle.queues_model import Broker, Handing, Jobs, Log

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import evaluate

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CERTAIN, LIKELY = Certainty.CERTAIN, Certainty.LIKELY


# A broker that hands out again


def _check_broker(world: Broker, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    repeated = anchors(handing.receipt for handing in world.repeated())
    assert told(findings, CERTAIN, "duplicate_delivery", "receipt") <= anchors(h.receipt for h in world.applied_twice())
    if exact and world.counts:
        assert told(findings, CERTAIN, "duplicate_delivery", "receipt") == repeated
    claimed = {handing.receipt.span_id: handing for handing in world.in_two_hands()}
    assert not told(findings, CERTAIN, "double_claim")
    if exact and not world.counts:
        certainly = {span for span, second in claimed.items() if _is_kept(world, second)}
        assert certainly <= told(findings, LIKELY, "double_claim", "claim") <= claimed.keys()
    return counted(duplicate_delivery=repeated, double_claim=claimed)


def _is_kept(world: Broker, second: Handing) -> bool:
    """Whether it was the first that its line was handed, and another's first had not been given back to this day."""
    first = {handing.line: handing for handing in reversed(world.of_group(world.group(second.line)))}
    others = (h for line, h in first.items() if line != second.line and h.at < second.at)
    return first[second.line] is second and any(_is_never_back(world, h) for h in others)


def _is_never_back(world: Broker, handing: Handing) -> bool:
    return all(h.back_at is None for h in world.handed if h.line == handing.line)


@given(deliveries, st.booleans(), st.booleans(), st.sampled_from(GROUPS), st.booleans())
@settings(max_examples=600, **PACE)
def test_broker(program: list[Thing], counts: bool, keyed: bool, groups: str, in_all: bool) -> None:
    """What was handed out twice: certain where the broker counts, a double claim where it forgets."""
    _check_broker(Broker(program, counts=counts, keyed=keyed, groups=groups, told=in_all), exact=True)


@given(deliveries.flatmap(loosely), st.booleans(), st.booleans(), st.sampled_from(GROUPS))
@settings(max_examples=300, **PACE)
def test_broker_of_calls_that_overlap(program: list[Thing], counts: bool, keyed: bool, groups: str) -> None:
    """The same where calls overlap: nothing is certain that is not so."""
    _check_broker(Broker(program, counts=counts, keyed=keyed, groups=groups), exact=False)


# A log


def _check_log(world: Log, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    passed = anchors(sent.call for sent in world.passed())
    late = anchors(handing.receipt for handing in world.too_late())
    twice = anchors(sent.call for sent in world.one_place())
    lost = told(findings, CERTAIN, "lost_message", "sent")
    assert lost <= passed
    assert told(findings, CERTAIN, "out_of_order", "late") <= late
    if exact and not world.keys:  # under keys a place is told as one of the queue, and compared under one key only
        assert passed <= lost | named(findings, CERTAIN, "lost_message") or world.is_shared
        assert told(findings, CERTAIN, "fork", "child") == twice
    if exact:
        known = told(findings, CERTAIN, "out_of_order", "late") | named(findings, LIKELY, "double_claim")
        assert late <= known or world.twice_in_a_turn()
    return counted(lost_message=passed, out_of_order=late, fork=twice)


KEYS = ("ab", "aab", "abb")
"""Ordering keys of the messages of a log, in the order of sending."""


@given(messages, st.sampled_from(KEYS))
@settings(max_examples=150, **PACE)
def test_log_with_keys(program: list[Thing], keys: str) -> None:
    """Order is promised among messages of one key: whatever is applied before one of another key is no reversal."""
    _check_log(Log(program, keys=keys), exact=True)


@given(messages)
@settings(max_examples=800, **PACE)
def test_log(program: list[Thing]) -> None:
    """Messages that were passed over, applied too late, or given one place: certain exactly where they are so."""
    _check_log(Log(program), exact=True)


@given(messages.flatmap(loosely))
@settings(max_examples=300, **PACE)
def test_log_of_calls_that_overlap(program: list[Thing]) -> None:
    """The same where calls overlap: nothing is certain that is not so."""
    _check_log(Log(program), exact=False)


# A table of jobs


def _check_jobs(world: Jobs, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    so = {second.receipt.span_id: (first, second) for first, second in world.double}
    either = anchors(take.receipt for pair in world.double for take in pair)
    certain = told(findings, CERTAIN, "double_claim", "claim")
    assert certain <= either
    if exact:
        likely = told(findings, LIKELY, "double_claim", "claim")
        judged = {span: pair for span, pair in so.items() if all(_is_first(world, each) for each in pair)}
        assert judged.keys() <= likely <= so.keys()
        assert {span for span, pair in judged.items() if all(each.worked for each in pair)} <= certain
    return counted(double_claim=so, certain_double_claim=certain)


def _is_first(world: Jobs, take: Handing) -> bool:
    return next(t for t in world.takes if (t.line, t.message) == (take.line, take.message)) is take


@given(jobs, st.booleans())
@settings(max_examples=600, **PACE)
def test_jobs(program: list[Thing], compares: bool) -> None:
    """Two who took one job, neither having given it back: certain exactly where both went on."""
    _check_jobs(Jobs(program, compares=compares), exact=True)


@given(jobs.flatmap(loosely), st.booleans())
@settings(max_examples=300, **PACE)
def test_jobs_of_calls_that_overlap(program: list[Thing], compares: bool) -> None:
    """The same where calls overlap: nothing is certain that is not so."""
    _check_jobs(Jobs(program, compares=compares), exact=False)


# All orders of small programs


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param([steps(1, "get m", "work m"), steps(2, "get m", "work m")], id="two who work"),
        pytest.param(
            [steps(0, "get m", "work m"), steps(1, "get m", "work m"), steps(2, "get m", "work m")], id="three"
        ),
        pytest.param(
            [steps(0, "get m", "back m"), steps(1, "get m", "work m"), steps(2, "get m", "done m")], id="given back"
        ),
    ],
)
@pytest.mark.parametrize(("counts", "kind"), [(True, "duplicate_delivery"), (False, "double_claim")])
def test_all_orders_of_deliveries(programs: list[list[Thing]], counts: bool, kind: str) -> None:
    """Whatever the order in which a message is handed out, worked on and given back."""
    so = in_all_orders(programs, SENT, lambda order: _check_broker(Broker(order, counts=counts), exact=True))
    assert so[kind] or (kind == "duplicate_delivery" and any("back" in {t.does for t in own} for own in programs))


def test_all_orders_of_reading() -> None:
    """One line that reads, goes back and works on what it read, in all orders; three who read in turn."""
    places = [steps(0, "skip a", "work a"), steps(0, "rewind a", "work b"), steps(0, "next a", "work a")]
    so = in_all_orders(places, IN_THE_LOG, lambda order: _check_log(Log(order), exact=True))
    turns = [steps(0, "next a", "skip a"), steps(1, "skip a", "next a"), steps(2, "next a", "rewind a")]
    so += in_all_orders(turns, IN_THE_LOG, lambda order: _check_log(Log(order), exact=True))
    assert all(0 < so[kind] < so["all"] for kind in ("lost_message", "out_of_order"))


def test_all_orders_of_keys() -> None:
    """Three messages, the first and the last of one key: of some orders only the keys tell that they are fine."""
    places = [steps(0, "skip a", "work a"), steps(0, "rewind a", "work b"), steps(0, "next a", "work a")]
    so, of_one_key = Counted(), Counted()
    for keys in KEYS:
        so += in_all_orders(places, IN_THE_LOG, lambda order, k=keys: _check_log(Log(order, keys=k), exact=True))
        of_one_key += in_all_orders(places, IN_THE_LOG, lambda order: _check_log(Log(order), exact=True))
    assert 0 < so["out_of_order"] < of_one_key["out_of_order"]


def test_all_orders_of_sending() -> None:
    """Two heads of one log, and who reads it."""
    programs = [steps(0, "send", "send"), steps(1, "split", "send"), steps(2, "next", "skip")]
    so = in_all_orders(programs, [], lambda order: _check_log(Log(order), exact=True))
    assert 0 < so["fork"] < so["all"]


@pytest.mark.parametrize("compares", [False, True])
def test_all_orders_of_taking(compares: bool) -> None:
    """Two and three who look, take, work and set free."""
    so = in_all_orders(
        [steps(0, "look m", "take m", "work m"), steps(1, "look m", "take m", "work m")],
        [],
        lambda order: _check_jobs(Jobs(order, compares=compares), exact=True),
    )
    look = [Thing(line, "look", "m") for line in range(3)]
    for last in ("work m", "free m"):
        so += in_all_orders(
            [steps(0, "take m", "work m"), steps(1, "take m", "work m"), steps(2, "take m", last)],
            look,
            lambda order: _check_jobs(Jobs(order, compares=compares), exact=True),
        )
    assert (so["certain_double_claim"] == 0) if compares else (0 < so["certain_double_claim"] < so["all"])


# For long


@pytest.mark.long
@given(deliveries, st.booleans(), st.booleans(), st.sampled_from(GROUPS), st.booleans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_broker_at_length(program: list[Thing], counts: bool, keyed: bool, groups: str, in_all: bool) -> None:
    """A broker, for long."""
    _check_broker(Broker(program, counts=counts, keyed=keyed, groups=groups, told=in_all), exact=True)


@pytest.mark.long
@given(messages)
@settings(max_examples=AT_LENGTH, **PACE)
def test_log_at_length(program: list[Thing]) -> None:
    """A log, for long."""
    _check_log(Log(program), exact=True)


@pytest.mark.long
@given(messages, st.sampled_from(KEYS))
@settings(max_examples=AT_LENGTH, **PACE)
def test_log_with_keys_at_length(program: list[Thing], keys: str) -> None:
    """A log of messages with ordering keys, for long."""
    _check_log(Log(program, keys=keys), exact=True)


@pytest.mark.long
@given(jobs, st.booleans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_jobs_at_length(program: list[Thing], compares: bool) -> None:
    """Jobs, for long."""
    _check_jobs(Jobs(program, compares=compares), exact=True)


@pytest.mark.long
@given(deliveries.flatmap(loosely), messages.flatmap(loosely), jobs.flatmap(loosely), st.booleans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_calls_that_overlap_at_length(
    delivered: list[Thing],
    read: list[Thing],
    taken: list[Thing],
    either: bool,
) -> None:
    """All three where calls overlap, for long."""
    _check_broker(Broker(delivered, counts=either), exact=False)
    _check_log(Log(read), exact=False)
    _check_jobs(Jobs(taken, compares=either), exact=False)
