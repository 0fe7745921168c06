"""More than a page holds: what is old is found, counted, exported and told of as what is new."""

import csv
import io
import json
import time
from dataclasses import replace
from typing import Any

import pytest
import sample
from assembled import application
from starlette.testclient import TestClient

from noclobber.contract import Certainty, Severity
from noclobber_analyzer.issues import Event, Transition
from noclobber_analyzer.tables import append_findings, append_transitions
from noclobber_dashboard.components.prose import Node
from noclobber_dashboard.issue_queries import IssueFilter
from noclobber_dashboard.pages.findings import Asked, chosen
from noclobber_dashboard.pages.overview import PART
from noclobber_dashboard.queries import SNAPSHOT_MAX, Queries
from noclobber_dashboard.settings import DashboardSettings

EVERY = SNAPSHOT_MAX + 300
OLD = f"{1:032x}"
"""The oldest: critical, its issue accepted; all others are low and, but for the oldest ten, new."""
ACCEPTED, RESOLVED = 5, 5
BUSY = "redis://bank:6379/0/acct:busy"
HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def long(real_store: Any) -> Any:
    """A finding and an issue for each of so many races, each on a resource of its own; an access of each."""
    start_ns = time.time_ns() - HOUR_NS
    like, rows = sample.bank(start_ns)
    findings = [
        sample.replace_finding(
            like, id=f"{number:032x}", issue=f"{number:032x}",
            severity=Severity.LOW if number > 1 else Severity.CRITICAL,
            certainty=Certainty.LIKELY if number > 1 else Certainty.CERTAIN, last_ns=start_ns + number * sample.MS,
            resource=BUSY if number < 4 else f"redis://bank:6379/0/acct:{number}",
            agents=("planner",) if number == 2 else like.agents,
        )
        for number in range(1, EVERY + 1)
    ]  # fmt: skip
    append_findings(real_store, [(each, each.last_ns) for each in findings])
    accesses = [
        rows[4] | {"trace_id": f"{number:032x}", "resource": f"redis://bank:6379/0/acct:{number:04}"}
        for number in range(EVERY)
    ]
    sample.insert_accesses(real_store, accesses)
    append_transitions(
        real_store,
        [
            Transition(f"t{number}", f"{number:032x}", start_ns + HOUR_NS // 2, kind, "", "", "ana", "known", "{}")
            for number, kind in enumerate([Event.ACCEPTED] * ACCEPTED + [Event.RESOLVED] * RESOLVED, 1)
        ],
    )
    return real_store


@pytest.fixture
def asked(long: Any) -> Queries:
    """The questions, with nothing cached."""
    return Queries(long)


@pytest.fixture
def api(long: Any) -> TestClient:
    """The API over that store."""
    return TestClient(application(long, DashboardSettings()), base_url="http://127.0.0.1:8501")


def every_page(api: TestClient, name: str, query: str = "") -> list[dict[str, Any]]:
    """All rows of a list, page after page."""
    rows: list[dict[str, Any]] = []
    path = f"/api/v1/{name}?limit=500{query}"
    following: str | None = ""
    while following is not None:
        page = api.get(path + (f"&cursor={following}" if following else "")).json()
        rows += page[name]
        following = page["next"]
    return rows


def words(shape: Any) -> list[str]:
    """The texts of a shape."""
    if isinstance(shape, str):
        return [shape]
    return [word for child in shape.children for word in words(child)] if isinstance(shape, Node) else []


def test_a_state_is_asked_of_all_findings(asked: Queries) -> None:
    """Findings of old accepted issues are found by that state, and shown with it, though the page holds newer ones."""
    newest = asked.recent_findings()
    found, states, note = chosen(asked, newest, Asked(state="accepted"))
    assert [head.id for head in found] == [f"{number:032x}" for number in range(ACCEPTED, 0, -1)]
    assert {states[head.issue] for head in found} == {"accepted"}
    assert note == f"{ACCEPTED} findings of {EVERY:,}"
    assert len(chosen(asked, newest, Asked(state="new"))[0]) == SNAPSHOT_MAX
    by_name, states, _ = chosen(asked, newest, Asked(text="acct:busy"))
    assert [states[head.issue] for head in by_name] == ["accepted"] * 3


def test_retracted_is_a_state_that_shows_what_was_retracted(asked: Queries) -> None:
    """Whoever asks for it need not switch them on as well."""
    taken_back = replace(asked.recent_findings()[0], status="retracted")
    assert chosen(asked, [taken_back], Asked(state="retracted"))[0] == [taken_back]
    assert chosen(asked, [taken_back], Asked())[0] == []


def test_findings_by_state_over_the_api(api: TestClient) -> None:
    """States are united; what nothing happened to is new."""
    assert len(every_page(api, "findings", "&state=accepted,resolved")) == ACCEPTED + RESOLVED
    assert len(every_page(api, "findings", "&state=new")) == EVERY - ACCEPTED - RESOLVED
    assert len(every_page(api, "findings", "&state=new,accepted")) == EVERY - RESOLVED
    assert every_page(api, "findings", "&state=retracted") == []


def test_every_issue_is_there(api: TestClient) -> None:
    """Pages join without gap or repeat beyond what a page of the dashboard holds; the oldest is answered by its id."""
    rows = every_page(api, "issues")
    assert [row["issue"] for row in rows] == [f"{number:032x}" for number in range(EVERY, 0, -1)]
    assert api.get(f"/api/v1/issues/{OLD}").json() == rows[-1]
    assert (rows[-1]["state"], rows[-1]["reason"]) == ("accepted", "known")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("state=accepted", range(5, 0, -1)),
        ("state=resolved", range(10, 5, -1)),
        ("severity=critical", [1]),
        ("certainty=certain", [1]),
        ("agent=planner", [2]),
        (f"resource={BUSY}", [3, 2, 1]),
        (f"resource={BUSY}&state=new", []),
        ("kind=fork", []),
    ],
)
def test_issues_by_what_their_findings_say(api: TestClient, query: str, numbers: Any) -> None:
    """Each filter is asked of all issues."""
    assert [int(row["issue"], 16) for row in every_page(api, "issues", f"&{query}")] == list(numbers)


@pytest.mark.parametrize("name", ["findings", "issues", "resources"])
def test_a_file_holds_all(api: TestClient, name: str) -> None:
    """CSV and JSON Lines have every row there is; JSON Lines as the API answers them."""
    lines = api.get(f"/api/v1/{name}?format=jsonl")
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert rows == every_page(api, name)
    assert len(rows) == EVERY
    made = api.get(f"/api/v1/{name}?format=csv").content.decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(made)))) == EVERY


def test_resources_name_their_window(api: TestClient) -> None:
    """The answer and the file say how far back is counted; an old name is found, whatever the snapshot holds."""
    assert api.get("/api/v1/resources?limit=1").json()["window_min"] == 1_440
    assert api.get("/api/v1/resources?format=csv").headers["x-noclobber-window-min"] == "1440"
    last = f"redis://bank:6379/0/acct:{EVERY - 1:04}"
    assert [row["resource"] for row in every_page(api, "resources", f"&q=ACCT:{EVERY - 1:04}")] == [last]
    assert every_page(api, "resources", "&system=none") == []


def test_the_issues_in_each_state_are_counted(asked: Queries) -> None:
    """All of them, and settings show an old issue that is accepted."""
    states = {"accepted": ACCEPTED, "resolved": RESOLVED, "new": EVERY - ACCEPTED - RESOLVED}
    assert asked.issues_by_state() == states
    quiet = asked.issues(IssueFilter(states=("silenced", "accepted")))
    assert [(head.issue, head.reason) for head in quiet] == [(f"{n:032x}", "known") for n in range(ACCEPTED, 0, -1)]


def test_the_overview_shows_the_worst_of_all(asked: Queries) -> None:
    """The gravest comes first however old it is, and a resource has the severity of its worst finding."""
    assert [head.id for head in asked.worst(2)] == [OLD, f"{EVERY:032x}"]
    busiest = next(iter(asked.findings_by_resource().values()))
    assert (busiest.resource, busiest.count, busiest.severity) == (BUSY, 3, "critical")
    (page,) = PART.make(asked, {})
    told = words(page)
    assert told[told.index("Worst and newest") + 1] == "critical"


def test_health_counts_all(api: TestClient) -> None:
    """Not only those that a page holds."""
    assert api.get("/api/v1/health").json()["findings"] == EVERY
