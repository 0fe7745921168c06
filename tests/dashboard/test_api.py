"""The JSON API over a real embedded store: answers, paging, mistakes."""

import json
from typing import Any

import pytest
import sample
from hostile import HOSTILE
from starlette.testclient import TestClient

from noclobber_dashboard.queries import Queries

BANK = "5f2c9a41d07be836c1a4f0925d7e3b68"
EVERY = 15 + len(HOSTILE)


def get(client: TestClient, path: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    return answer.json()


def test_a_finding_is_answered_as_it_was_stored(client: TestClient, filled: Any) -> None:
    """The API gives the contract's object, field for field."""
    stored = filled.rows("SELECT body FROM findings WHERE id = {id:String}", {"id": BANK})[0][0]
    assert get(client, f"/findings/{BANK}") == json.loads(stored)


def test_pages_of_findings_join_without_gap_or_repeat(client: TestClient) -> None:
    """Following `next` gives every finding once, newest first."""
    seen, path = [], "/findings?limit=7"
    while path:
        page = get(client, path)
        seen += page["findings"]
        path = f"/findings?limit=7&cursor={page['next']}" if page["next"] else ""
    assert len({finding["id"] for finding in seen}) == len(seen) == EVERY
    assert [finding["last_ns"] for finding in seen] == sorted((f["last_ns"] for f in seen), reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [("kind=double_claim", 3), ("severity=critical,high&kind=fork", 2), ("agent=billing", 3), ("q=ACCT:42", 1),
     ("status=retracted", 0), (f"resource={sample.ACCOUNT}", 1), ("since_ns=9000000000000000000", 0)],
)  # fmt: skip
def test_filters(client: TestClient, query: str, count: int) -> None:
    """Each filter narrows the list to what fits."""
    assert len(get(client, f"/findings?{query}")["findings"]) == count


def test_latent_findings_are_ranked_and_apart(client: TestClient) -> None:
    """Asked for by name, the narrowest escape first; never among the manifest ones, nor their issues."""
    page = get(client, "/findings?latent=1&limit=2&status=open")
    rest = get(client, f"/findings?latent=1&limit=500&status=open&cursor={page['next']}")
    latent = page["findings"] + rest["findings"]
    assert [finding["margin_ns"] // 1_000_000 for finding in latent[:3]] == [80, 400, 9_000]
    assert len(latent) == len(sample.LATENT) + 3
    assert {finding["manifest"] for finding in latent} == {False}
    assert [f["id"] for f in get(client, "/findings?latent=1&status=retracted")["findings"]] == [f"{0xAFFF:032x}"]
    assert [f["kind"] for f in get(client, "/findings?latent=1&kind=check_then_act")["findings"]] == ["check_then_act"]
    every = get(client, "/findings?limit=500&latent=0")["findings"]
    assert every == get(client, "/findings?limit=500")["findings"]
    assert {finding["manifest"] for finding in every} == {True}
    ids = {finding["id"] for finding in latent}
    assert not ids & {issue["newest"]["id"] for issue in get(client, "/issues?limit=500")["issues"]}
    assert get(client, f"/findings/{latent[0]['id']}") == latent[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_find_only_themselves(client: TestClient, name: str) -> None:
    """A name that is SQL elsewhere is bound here: it selects the findings that carry it and changes nothing."""
    resource = f"redis://cache:6379/0/{name}"
    found = client.get("/api/v1/findings", params={"resource": resource, "limit": 500})
    if len(resource) > 2_000:
        assert found.status_code == 400
        return
    assert [finding["resource"] for finding in found.json()["findings"]] == [resource]
    accesses = client.get("/api/v1/accesses", params={"resource": resource}).json()["accesses"]
    assert {access["resource"] for access in accesses} == {resource}
    assert len(get(client, "/findings?limit=500")["findings"]) == EVERY


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/findings?limit=0", "whole number from 1 to 500"),
        ("/findings?limit=501", "whole number from 1 to 500"),
        ("/findings?limit=ten", "whole number"),
        ("/findings?limit=-1", "whole number"),
        ("/findings?limit=%D9%A1", "whole number"),
        ("/findings?cursor=nonsense", "cursor is none of ours"),
        ("/findings?cursor=W10", "cursor is none of ours"),
        ("/findings?cursor=W3RydWUsICJ4Il0", "cursor is none of ours"),
        ("/findings?kind=lost_updates", "kind cannot be 'lost_updates'"),
        ("/findings?severity=worst", "one of critical, high, low, medium"),
        ("/findings?severty=high", "there is no parameter 'severty' here"),
        ("/findings?latent=yes", "latent cannot be 'yes'"),
        ("/findings?since_ns=now", "since_ns must be a whole number"),
        ("/findings?since_ns=99999999999999999999", "since_ns must be a whole number"),
        (f"/findings?q={'x' * 2001}", "longer than 2,000"),
        ("/accesses?trace_id=xyz", "32 hexadecimal digits"),
        ("/accesses?op=rewrite", "op cannot be 'rewrite'"),
        ("/issues?state=fine", "state cannot be 'fine'"),
        ("/issues?service=bank", "there is no parameter 'service' here"),
        ("/findings?state=fine", "state cannot be 'fine'"),
        ("/deliveries?outcome=lost", "one of delivered, failed, given_up, under_way"),
        (f"/findings/{BANK}?pretty=1", "those there are: none"),
        (f"/findings/{BANK}/slice?whole=yes", "whole cannot be 'yes'"),
    ],
)
def test_a_mistake_gets_one_sentence(client: TestClient, path: str, words: str) -> None:
    """A parameter that cannot be is 400, and the answer says which and what it may be."""
    assert words in get(client, path, 400)["error"]


@pytest.mark.parametrize(
    "path", ["/findings/none", "/findings/none/slice", "/issues/none", "/nothing", "/findings/a/b"]
)
def test_what_is_not_there_is_404(client: TestClient, path: str) -> None:
    """An unknown id or path is 404 in JSON, not a page."""
    assert set(get(client, path, 404)) == {"error"}


def test_the_api_only_reads(client: TestClient) -> None:
    """Nothing under the API's lists is changed by a POST."""
    assert client.post("/api/v1/findings").status_code == 405


def test_a_slice_is_what_the_diagram_draws(client: TestClient) -> None:
    """Accesses with roles, edges with evidence, and the racing pair."""
    cut = get(client, f"/findings/{BANK}/slice")
    assert [(a["agent"], a["op"], a["role"]) for a in cut["accesses"] if a["role"]] == [
        ("deposit-agent", "read", "reader"), ("withdraw-agent", "read", "stale_read"),
        ("deposit-agent", "write", "victim"), ("withdraw-agent", "write", "overwriter"),
    ]  # fmt: skip
    keys = {f"{a['trace_id']}:{a['span_id']}" for a in cut["accesses"]}
    assert set(cut["race"]) <= keys
    assert all({edge["from"], edge["to"]} <= keys and edge["why"] for edge in cut["edges"])


def test_issues_are_the_contracts(client: TestClient, filled: Any) -> None:
    """An issue has the contract's fields, its worst severity, and its newest finding whole."""
    issues = get(client, "/issues?limit=500")["issues"]
    first = next(issue for issue in issues if issue["newest"]["id"] == BANK)
    assert {"issue", "kind", "title", "state", "severity", "certainty", "count", "first_ns", "last_ns", "resources",
            "agents", "url", "newest"} <= set(first)  # fmt: skip
    assert first["title"] == "lost update on redis://bank:6379/0/acct:* (deposit-agent, withdraw-agent)"
    assert (first["state"], first["url"]) == ("new", f"/finding?id={BANK}")
    assert get(client, f"/issues/{first['issue']}") == first
    claims = next(issue for issue in issues if issue["kind"] == "double_claim")
    assert (claims["count"], claims["severity"]) == (3, "critical")


def test_defended_accesses_count_once(client: TestClient) -> None:
    """An access that was written twice counts once, by the last word on it."""
    answer = get(client, "/defended")
    assert (answer["recorded"], answer["total"]) == (True, 56)
    assert answer["reasons"] == {"atomic": 40, "rejected": 12, "lock": 3, "no_effect": 1}
    by_resource = {row["resource"]: row["reasons"] for row in answer["resources"]}
    assert by_resource[sample.ACCOUNT] == {"atomic": 20, "rejected": 6, "lock": 1, "no_effect": 1}


def test_health_and_resources(client: TestClient) -> None:
    """Processes with how far they are complete; resources with how they are used."""
    health = get(client, "/health")
    auditor = next(process for process in health["processes"] if process["process"] == "p-auditor")
    assert (auditor["ended"], auditor["holes"], auditor["announced"]) == (True, 0, 15)
    assert (health["lost"], health["key_ids"], health["findings"]) == (0, ["k1"], EVERY)
    account = get(client, "/resources?q=acct:42")["resources"][0]
    assert (account["accesses"], account["writes"], account["strands"]) == (5, 2, 3)


def test_deliveries_and_transitions_page(client: TestClient) -> None:
    """Both logs come newest first, page by page."""
    first = get(client, "/deliveries?limit=3")
    rest = get(client, f"/deliveries?limit=3&cursor={first['next']}")
    assert [row["status"] for row in first["deliveries"] + rest["deliveries"]].count(200) == 1
    assert rest["next"] is None
    page = get(client, "/transitions?limit=5")
    assert len(page["transitions"]) == 5
    assert {row["kind"] for row in page["transitions"]} == {"issue.opened", "route.added"}


def test_accesses_of_several_operations(client: TestClient) -> None:
    """Every operation that is asked for is there, not the first alone."""
    both = get(client, f"/accesses?limit=500&resource={sample.ACCOUNT}&op=read,write")["accesses"]
    assert sorted(access["op"] for access in both) == ["read", "read", "read", "write", "write"]
    assert both == get(client, f"/accesses?limit=500&resource={sample.ACCOUNT}&op=read&op=write")["accesses"]


@pytest.mark.parametrize(
    ("query", "attempts"),
    [("", 5), ("route=ops", 0), ("route=https://hooks.example/ops", 4), ("outcome=delivered", 1), ("outcome=failed", 1),
     ("outcome=given_up", 1), ("outcome=under_way,delivered", 3), ("message=msg_dead", 1), ("issue=none", 0)],
)  # fmt: skip
def test_deliveries_by_what_became_of_them(client: TestClient, query: str, attempts: int) -> None:
    """By route, outcome, message and issue."""
    assert len(get(client, f"/deliveries?{query}")["deliveries"]) == attempts


def test_deliveries_of_an_issue(client: TestClient) -> None:
    """All attempts to tell of it, and no others."""
    issue = get(client, f"/findings/{BANK}")["issue"]
    told = [row["transition"] for row in get(client, f"/deliveries?issue={issue}")["deliveries"]]
    assert len(told) >= 4
    assert set(told) <= {row["id"] for row in get(client, f"/transitions?issue={issue}&limit=500")["transitions"]}


@pytest.mark.parametrize(
    "path", ["/findings", "/findings/x", "/issues", "/resources", "/health", "/defended", "/accesses"]
)
def test_a_store_that_is_away_is_503(away: TestClient, path: str) -> None:
    """The client is told to come again, and nothing of the store's address."""
    answer = away.get(f"/api/v1{path}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "secret-host" not in answer.text


def test_without_the_table_nothing_is_known_of_guards(filled: Any) -> None:
    """A store from before the analyzer counted defended accesses is shown without them."""

    class Older:
        """The filled store, but for that table."""

        def dicts(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
            return [{"result": 0}] if sql.startswith("EXISTS") else filled.dicts(sql, parameters)

    assert Queries(Older()).defended() is None


@pytest.mark.parametrize(
    ("rows", "minutes"), [([3_000_000], 1_440), ([9_000_000, 3_000_000], 60), ([9_000_000] * 2, 10)]
)
def test_the_window_shrinks_with_the_load(rows: list[int], minutes: int) -> None:
    """Accesses are counted over a day, an hour or ten minutes: never more of them than a page can wait for."""

    class Busy:
        """A store with so many rows in each window."""

        def dicts(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
            return [] if "system.parts" in sql else [{"rows": rows.pop(0)}]

    assert Queries(Busy()).window_min() == minutes
    assert not rows
