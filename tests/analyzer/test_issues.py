"""What becomes of an issue: a log that replays to one state, and what is due when."""

import contextlib
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_findings import START_NS, a_head

from noclobber.contract import Certainty, IssueState, Severity
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.issues import (
    ENDED,
    MUTED,
    Event,
    Head,
    IssueError,
    Policy,
    Standing,
    Transition,
    accept,
    acknowledge,
    after,
    due,
    reopen,
    replay,
    resolve,
    silence,
    transition,
)

POLICY = Policy()
SHOWN = {"severity": Severity.HIGH, "certainty": Certainty.LIKELY, "newest": {"id": "f1"}}


def told(event: Event, standing: Standing, heads: list[Head], now_ns: int) -> Transition:
    return transition(event, "i1", standing, heads, data=dict(SHOWN), now_ns=now_ns)


def opened(at_ns: int = START_NS) -> tuple[list[Transition], Standing]:
    row = told(Event.OPENED, Standing(), [a_head(at_ns=at_ns)], at_ns)
    return [row], replay([row])


def test_the_first_finding_opens_at_once() -> None:
    """An issue that nobody knows is due with its first finding, without any wait."""
    assert due(Standing(), [a_head()], START_NS, POLICY) is Event.OPENED


def test_a_told_issue_is_not_told_again() -> None:
    """The same findings a second later are nothing new."""
    _, standing = opened()
    assert standing.state is IssueState.NEW
    assert due(standing, [a_head()], START_NS + SECOND_NS, POLICY) is None


def test_further_findings_wait_for_the_group_interval() -> None:
    """A second finding is told 300 s after the opening, not before."""
    _, standing = opened()
    heads = [a_head(), a_head("f2", at_ns=START_NS + 5 * SECOND_NS)]
    assert due(standing, heads, START_NS + 299 * SECOND_NS, POLICY) is None
    assert due(standing, heads, START_NS + 300 * SECOND_NS, POLICY) is Event.UPDATED


def test_further_findings_are_gathered() -> None:
    """Long after the opening, a new finding waits 30 s for its like."""
    _, standing = opened()
    late_ns = START_NS + 1_000 * SECOND_NS
    heads = [a_head(), a_head("f2", at_ns=late_ns)]
    assert due(standing, heads, late_ns + 29 * SECOND_NS, POLICY) is None
    assert due(standing, heads, late_ns + 30 * SECOND_NS, POLICY) is Event.UPDATED


def test_what_worsens_is_told_at_once() -> None:
    """A finding that has become certain does not wait for the group interval."""
    _, standing = opened()
    worse = a_head(certainty=Certainty.CERTAIN)
    assert due(standing, [worse], START_NS + SECOND_NS, POLICY) is Event.UPDATED


def test_quiet_resolves_unless_something_lags() -> None:
    """A day without a finding resolves, but not while quiet proves nothing."""
    _, standing = opened()
    later_ns = START_NS + 86_400 * SECOND_NS
    assert due(standing, [a_head()], later_ns, POLICY) is Event.RESOLVED
    assert due(standing, [a_head()], later_ns, POLICY, hold_resolved=True) is None


def test_a_reminder_comes_after_four_hours_and_only_unacknowledged() -> None:
    """Nobody looks: told again. Somebody does: not."""
    rows, standing = opened()
    later_ns = START_NS + 4 * 3600 * SECOND_NS
    assert due(standing, [a_head()], later_ns, POLICY) is Event.UPDATED
    rows.append(acknowledge("i1", standing, actor="ann", now_ns=START_NS + 1))
    assert due(replay(rows), [a_head()], later_ns, POLICY) is None


def test_a_finding_after_the_resolution_regresses_it() -> None:
    """What happens again after it was mended is a regression; what had happened before is none."""
    rows, standing = opened()
    mended_ns = START_NS + 100 * SECOND_NS
    rows.append(resolve("i1", standing, actor="ann", now_ns=mended_ns, data=dict(SHOWN)))
    standing = replay(rows)
    assert standing.state is IssueState.RESOLVED
    before, later = a_head("f2", at_ns=mended_ns - 1), a_head("f3", at_ns=mended_ns + SECOND_NS)
    assert due(standing, [a_head(), before], mended_ns + SECOND_NS, POLICY) is None
    assert due(standing, [a_head(), later], mended_ns + SECOND_NS, POLICY) is Event.REGRESSED


def test_an_issue_without_a_finding_that_holds_is_retracted() -> None:
    """All findings retracted: so is the issue, also one that somebody had accepted."""
    rows, standing = opened()
    gone = [a_head(status="retracted", revision=2)]
    assert due(standing, gone, START_NS, POLICY) is Event.RETRACTED
    rows.append(accept("i1", standing, actor="ann", now_ns=START_NS, reason="a cache"))
    assert due(replay(rows), gone, START_NS, POLICY) is Event.RETRACTED
    assert due(Standing(), gone, START_NS, POLICY) is None


def test_a_silence_ends_by_itself_and_uncovers_what_was() -> None:
    """While silenced nothing is due; afterwards the old state is back and what came meanwhile is told."""
    rows, standing = opened()
    until_ns = START_NS + 3_600 * SECOND_NS
    rows.append(acknowledge("i1", standing, actor="ann", now_ns=START_NS + 1))
    rows.append(silence("i1", replay(rows), actor="ann", now_ns=START_NS + 2, until_ns=until_ns))
    standing, heads = replay(rows), [a_head(), a_head("f2", at_ns=START_NS + 10)]
    assert standing.state_at(until_ns - 1) is IssueState.SILENCED
    assert due(standing, heads, until_ns - 1, POLICY) is None
    assert standing.state_at(until_ns) is IssueState.ACKNOWLEDGED
    assert due(standing, heads, until_ns, POLICY) is Event.UPDATED


def test_a_row_that_crossed_a_persons_row_does_not_undo_it() -> None:
    """The analyzer's update, decided before an acknowledgement was written, leaves it acknowledged."""
    rows, standing = opened()
    crossing = told(Event.UPDATED, standing, [a_head()], START_NS + 20)
    ack = acknowledge("i1", standing, actor="ann", now_ns=START_NS + 10)
    assert replay([*rows, crossing, ack]).state is IssueState.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda s: accept("i1", s, actor="ann", now_ns=START_NS, reason=" "), "needs a reason"),
        (lambda s: silence("i1", s, actor="ann", now_ns=START_NS, until_ns=START_NS), "in the future"),
        (lambda s: reopen("i1", s, actor="ann", now_ns=START_NS), "nothing to take back"),
        (lambda s: acknowledge("i1", Standing(), actor="ann", now_ns=START_NS), "no such issue"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(act, why: str) -> None:
    """The person is told what is wrong."""
    _, standing = opened()
    with pytest.raises(IssueError, match=why):
        act(standing)


def test_a_repeated_step_is_the_same_row() -> None:
    """What a killed analyzer does again has the id that it had."""
    _, standing = opened()
    assert told(Event.UPDATED, standing, [], START_NS + 5).id == told(Event.UPDATED, standing, [], START_NS + 9).id


def _act(choice: int, standing: Standing, now_ns: int) -> list[Transition]:
    """What a person does; nothing for other choices."""
    match choice:
        case 2:
            return [acknowledge("i1", standing, actor="ann", now_ns=now_ns)]
        case 3:
            return [accept("i1", standing, actor="ann", now_ns=now_ns, reason="so be it")]
        case 4:
            return [silence("i1", standing, actor="ann", now_ns=now_ns, until_ns=now_ns + 50 * SECOND_NS)]
        case 5:
            return [resolve("i1", standing, actor="ann", now_ns=now_ns, data=dict(SHOWN))]
        case 6:
            return [reopen("i1", standing, actor="ann", now_ns=now_ns)]
    return []


def _walk(choices: list[tuple[int, int]]) -> list[Transition]:
    """A log that grows by what is due or by what a person does, whatever is possible."""
    rows: list[Transition] = []
    now_ns, heads = START_NS, [a_head()]
    for choice, wait_s in choices:
        now_ns += wait_s * SECOND_NS
        standing = replay(rows)
        if choice == 0:
            heads = [*heads, a_head(f"f{now_ns}", at_ns=now_ns)]
        elif choice == 1:
            heads = [a_head(head.id, at_ns=head.found_ns, status="retracted", revision=2) for head in heads]
        event = due(standing, heads, now_ns, POLICY)
        if event is not None:
            rows.append(told(event, standing, heads, now_ns))
            continue
        with contextlib.suppress(IssueError):
            rows += _act(choice, standing, now_ns)
    return rows


CHOICES = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 1, 40, 400, 20_000, 90_000])), max_size=14)


@given(CHOICES, st.integers(0, 2**32))
def test_any_order_and_repetition_of_the_log_replays_to_one_state(choices: list[tuple[int, int]], seed: int) -> None:
    """Rows written three times and read in any order say what the log said in order."""
    rows = _walk(choices)
    mixed = rows * 3
    random.Random(seed).shuffle(mixed)
    assert replay(mixed) == replay(rows)


@given(CHOICES)
def test_the_state_that_a_row_says_is_the_state_that_replay_gives(choices: list[tuple[int, int]]) -> None:
    """Written by one party, each row's own state is right, ids are unique, and times grow."""
    rows = _walk(choices)
    standing = Standing()
    for row in rows:
        standing = after(standing, row)
        assert standing.state == row.state
    assert len({row.id for row in rows}) == len(rows)
    assert all(one.at_ns < other.at_ns for one, other in itertools.pairwise(rows))


@given(CHOICES)
def test_what_is_due_is_done_once(choices: list[tuple[int, int]]) -> None:
    """After the row of a due event is written, at the same moment nothing more is due."""
    rows = _walk(choices)
    standing = replay(rows)
    heads, now_ns = [a_head()], standing.at_ns + 100_000 * SECOND_NS
    event = due(standing, heads, now_ns, POLICY)
    if event is not None:
        following = after(standing, told(event, standing, heads, now_ns))
        assert due(following, heads, now_ns, POLICY) is None
        assert following.state not in MUTED or following.state not in ENDED
