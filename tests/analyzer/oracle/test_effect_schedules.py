"""Differential tests against the models of the world outside: what was done twice, too late, or on an old look.

In both directions: each certain finding is so, and of what is so all is found where the record tells it.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.effects_model import Called, Decisions, Looks, Outside
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
from oracle.programs import calls, decisions, firm_lines, looks

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import evaluate

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CERTAIN, LIKELY = Certainty.CERTAIN, Certainty.LIKELY


def _is_told(world: Outside, called: Called) -> bool:
    """Whether a call says that it repeats one that went well, and went well itself."""
    again = called.again
    return world.linked and again is not None and again.answered and again.happened and called.answered


def _check_outside(world: Outside, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    twice = world.twice()
    certain = told(findings, CERTAIN, "duplicate_effect", "repeated")
    assert certain <= anchors(c.call for c in twice)
    if exact:
        assert certain == anchors(c.call for c in twice if _is_told(world, c))
        likely = told(findings, LIKELY, "duplicate_effect", "repeated")
        assert anchors(c.call for c in twice if c.answered) <= likely
        assert likely <= anchors(c.call for c in world.calls if _may_be_again(world, c))
    return counted(twice=twice, certain=certain)


def _may_be_again(world: Outside, called: Called) -> bool:
    """Whether an earlier call of the line for the same, or for what looks the same, may have happened."""
    earlier = (c for c in world.calls[: world.calls.index(called)] if c.line == called.line)
    return any((c.happened or not c.answered) and (c.wish == called.wish or not world.apart) for c in earlier)


@given(calls, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=800, **PACE)
def test_outside(program: list[Thing], keyed: bool, linked: bool, apart: bool) -> None:
    """Calls that were repeated: certain exactly where the repetition says so and both went well."""
    _check_outside(Outside(program, keyed=keyed, linked=linked, apart=apart), exact=True)


@given(calls.flatmap(loosely), st.booleans(), st.booleans())
@settings(max_examples=300, **PACE)
def test_outside_of_calls_that_overlap(program: list[Thing], keyed: bool, apart: bool) -> None:
    """The same where calls overlap: nothing is certain that is not so."""
    _check_outside(Outside(program, keyed=keyed, apart=apart), exact=False)


def _check_looks(world: Looks, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    outdated = [act for act in world.acts if act.outdated]
    certain = told(findings, CERTAIN, "check_then_act", "act")
    likely = told(findings, LIKELY, "check_then_act", "act")
    assert certain <= anchors(act.call for act in outdated if act.line in world.firm)
    assert likely <= anchors(act.call for act in outdated)
    if exact:
        assert certain == anchors(act.call for act in outdated if act.line in world.firm and act.looks == 1)
        assert likely == anchors(act.call for act in outdated if act.looks == 1)
        assert anchors(act.call for act in outdated) <= named(findings, Certainty.POSSIBLE, "check_then_act")
    return counted(outdated=outdated, certain=certain)


@given(looks, firm_lines)
@settings(max_examples=1000, **PACE)
def test_looks(program: list[Thing], firm: frozenset[int]) -> None:
    """Acts that rest on what another has changed since: certain exactly where a transaction holds both together."""
    _check_looks(Looks(program, firm=firm), exact=True)


@given(looks.flatmap(loosely), firm_lines)
@settings(max_examples=400, **PACE)
def test_looks_of_calls_that_overlap(program: list[Thing], firm: frozenset[int]) -> None:
    """The same where calls overlap: nothing is certain that is not so."""
    _check_looks(Looks(program, firm=firm), exact=False)


def _check_decisions(world: Decisions, *, exact: bool) -> Counted:
    findings = evaluate(world.history()).findings
    assert not told(findings, CERTAIN, "out_of_order")
    likely = told(findings, LIKELY, "out_of_order", "applied")
    assert likely <= anchors(world.late)
    assert likely == anchors(world.late) or not exact
    return counted(late=world.late)


@given(decisions)
@settings(max_examples=500, **PACE)
def test_decisions(program: list[Thing]) -> None:
    """What was carried out after a later decision: likely exactly where it was so; nobody knows that it mattered."""
    _check_decisions(Decisions(program), exact=True)


@given(decisions.flatmap(loosely))
@settings(max_examples=300, **PACE)
def test_decisions_of_calls_that_overlap(program: list[Thing]) -> None:
    """The same where calls overlap: nothing is told that is not so."""
    _check_decisions(Decisions(program), exact=False)


# All orders of small programs


def test_all_orders_of_calling() -> None:
    """Two and three who call and call again, with all that can become of a call."""
    so = Counted()
    for keyed in (False, True):
        for end in ("ok", "lost", "never", "failed"):
            programs = [steps(0, f"call {end}", "repeat ok"), steps(1, "call ok", f"repeat {end}"), steps(2, "call ok")]
            so += in_all_orders(
                programs, [], lambda o, keyed=keyed: _check_outside(Outside(o, keyed=keyed), exact=True)
            )
    assert all(0 < so[kind] < so["all"] for kind in ("twice", "certain"))


def test_all_orders_of_looking() -> None:
    """Who looks and acts, and two who change what was looked at; with and without a transaction."""
    so = Counted()
    for firm in (frozenset[int](), frozenset({0}), frozenset({0, 1})):
        for other in (("look x", "act x"), ("change x", "act x"), ("change y", "change x")):
            programs = [steps(0, "look x", "act x"), steps(1, *other), steps(2, "look x", "change x")]
            so += in_all_orders(programs, [], lambda o, firm=firm: _check_looks(Looks(o, firm=firm), exact=True))
    assert all(0 < so[kind] < so["all"] for kind in ("outdated", "certain"))


def test_all_orders_of_carrying_out() -> None:
    """Three decisions, and three who carry them out, in all orders."""
    programs = [steps(0, "decide 1", "decide 2", "decide 3"), steps(1, "carry"), steps(2, "carry"), steps(3, "carry")]
    so = in_all_orders(programs, [], lambda order: _check_decisions(Decisions(order), exact=True))
    assert 0 < so["late"] < so["all"]


# For long


@pytest.mark.long
@given(calls, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=AT_LENGTH, **PACE)
def test_outside_at_length(program: list[Thing], keyed: bool, linked: bool, apart: bool) -> None:
    """Calls, for long."""
    _check_outside(Outside(program, keyed=keyed, linked=linked, apart=apart), exact=True)


@pytest.mark.long
@given(looks, firm_lines)
@settings(max_examples=AT_LENGTH, **PACE)
def test_looks_at_length(program: list[Thing], firm: frozenset[int]) -> None:
    """Looks, for long."""
    _check_looks(Looks(program, firm=firm), exact=True)


@pytest.mark.long
@given(calls.flatmap(loosely), looks.flatmap(loosely), decisions.flatmap(loosely), firm_lines)
@settings(max_examples=AT_LENGTH, **PACE)
def test_calls_that_overlap_at_length(
    called: list[Thing], looked: list[Thing], decided: list[Thing], firm: frozenset[int]
) -> None:
    """All three where calls overlap, for long."""
    _check_outside(Outside(called), exact=False)
    _check_looks(Looks(looked, firm=firm), exact=False)
    _check_decisions(Decisions(decided), exact=False)
