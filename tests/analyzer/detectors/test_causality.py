"""Causality across machines: what a reader could know, and still did not see."""

import pytest

from noclobber.contract import VersionKind
from noclobber_analyzer.detectors import causality
from story import judge

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT
CAUSAL = {"causal_violation", "writes_follow_reads"}


def _told(story: str, **told_with: object) -> list[str]:
    found = [f for f in judge(story, clocks="apart", step=False, **told_with).findings if f.kind in CAUSAL]
    return [f"{finding.kind} {finding.certainty}" for finding in found]


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Awx1 Awx2<1 As9 Bg9 Brx1", COUNTER, "causal_violation certain", id="it had been told"),
        pytest.param("Cwx1 Awx2<1 Awy1 Bry1 Brx1", COUNTER, "causal_violation certain", id="it had read its sequel"),
        pytest.param("Cwx1 Awx2<1 Awy1 Bry1 Brx1", PRINT, "causal_violation likely", id="by prints"),
        pytest.param("Cwx1 Crx1 Arx1 Awx2 Awy1 Bry1 Brx1", PRINT, "causal_violation likely", id="by knowledge alone"),
        pytest.param("Awx1 Awx2<1 Brx1", COUNTER, None, id="nothing told it"),
        pytest.param("Awx1 Awx2<1 As9 Brx1 Bg9", COUNTER, None, id="it was told later"),
        pytest.param("Awx1 As9 Awx2<1 Bg9 Brx1", COUNTER, None, id="it was told of what came before"),
        pytest.param("Awx1 Awx2<1 As9 Bg9 Brx2", COUNTER, None, id="it saw it"),
        pytest.param(
            "Awx1 Awx2<1 Crx2 Cwy1 Bry1 Brx1", COUNTER, "writes_follow_reads certain", id="a sequel before its reason"
        ),
        pytest.param("Crx1 Cwy1 Awx2<1 Bry1 Brx1", COUNTER, None, id="a consequence of the older one"),
    ],
)  # fmt: skip
def test_causality(story: str, kind: VersionKind, expected: str | None) -> None:
    """Each read against what its reader could know is one finding."""
    assert _told(story, kind=kind) == ([expected] if expected else [])


def test_an_effect_before_its_cause() -> None:
    """Each of two read what the other wrote only after it had read what this one wrote."""
    assert _told("Arx7 Awy7 Bry7 Bwx7", kind=CHAIN) == ["causal_violation certain", "causal_violation certain"]
    assert not _told("Bwx7 Arx7 Awy7 Bry7", kind=CHAIN)


def test_the_limit_of_all_searches_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not searched to the end is named."""
    monkeypatch.setattr(causality, "STEPS_MAX", 0)
    judged = judge("Awx1 Awx2<1 As9 Bg9 Brx1 Brx1 Brx1", kind=COUNTER, clocks="apart")
    assert any("searched in part" in text for text in judged.unknown)


def test_large_histories_are_searched_where_they_look_suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """The read that looks out of order is still found."""
    monkeypatch.setattr(causality, "WHOLE_MAX", 0)
    assert _told("Awx1 Awx2<1 As9 Bg9 Brx1", kind=COUNTER) == ["causal_violation certain"]


@pytest.mark.parametrize(
    ("story", "lost", "expected"),
    [
        pytest.param("Cwx1 Brx2 Bwy1 Ary1 Awx2<1", (), "causal_violation certain", id="each before its cause"),
        pytest.param("Cwx1 A[ Awx2<1 Brx2 Bwy1 A} Ary1 Awx2<1", (), None, id="the number was used again"),
        pytest.param("Cwx1 A[ Awx2<1 Brx2 Bwy1 A} Ary1 Awx2<1", (2,), "causal_violation possible", id="one is lost"),
    ],
)
def test_a_number_used_twice(story: str, lost: tuple[int, ...], expected: str | None) -> None:
    """Who read a number that was taken back and used again did not read what was made later."""
    assert _told(story, kind=COUNTER, lost=lost) == ([expected] * 2 if expected else [])
