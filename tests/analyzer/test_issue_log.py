"""Issues over the real store: what is written, what is read back, what others did meanwhile."""

from made_findings import HandClock, a_finding, a_head

from noclobber.contract import Certainty, IssueState
from noclobber_analyzer.issue_log import IssueKeeper, read_issues
from noclobber_analyzer.issues import Event, Policy, acknowledge
from noclobber_analyzer.tables import (
    Store,
    append_findings,
    append_transitions,
    findings_of,
    read_heads,
    read_transitions,
)


def test_a_finding_survives_the_store(store: Store) -> None:
    """What is written is read back: the body, the head, and only the newest revision."""
    clock = HandClock()
    changed = a_finding(revision=2, missing=("a mark",))
    append_findings(store, [(a_finding(), clock.now_ns()), (changed, clock.now_ns())])
    assert findings_of(store, ["f1"]) == {"f1": (changed, clock.now_ns())}
    assert read_heads(store) == [a_head(revision=2)]


def test_an_opened_issue_is_written_once(store: Store) -> None:
    """A turn writes the opening; the next turn, and one of a keeper started anew, write nothing."""
    clock = HandClock()
    append_findings(store, [(a_finding(), clock.now_ns())])
    keeper = IssueKeeper(store, clock, base_url="http://127.0.0.1:8501")
    (row,) = keeper.turn()
    assert (row.kind, row.state, row.finding) == (Event.OPENED, IssueState.NEW, "f1")
    assert keeper.turn() == []
    assert IssueKeeper(store, clock).turn() == []
    assert read_transitions(store) == [row]


def test_the_row_holds_what_is_to_be_sent(store: Store) -> None:
    """The issue of the contract stands in the row's body, with its newest finding and a link."""
    clock = HandClock()
    append_findings(store, [(a_finding(), clock.now_ns())])
    (row,) = IssueKeeper(store, clock, base_url="http://127.0.0.1:8501").turn()
    data = row.content["data"]
    assert isinstance(data, dict)
    newest = data.pop("newest")
    assert newest["explanation"] == "withdraw replaced what deposit wrote."
    assert data == {
        "issue": "i1",
        "kind": "lost_update",
        "title": "lost update on redis://h:6379/0/acct:* (deposit, withdraw)",
        "state": "new",
        "severity": "high",
        "certainty": "likely",
        "manifest": True,
        "count": 1,
        "first_ns": clock.now_ns(),
        "last_ns": clock.now_ns(),
        "resources": ["redis://h:6379/0/acct:42"],
        "agents": ["deposit", "withdraw"],
        "url": "http://127.0.0.1:8501/finding?id=f1",
    }


def test_a_keeper_sees_what_a_person_did(store: Store) -> None:
    """An acknowledgement written by somebody else is read at the next turn."""
    clock = HandClock()
    append_findings(store, [(a_finding(), clock.now_ns())])
    keeper = IssueKeeper(store, clock)
    keeper.turn()
    _, standing = read_issues(store, clock)["i1"]
    clock.move(1)
    append_transitions(store, [acknowledge("i1", standing, actor="ann", now_ns=clock.now_ns())])
    clock.move(5 * 3600)
    assert keeper.turn() == []
    view, standing = read_issues(store, clock, ["i1"])["i1"]
    assert (view["state"], standing.actor) == (IssueState.ACKNOWLEDGED, "ann")


def test_findings_that_were_noticed_need_not_be_read(store: Store) -> None:
    """What the live analyzer has just written counts at once, and is not counted twice."""
    clock = HandClock()
    keeper = IssueKeeper(store, clock)
    assert keeper.turn() == []
    append_findings(store, [(a_finding(), clock.now_ns())])
    keeper.noticed([a_head()])
    assert [row.kind for row in keeper.turn()] == [Event.OPENED]
    assert keeper.issues() == {"issues": 1, "findings": 1}


def test_an_update_says_why_it_was_written(store: Store) -> None:
    """Further findings, a reminder, something worse: routes have waits of their own for each."""
    clock = HandClock()
    keeper = IssueKeeper(store, clock, Policy(group_wait_s=1, group_interval_s=10, repeat_s=3_600))
    append_findings(store, [(a_finding("f1"), clock.now_ns())])
    rows = keeper.turn()
    clock.move(9)
    append_findings(store, [(a_finding("f2"), clock.now_ns())])
    found_ns = clock.now_ns()
    assert keeper.turn() == []
    clock.move(2)
    rows += keeper.turn()
    clock.move(3_700)
    rows += keeper.turn()
    append_findings(store, [(a_finding("f3", certainty=Certainty.CERTAIN), clock.now_ns())])
    rows += keeper.turn()
    assert [row.content.get("because") for row in rows] == [None, "more", "repeat", "worse"]
    assert rows[1].content["fresh_ns"] == found_ns
