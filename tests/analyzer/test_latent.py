"""Latent races: what luck kept apart is told when asked for, with its margin; what was made to wait is not."""

import pytest

from noclobber.contract import Guard
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.latent.ranking import luck
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


QUOTA = "Arx1 Afpay Aux2 Brx2 Bfmail Bux3"


@pytest.mark.parametrize(
    ("story", "found"),
    [
        pytest.param(QUOTA, ["likely"], id="both checked a budget, spent, and added what they had spent"),
        pytest.param("Arx1 Aux2 Afpay Brx2 Bux3 Bfmail", ["likely"], id="reserved first"),
        pytest.param("Aq Aiy1 Bqy1 Biz1", ["likely"], id="both looked for it and inserted"),
        pytest.param("Arx1 Ary1 Afpay Aux2 Brx2 Bry1 Bfmail Bux3", ["likely"], id="one thing of two was changed"),
        pytest.param("Arx1 Afpay Aux2 Brx2 Bux3", [], id="the second did nothing because of it"),
        pytest.param("Arx1 Afpay Aux2 Brx2 Bfmail", [], id="the second changes nothing that others check"),
        pytest.param("Arx1 Afpay Aux2 Bry2 Bfmail Buy3", [], id="two things"),
        pytest.param("Arx1 Afpay Aux2 As7 Bg7 Brx2 Bfmail Bux3", [], id="the second waited for a message"),
        pytest.param("Al7 Arx1 Afpay Aux2 An7 Bl8 Brx2 Bfmail Bux3 Bn8", [], id="under one lock"),
        pytest.param("Arx1 Afpay!error Aux2 Brx2 Bfmail!error Bux3", [], id="the effects failed"),
        pytest.param("Arx1 Afpay Aux2!rejected Brx2 Bfmail Bux3", [], id="the first changed nothing"),
        pytest.param("Arx1 Afpay Aux2 | | | | | | | Brx2 Bfmail Bux3", [], id="a minute apart is no luck"),
        pytest.param("Arx1 Brx1 Aux2 Afpay Bux3 Bfmail", [], id="it happened"),
    ],
)
def test_check_then_act(story: str, found: list[str]) -> None:
    """Two units that looked at one thing, changed it and acted on it, and nothing but luck kept them apart."""
    latent = [f for f in _latent(story, predicate="*") if f.kind == "check_then_act"]
    assert [str(finding.certainty) for finding in latent] == found


def test_check_then_act_says_what_it_is() -> None:
    """Who looked at what, and what they did; not when nobody holds the accesses together."""
    (finding,) = _latent(QUOTA)
    assert [(access.strand, access.role) for access in finding.accesses] == [
        ("A", "check"), ("A", "act"), ("A", "newer"), ("B", "check"), ("B", "act"), ("B", "newer"),
    ]  # fmt: skip
    assert "both look at `x`, then call `send` and change it" in finding.explanation
    assert _latent(QUOTA, step=False) == []
    assert [str(f.certainty) for f in _latent("Aq Aiy1 Bqy1 Biz2", predicate="free")] == ["possible"]
    assert _latent("Aq Aiy1 Bqy1 Biz1", predicate="*", guard=Guard.UNIQUE) == []


@pytest.mark.parametrize(
    ("story", "found"),
    [
        pytest.param("Aqx1y1 Atx7 Bqy1 Bty8", ["likely"], id="both chose among the same tasks"),
        pytest.param("Aqx1 Atx7 Bqy1 Bty8", ["possible"], id="nobody knows whether they did"),
        pytest.param("Aqx1y1 Atx7 Aqy1 Aty8", [], id="one worker"),
        pytest.param("Aqx1y1 Atx7 A*B Bqy1 Bty8", [], id="the second was started after it"),
        pytest.param("Aqx1y1 Bqx1y1 Atx7 Bty8", [], id="they chose at the same time, and not the same"),
        pytest.param("As7 As8 Ag7 Bg8", [], id="a queue hands out by itself"),
    ],
)
def test_double_claim(story: str, found: list[str]) -> None:
    """Two workers that choose and then take, where nothing makes the second choose after the first has taken."""
    latent = [f for f in _latent(story) if f.kind == "double_claim"]
    assert [str(finding.certainty) for finding in latent] == found
    assert _latent(story, guard=Guard.VERSION) == []


def test_the_same_issue_as_when_it_happens() -> None:
    """What luck kept apart and what it did not are one bug."""
    (latent,) = _latent(APART)
    (manifest,) = evaluate(Story().history("Arx1 Brx1 Awx2<1^1 Bwx3<1^2")).findings
    assert latent.issue == manifest.issue


def test_the_window_is_what_the_margin_is_held_against() -> None:
    """Long windows make a margin narrow; the sentence says how long was thought in them."""
    (fast,), (slow,) = _latent(APART), _latent("Arx1 Am Awx2<1 Brx2 Bm Bwx3<2")
    assert fast.margin_ns == slow.margin_ns
    assert luck(slow.margin_ns, slow.accesses) < luck(fast.margin_ns, fast.accesses)
    assert "thought for 500 µs" in slow.explanation
    assert "Read again after the model call" in slow.advice.text
    story = f"{APART} | Cry1 Cm Cwy2<1 Dry2 Dm Dwy3<2"
    assert [finding.resource for finding in _latent(story)] == ["mem://y", "mem://x"]
