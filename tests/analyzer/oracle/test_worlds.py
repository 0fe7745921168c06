"""The worlds oracle: what the analyzer is certain of is so in the world that really was."""

import pytest
from hypothesis import HealthCheck, given, settings
from oracle.length import AT_LENGTH
from oracle.strategies import complete_plans, plans
from oracle.truth import TRUE, either
from oracle.world import NUMBERS, Plan, World

from noclobber_analyzer.evaluate import evaluate

ANCHOR = {"dirty_read": "dirty_read", "stale_write": "stale_write", "double_claim": "claim"}
PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def untrue(plan: Plan, *grades: str) -> list[str]:
    """Findings of these grades that are not so, as sentences."""
    world = World(plan)
    said: list[str] = []
    if plan.kind in NUMBERS and world.unseen_deletion:
        return said  # the contract takes the numbers' word that there was one life
    for finding in evaluate(world.history()).findings:
        if finding.certainty not in grades or finding.kind not in TRUE:
            continue
        role = ANCHOR.get(finding.kind)
        span = [a.span_id for a in finding.accesses if role is None or a.role == role][-1]
        claim = TRUE[finding.kind]
        if finding.kind == "lost_update" and finding.accesses[-1].role == "either":
            claim = either
        if not claim(world, world.of(span)):
            said.append(f"{finding.kind} {finding.certainty} at {span[-2:]}: {finding.explanation}")
    return said


@given(plans())
@settings(max_examples=2000, **PACE)
def test_certain_is_true(plan: Plan) -> None:
    """Whatever is lost, unnamed, unknown or told by clocks that do not compare: `certain` is never wrong."""
    assert not untrue(plan, "certain")


@given(complete_plans())
@settings(max_examples=1500, **PACE)
def test_likely_is_true_where_all_is_known(plan: Plan) -> None:
    """With everything on record and on one clock, `likely` is not wrong either."""
    assert not untrue(plan, "certain", "likely")


@pytest.mark.long
@given(plans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_certain_is_true_at_length(plan: Plan) -> None:
    """The same, for long."""
    assert not untrue(plan, "certain")


@pytest.mark.long
@given(complete_plans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_likely_is_true_at_length(plan: Plan) -> None:
    """The same, for long."""
    assert not untrue(plan, "certain", "likely")
