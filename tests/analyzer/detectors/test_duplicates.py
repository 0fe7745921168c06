"""Duplicate deliveries and effects: both must have applied it, and nothing may have told the repetition."""

import pytest

from noclobber.contract import Guard
from noclobber_analyzer.access import Access
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.history import HistoryBuilder
from story import Story, judge, told


def _only(of: str, story: str, **told_with: object) -> list[str]:
    return [line.split()[1] for line in told(story, **told_with) if line.startswith(of)]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("As7 Bg7 Bux2 Bg7^2 Bux3 Bk7", ["certain"], id="handed out again and applied again"),
        pytest.param("As7 Bg7 Bux2 Bj7 Cg7^2 Cux3 Ck7", ["certain"], id="given back after it was applied"),
        pytest.param("As7 Bg7 Bux2 Bg7 Bux3", ["likely"], id="the same receiver again, no delivery number"),
        pytest.param("As7 Bg7 Bux2 Bg8 Bux3", [], id="another message"),
        pytest.param("As7 As7 Bg7 Bux2 Bg7 Bux3", [], id="it was sent twice"),
        pytest.param("As7 Bg7 Bj7 Cg7^2 Cux3", [], id="given back before anything was done"),
        pytest.param("As7 Bg7 Bux2 Bg7^2 Bux3!no_effect", [], id="the second found nothing to do"),
        pytest.param("As7 Bg7 Bux2 Bg7^2 Bux3!rejected", [], id="the second was refused"),
        pytest.param("As7 Bg7 Bux2!error Bg7^2 Bux3", [], id="the first had failed"),
        pytest.param("As7 Bg7 Bwx2<1 Bg7^2 Bwx2<2", [], id="it wrote what was there: idempotent"),
        pytest.param("As7 Bg7 Bux2!unknown Bg7^2 Bux3", ["possible"], id="perhaps the first was never applied"),
        pytest.param("As7 Bg7 Bk7 Bg7^2 Bk7", ["possible"], id="only acknowledgements were captured"),
        pytest.param("As7 Bg7^2 Bux3", ["possible"], id="the first delivery was not captured"),
        pytest.param("As7 Bg7^2", [], id="handed out again, nothing done"),
        pytest.param("As7 Bg7 Bfh Bg7^2 Bfh", ["certain"], id="an effect, twice"),
        pytest.param("As7 Bg7 Bfh<k Bg7^2 Bfh<k", [], id="an effect under one key"),
        pytest.param("As7 B[ Bg7 Bux2 B} Bg7^2 Bux3", [], id="the first transaction was rolled back"),
    ],
)
def test_duplicate_delivery(story: str, expected: list[str]) -> None:
    """A message that was handed out again is a finding if both handlings applied it, and only then."""
    assert _only("duplicate_delivery", story) == expected


def test_groups_and_guards() -> None:
    """Without a group of a system that has some nobody knows; a guard that compares tells the repetition."""
    assert _only("duplicate_delivery", "Bg7 Bux2 Bg7 Bux3", system="kafka") == ["possible"]
    assert _only("duplicate_delivery", "Bg7 Bux2 Bg7 Bux3", system="kafka", group="g") == ["likely"]
    assert _only("duplicate_delivery", "Bg7 Biy2 Bg7^2 Biy3", guard=Guard.UNIQUE) == []


def test_delivery_covers_its_effects() -> None:
    """The effect that the second handling repeats is the same bug: it goes to `also`."""
    findings = judge("As7 Bg7 Bfh Bg7^2 Bfh").findings
    assert [(str(f.kind), [str(k) for k in f.also]) for f in findings] == [("duplicate_delivery", ["duplicate_effect"])]
    assert "handed out twice" in findings[0].explanation


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Afh Afh", ["likely"], id="twice in one run"),
        pytest.param("Afh!unknown Afh", ["likely"], id="the first was never answered"),
        pytest.param("Afh Afh!unknown", ["possible"], id="perhaps the second never was"),
        pytest.param("Afh!error Afh", [], id="the first had failed"),
        pytest.param("Afh Afi", [], id="other arguments"),
        pytest.param("Afh<k Afh<k", [], id="one key"),
        pytest.param("Afh<k Afh<l", ["likely"], id="a new key each time"),
        pytest.param("Afh Afh<k", ["likely"], id="only the second has a key"),
        pytest.param("Afh Bfh", ["possible"], id="two runs"),
        pytest.param("Afh!unknown Bfh", ["possible"], id="two runs, the first not answered"),
        pytest.param("Afh Afh Afh", ["likely", "likely"], id="three times"),
    ],
)
def test_duplicate_effect(story: str, expected: list[str]) -> None:
    """An effect that is repeated without one key for both is a finding; in two runs a possibility."""
    assert _only("duplicate_effect", story) == expected


def test_retry_link_is_proof() -> None:
    """A span link that says that the second call repeats the first makes it certain."""
    first, second = Story().accesses("Afh Bfh")
    second.links = ((first.trace_id, first.span_id, "retry"),)
    assert _judged(first, second) == [("duplicate_effect", "certain")]


def test_what_had_failed_is_rightly_called_again() -> None:
    """A repetition that says so is none where the first call had failed, and proves nothing where nobody answered."""
    for outcome, expected in (("error", []), ("rejected", []), ("unknown", [("duplicate_effect", "likely")])):
        first, second = Story().accesses(f"Afh!{outcome} Bfh")
        second.links = ((first.trace_id, first.span_id, "retry"),)
        assert _judged(first, second) == expected


def test_two_messages_ask_for_two() -> None:
    """One worker's run that does the same for two messages does it once for each."""
    first, second = Story().accesses("Afh Afh")
    one, other = Story().accesses("As1 As2")
    first.message, second.message = one.message, other.message
    assert _judged(first, second) == []


def test_one_key_is_defended() -> None:
    """What was repeated under one key is counted as deduplicated."""
    assert [str(each.reason) for each in judge("Afh<k Afh<k").defended] == ["deduplicated"]


def _judged(*accesses: Access) -> list[tuple[str, str]]:
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(access, access.name)
    return [(str(f.kind), str(f.certainty)) for f in evaluate(builder.finish(ended=True)).findings]
