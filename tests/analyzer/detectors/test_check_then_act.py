"""Checks that were overtaken before the act, and acts that checked again or rested on nothing of the kind."""

import pytest

from noclobber.contract import Guard, VersionKind
from story import judge, told

COUNTER, CHAIN = VersionKind.COUNTER, VersionKind.CHAIN


def _only(of: str, story: str, **told_with: object) -> list[str]:
    return [line.split()[1] for line in told(story, **told_with) if line.startswith(of)]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Arx1 Bwx2<1 Afh", ["likely"], id="an effect after the check was overtaken"),
        pytest.param("Arx1 Bwx2<1 As7", ["likely"], id="a send"),
        pytest.param("Arx1 Bwx2<1 Aiy2", ["likely"], id="an insert elsewhere"),
        pytest.param("Arx1 Afh Bwx2<1", [], id="the act came first"),
        pytest.param("Bwx2<1 Arx2 Afh", [], id="it had seen the newer state"),
        pytest.param("Arx1 Bwx2<1 Arx2 Afh", [], id="it checked again"),
        pytest.param("Arx1 Bwx2<1!rejected Afh", [], id="the other write was refused"),
        pytest.param("Arx1 Bwx1<1 Afh", [], id="the other wrote what was there"),
        pytest.param("Arx1 Bwx2<1 Afh!error", [], id="the act failed"),
        pytest.param("Arx1 Bwx2<1 Afh!unknown", ["possible"], id="perhaps the act never took place"),
        pytest.param("Arx1 Ary1 Bwx2<1 Afh", ["possible"], id="it had read another thing, too"),
        pytest.param("Arx1 Awx2<1!rejected Bwx3<1 Afh", [], id="a refusal begins anew"),
        pytest.param("Arx1 (Bwx2<1 Afh)", [], id="the two overlap"),
        pytest.param("Aq Bq Biy1 Aiz2", ["possible"], id="both found nothing, both inserted; perhaps other things"),
        pytest.param("Aq Biy1 Bq Aiz2", ["possible"], id="it entered after the scan"),
        pytest.param("Biy1 Aq Aiz2", [], id="it was there before the scan"),
        pytest.param("Aqy1 Biy1 Aiz2", [], id="the scan had found it"),
        pytest.param("Aq Bq Biy5 Aiz5", ["likely"], id="both inserted the same content"),
    ],
)
def test_check_then_act(story: str, expected: list[str]) -> None:
    """An act is a finding if a foreign applied write lies between its check and itself."""
    assert _only("check_then_act", story) == expected


def test_one_check_lets_two_in() -> None:
    """Both found nothing and both inserted what the predicate asks for: write skew is the earlier name of it."""
    story = "Aq Bq Biy1 Aiz2"
    (finding,) = judge(story, predicates=("predicate",)).findings
    assert (str(finding.kind), str(finding.certainty)) == ("write_skew", "likely")
    assert "check_then_act" in finding.also
    assert _only("check_then_act", "Aq Biy1 Afh", predicates=("predicate",)) == ["likely"]
    assert _only("check_then_act", story, predicates=("another",)) == ["possible"]
    assert _only("check_then_act", "Aq Biy1 Aiz2", predicates=("predicate",), guard=Guard.UNIQUE) == []


def test_transaction_proves_it() -> None:
    """In one transaction versions prove it; a bare strand holds nothing together."""
    story = "A[ Arx1 Bwx2<1 As7 A]"
    assert _only("check_then_act", story, kind=COUNTER) == ["certain"]
    assert _only("check_then_act", story) == ["likely"]
    assert _only("check_then_act", "Arx1 Bwx2<1 Afh", step=False) == []


def test_own_write_is_another_kind() -> None:
    """Who writes what it had checked is judged by that write."""
    assert told("Arx1 Brx1 Awx2<1^1 Afh Bwx3<1^2 Bfi") == ["lost_update certain x A>B"]


def test_sentence() -> None:
    """It says what was checked, when, and who changed it."""
    (finding,) = judge("Arx1 Bwx2<1 Afh").findings
    assert finding.explanation == (
        "`A` called `send` 2 ms after it had looked at `x`, but `B` had changed it in between. "
        "What it had checked no longer held."
    )


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Aax1 Bax2 Aax3 Bax4", COUNTER, ["certain"], id="alternating, by number"),
        pytest.param("Aax1^0 Bax2^1 Aax3^2 Bax4^3", CHAIN, ["certain"], id="alternating, by chain"),
        pytest.param("Aax1 Bax2 Aax3 Bax4", VersionKind.FINGERPRINT, ["likely"], id="alternating, by the clock"),
        pytest.param("Aax1 Bax2 Bax3 Aax4", COUNTER, ["likely"], id="one piece inside the other"),
        pytest.param("Aax1 Aax2 Bax3 Bax4", COUNTER, [], id="one after the other"),
        pytest.param("Aax1 Bax2 Aax3", COUNTER, [], id="one append is no piece"),
        pytest.param("Aax1 Bax2!error Aax3 Bax4", COUNTER, [], id="what failed is not there"),
        pytest.param("Aax1<0 Brx1 Bax2<1 Arx2 Aax3<2 Brx3 Bax4<3", COUNTER, [], id="taking turns"),
        pytest.param("Aax1 Bay2 Aax3 Bay4", COUNTER, [], id="two resources"),
        pytest.param("Alx Blx Aax1 Bax2 Aax3 Bax4", COUNTER, [], id="under one lock"),
    ],
)
def test_interleaved_writes(story: str, kind: VersionKind, expected: list[str]) -> None:
    """Appends of two units that alternate unseen are a finding."""
    assert _only("interleaved_writes", story, kind=kind) == expected


def test_interleaved_bare_strands() -> None:
    """Without a unit nobody knows what was meant as one piece."""
    assert _only("interleaved_writes", "Aax1 Bax2 Aax3 Bax4", kind=COUNTER, step=False) == ["possible"]


def test_interleaved_and_stale() -> None:
    """Appends that were decided from an old state are the earlier kind."""
    findings = judge("Arx1 Brx1 Aax2<1^1 Bax3<1^2 Aax4<2^3 Bax5<3^4", kind=COUNTER).findings
    assert {str(finding.kind) for finding in findings} == {"stale_write"}
    assert any("interleaved_writes" in finding.also for finding in findings)
