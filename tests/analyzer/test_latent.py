"""Latent races: what luck kept apart is told when asked for, with its margin; what was made to wait is not."""

import pytest

from noclobber.contract import Guard
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from story import STEP_NS, Story

APART = "Arx1 Awx2<1 Brx2 Bwx3<2"


def _latent(text: str, **told_with: object) -> list[Finding]:
    history = Story(**told_with).history(text)  # type: ignore[arg-type]  # the tests name real fields
    return [finding for finding in evaluate(history, latent=True).findings if not finding.manifest]


@pytest.mark.parametrize(
    ("story", "found"),
    [
        pytest.param(APART, 1, id="one after the other, and nothing made it so"),
        pytest.param("Arx1 Awx2<1 Bm Brx2 Bm Bwx3<2", 1, id="with model calls"),
        pytest.param("Arx1 Awx2<1 A*B Brx2 Bwx3<2", 0, id="the second was started after the first"),
        pytest.param("Arx1 Awx2<1 As7 Bg7 Brx2 Bwx3<2", 0, id="the second waited for a message"),
        pytest.param("Al7 Arx1 Awx2<1 An7 Bl8 Brx2 Bwx3<2 Bn8", 0, id="under one lock"),
        pytest.param("Arx1 Awx2<1 Brx2", 0, id="the second only read"),
        pytest.param("Arx1 Awx2<1 Bux3", 0, id="the second let the store add"),
        pytest.param("Arx1 Awx2<1 Arx2 Awx3<2", 0, id="one strand"),
        pytest.param("Arx1 Awx2<1 Bry1 Bwy2<1", 0, id="two resources"),
        pytest.param("Arx1 Awx2<1 | | | | | | | Brx2 Bwx3<2", 0, id="a minute apart is no luck"),
        pytest.param("Arx1 Brx1 Awx2<1^1 Bwx3<1^2", 0, id="it happened: manifest"),
    ],
)
def test_lost_update(story: str, found: int) -> None:
    """Two read-modify-writes that nothing ordered are a latent lost update."""
    assert len(_latent(story)) == found


def test_what_it_says() -> None:
    """It is likely at most, of less severity than the real one, and says how close it was."""
    (finding,) = _latent(APART)
    assert (str(finding.kind), str(finding.certainty), finding.margin_ns) == ("lost_update", "likely", STEP_NS // 2)
    assert finding.affected.accesses == ()
    assert finding.severity.rank <= 1
    assert "only 500 µs after" in finding.explanation
    assert evaluate(Story().history(APART)).findings == []


def test_guards() -> None:
    """A store that compares the base leaves nothing to luck."""
    assert _latent(APART, guard=Guard.VERSION) == []
    assert _latent(APART, guard=Guard.LOCK) == []


def test_less_is_known() -> None:
    """Lost spans may have been a wait; clocks that do not compare tell no margin."""
    assert [str(f.certainty) for f in _latent("Arx1 Awx2<1 Bm Brx2 Bwx3<2", lost=(2,))] == ["possible"]
    assert _latent(APART, clocks="apart") == []


def test_narrowest_of_an_issue() -> None:
    """Of one issue and day the narrowest escape is told; the others are counted."""
    story = "Arx1 Awx2<1 | Brx2 Bwx3<2 Crx3 Cwx4<3"
    history = Story(agents={"A": "worker-1", "B": "worker-2", "C": "worker-3"}).history(story)
    evaluation = evaluate(history, latent=True)
    assert [finding.margin_ns for finding in evaluation.findings] == [STEP_NS // 2]
    assert any(text.startswith("1 more conflict") for text in evaluation.unknown)


@pytest.mark.parametrize(
    ("story", "found"),
    [
        pytest.param("Alx1 Aly1 Any Anx Bly2 Blx2 Bnx Bny", ["deadlock"], id="two orders"),
        pytest.param("Alx1 Aly1 Any Anx Blx2 Bly2 Bny Bnx", [], id="one order"),
        pytest.param("Alz1 Alx1 Aly1 Any Anx Anz Blz2 Bly2 Blx2 Bnx Bny Bnz", [], id="another lock around both"),
        pytest.param("Alx1 Aly1 Any Anx A*B Bly2 Blx2 Bnx Bny", [], id="the second was started after the first"),
        pytest.param("Alx1 Aly1 Any Anx Aly2 Alx2 Anx Any", [], id="one strand"),
    ],
)
def test_inverted_locks(story: str, found: list[str]) -> None:
    """Two locks that are taken in both orders are a deadlock in waiting, whatever order their tokens show."""
    assert [str(finding.kind) for finding in _latent(story)] == found
