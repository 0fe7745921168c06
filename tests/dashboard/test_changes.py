"""What people do to issues: rows in the log, states that follow from them, and no nonsense."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import sample
from assembled import application
from starlette.testclient import TestClient

from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.issue_log import read_issues
from noclobber_analyzer.issues import IssueError
from noclobber_analyzer.tables import read_transitions
from noclobber_dashboard.changes import Change, apply, possible
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.settings import DashboardSettings

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def issue(filled: Any) -> Iterator[str]:
    """An issue of its own in the filled store, opened a moment ago."""
    from noclobber_analyzer.issue_log import IssueKeeper
    from noclobber_analyzer.tables import append_findings

    number = time.time_ns()
    name = f"{number:032x}"
    finding, _ = sample.race(number % 2**31, "redis://bank:6379/0/cart:1", ("left", "right"), number - HOUR_NS,
                             issue=name, id=name)  # fmt: skip
    append_findings(filled, [(finding, number)])
    IssueKeeper(filled, SYSTEM).turn()
    yield name
    filled.delete("findings", "issue = {issue:String}", {"issue": name})
    filled.delete("transitions", "issue = {issue:String}", {"issue": name})


def state(store: Any, issue: str) -> str:
    """What the dashboard shows, after a look at what the analyzer says."""
    shown = next(head for head in Queries(store).issues() if head.issue == issue)
    view, _ = read_issues(store, SYSTEM, [issue])[issue]
    assert shown.state == view["state"]
    assert (shown.severity, shown.certainty, shown.count) == (view["severity"], view["certainty"], view["count"])
    return shown.state


def do(store: Any, issue: str, change: Change, **more: Any) -> Any:
    given = {"actor": "ana", "reason": "why not", "now_ns": time.time_ns(), **more}
    return apply(store, issue, change, **given)


def test_an_acknowledgement_says_of_what(filled: Any, issue: str) -> None:
    """Who pages people for it is told of the issue as it is now."""
    row = do(filled, issue, Change.ACKNOWLEDGE)
    assert row.content["data"]["issue"] == issue
    assert row.content["data"]["state"] == "acknowledged"
    assert row.content["data"]["newest"]["kind"] == "lost_update"


def test_each_change_gives_its_state(filled: Any, issue: str) -> None:
    """Acknowledged, accepted, reopened, silenced, resolved: the dashboard and the analyzer agree at each step."""
    steps = [(Change.ACKNOWLEDGE, "acknowledged"), (Change.ACCEPT, "accepted"), (Change.REOPEN, "ongoing"),
             (Change.SILENCE, "silenced"), (Change.RESOLVE, "resolved"), (Change.REOPEN, "ongoing")]  # fmt: skip
    assert state(filled, issue) == "new"
    for change, wanted in steps:
        assert change in possible(state(filled, issue))
        do(filled, issue, change, until_ns=time.time_ns() + HOUR_NS)
        assert state(filled, issue) == wanted
    log = Queries(filled).transitions(50, issue)
    assert [row.actor for row in log] == ["ana"] * 6 + ["analyzer"]


def test_a_silence_ends_by_itself(filled: Any, issue: str) -> None:
    """Once it has run out the issue is what it was, without anybody writing a row."""
    do(filled, issue, Change.ACKNOWLEDGE)
    do(filled, issue, Change.SILENCE, until_ns=time.time_ns() + HOUR_NS)
    assert state(filled, issue) == "silenced"
    later = Queries(filled, now_ns=lambda: time.time_ns() + 2 * HOUR_NS)
    assert next(head for head in later.issues() if head.issue == issue).state == "acknowledged"


def test_a_resolution_tells_whom_the_routes_name(filled: Any, issue: str) -> None:
    """Its row carries the issue as a message shows it, with the state it now has."""
    row = do(filled, issue, Change.RESOLVE)
    data = row.content["data"]
    assert (data["issue"], data["state"], data["count"]) == (issue, "resolved", 1)
    assert data["newest"]["id"] == issue


def test_a_resolution_links_as_the_analyzers_rows_do(filled: Any, issue: str) -> None:
    """Where the dashboard knows its public address, by that; else by the one that the analyzer told, if any."""
    from noclobber_analyzer.issue_log import IssueKeeper

    unlinked = do(filled, issue, Change.RESOLVE)
    known = do(filled, reopened(filled, issue), Change.RESOLVE, base_url="https://board.example")
    filled.delete("transitions", "issue = {issue:String}", {"issue": issue})
    IssueKeeper(filled, SYSTEM, base_url="https://told.example/nc").turn()
    told = do(filled, issue, Change.RESOLVE)
    assert [row.content["data"]["url"] for row in (unlinked, known, told)] == [
        "", f"https://board.example/finding?id={issue}", f"https://told.example/nc/finding?id={issue}",
    ]  # fmt: skip


def test_a_resolution_over_the_api_links_to_the_public_address(filled: Any, issue: str) -> None:
    """The row that it writes, which is what Slack's button, Alertmanager and CloudEvents are made from."""
    board = application(filled, DashboardSettings(url="https://board.example"))
    answer = TestClient(board, base_url="http://127.0.0.1:8501").post(f"/api/v1/issues/{issue}/resolve", json={})
    assert answer.status_code == 200
    row = next(row for row in read_transitions(filled, issues=[issue]) if row.id == answer.json()["id"])
    data = row.content["data"]
    assert isinstance(data, dict)
    assert data["url"] == f"https://board.example/finding?id={issue}"


def reopened(store: Any, issue: str) -> str:
    do(store, issue, Change.REOPEN)
    return issue


def test_accepting_needs_a_reason(filled: Any, issue: str) -> None:
    """Nothing is written where it is missing."""
    with pytest.raises(IssueError, match="needs a reason"):
        do(filled, issue, Change.ACCEPT, reason="  ")
    assert state(filled, issue) == "new"


def test_an_unknown_issue_is_refused(filled: Any) -> None:
    """An issue that the analyzer has not opened has nothing to be changed."""
    with pytest.raises(IssueError, match="has not opened"):
        do(filled, "none", Change.ACKNOWLEDGE)


def test_a_nameless_change_still_has_an_actor(filled: Any, issue: str) -> None:
    """Who gives no name is the dashboard; a long reason is cut."""
    row = do(filled, issue, Change.ACKNOWLEDGE, actor="  ", reason="x" * 900)
    assert (row.actor, len(row.reason)) == ("dashboard", 500)


def test_a_retracted_issue_is_shown_as_such(filled: Any, issue: str) -> None:
    """When its only finding no longer holds the issue is not gone but retracted."""
    from noclobber_analyzer.finding import Finding
    from noclobber_analyzer.issue_log import IssueKeeper
    from noclobber_analyzer.tables import append_findings

    head = Queries(filled).finding(issue)
    assert head is not None
    gone = sample.replace_finding(Finding.from_json(head.body), status="retracted", revision=2)
    append_findings(filled, [(gone, head.found_ns)])
    IssueKeeper(filled, SYSTEM).turn()
    assert state(filled, issue) == "retracted"
    assert possible("retracted") == ()
