"""A finding's form, name, grouping and severity."""

import json

import pytest

from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.finding import (
    AccessRef,
    Advice,
    Edge,
    Finding,
    agent_role,
    finding_id,
    resource_pattern,
    severity,
)

CONTRACT_FIELDS = [
    "id", "issue", "kind", "also", "certainty", "severity", "manifest", "margin_ns", "resource", "agents", "first_ns",
    "last_ns", "accesses", "edges", "explanation", "advice", "missing", "affected", "status", "revision", "contract",
]  # fmt: skip


def a_finding() -> Finding:
    ref = AccessRef("t", "s", "redis://h/0/k", "planner", "p-1", "write", "overwriter", None, "a", "b", 1, 2, "x.py:3")
    return Finding(
        id="1",
        issue="2",
        kind=Kind.LOST_UPDATE,
        also=(Kind.STALE_WRITE,),
        certainty=Certainty.LIKELY,
        severity=Severity.HIGH,
        resource="redis://h/0/k",
        agents=("planner",),
        first_ns=1,
        last_ns=2,
        accesses=(ref,),
        edges=(Edge("s", "s2", "ww", "it replaced it"),),
        explanation="gone",
        advice=Advice("use WATCH", "..."),
        missing=("more",),
    )


def test_json_has_the_contracts_fields_and_comes_back_equal() -> None:
    """What is written names every field of contract 3, edges say `from` and `to`, and reading it gives the same."""
    text = a_finding().to_json()
    assert list(json.loads(text)) == CONTRACT_FIELDS
    assert json.loads(text)["edges"][0] == {"from": "s", "to": "s2", "type": "ww", "why": "it replaced it"}
    assert Finding.from_json(text) == a_finding()


def test_the_id_depends_on_kind_resource_and_anchors_in_any_order() -> None:
    """Anchors in another order give the same id; another kind or anchor gives another."""
    one = finding_id(Kind.FORK, "r", ["b", "a"])
    assert one == finding_id(Kind.FORK, "r", ["a", "b"])
    assert len({one, finding_id(Kind.FORK, "r", ["a"]), finding_id(Kind.LOST_UPDATE, "r", ["a", "b"])}) == 3


@pytest.mark.parametrize(
    ("resource", "pattern"),
    [
        ("redis://127.0.0.1:6379/0/acct:42", "redis://127.0.0.1:6379/0/acct:*"),
        ("postgresql://db/bank/jobs/id=9", "postgresql://db/bank/jobs/id=*"),
        ("langgraph://store/users/u1/profile", "langgraph://store/users/u1/profile"),
        ("s3://b/550e8400-e29b-41d4-a716-446655440000.json", "s3://b/*.json"),
        ("mem://9f86d081884c7d65/plan/today", "mem://*/plan/today"),
        ("redis://127.0.0.1:40113/0/plan", "redis://127.0.0.1:*/0/plan"),
        ("redis://127.0.0.1:6380/0/plan", "redis://127.0.0.1:6380/0/plan"),
        ("redis://10.0.0.7:6379/0/plan", "redis://10.0.0.7:6379/0/plan"),
        ("strand://s2-a0aeb4e5", "strand://*"),
    ],
)
def test_ids_inside_a_resource_become_placeholders(resource: str, pattern: str) -> None:
    """Numbers and hashes in the path go, and what a start gives by chance; names stay, with the ports people chose."""
    assert resource_pattern(resource) == pattern


def test_a_role_is_the_name_without_the_instance() -> None:
    """`worker-3` and `worker-12` are one role; a name that is only a name stays."""
    assert agent_role("worker-3") == agent_role("worker-12") == "worker"
    assert agent_role("withdraw-agent") == "withdraw-agent"


@pytest.mark.parametrize(
    ("kind", "certainty", "manifest", "expected"),
    [
        (Kind.LOST_UPDATE, Certainty.CERTAIN, True, Severity.HIGH),
        (Kind.LOST_UPDATE, Certainty.LIKELY, True, Severity.HIGH),
        (Kind.LOST_UPDATE, Certainty.POSSIBLE, True, Severity.MEDIUM),
        (Kind.LOST_UPDATE, Certainty.LIKELY, False, Severity.LOW),
        (Kind.BLIND_OVERWRITE, Certainty.POSSIBLE, True, Severity.LOW),
    ],
)
def test_severity_follows_the_table(kind: Kind, certainty: Certainty, manifest: bool, expected: Severity) -> None:
    """Damage times certainty times manifest, cut at 6, 3.5 and 1.5."""
    assert severity(kind, certainty, manifest=manifest) is expected


def test_an_effect_that_came_of_it_raises_severity() -> None:
    """A certain lost update that led to a payment is critical."""
    assert severity(Kind.LOST_UPDATE, Certainty.CERTAIN, effect_affected=True) is Severity.CRITICAL
