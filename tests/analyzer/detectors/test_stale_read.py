"""Stale reads: against one clock's time, by versions, by single writes, and by a search where content repeats."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import VersionKind
from noclobber_analyzer import linearizability
from story import judge

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT


def _told(story: str, **told_with: object) -> list[str]:
    found = [f for f in judge(story, step=False, **told_with).findings if f.kind == "stale_read"]
    return [f"{finding.kind} {finding.certainty}" for finding in found]


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Awx1 Awx2 Brx1", COUNTER, "certain", id="by numbers"),
        pytest.param("Awx1 Cwx2<1 Brx1", CHAIN, "certain", id="by a chain"),
        pytest.param("Awx1 Cwx2<1 Brx1", PRINT, "likely", id="by prints that are linked"),
        pytest.param("Awx1 Cwx2 Brx1", PRINT, "likely", id="by prints and time"),
        pytest.param("Arx1 Awx2<1 Brx1", PRINT, "likely", id="what was there before anybody wrote"),
        pytest.param("Awx1 ( Cwx2<1 Brx1 )", COUNTER, None, id="the two overlap"),
        pytest.param("Awx1 Cwx2<1 Brx2", COUNTER, None, id="the newest"),
        pytest.param("Awx1 Cwx2<1!unknown Brx1", COUNTER, None, id="nobody knows when it came"),
        pytest.param("Awx1 Cwx2<1!rejected Brx1", COUNTER, None, id="it never came"),
        pytest.param("Awx1 C[ Cwx2<1 Brx1 C]", COUNTER, None, id="it was not committed yet"),
        pytest.param("Awx1 B[r Bry1 Cwx2<1 Brx1 B]", COUNTER, None, id="a snapshot from before"),
        pytest.param("Awx1 Cwx2 Dwx1 Brx1", PRINT, None, id="put back"),
        pytest.param("Awx1 Cwx2? Brx1", PRINT, None, id="what it made is known in part only"),
    ],
)  # fmt: skip
def test_stale_read(story: str, kind: VersionKind, expected: str | None) -> None:
    """Each read of it is one finding."""
    assert _told(story, kind=kind) == ([f"stale_read {expected}"] if expected else [])


def test_clocks_apart() -> None:
    """Time of two machines proves nothing."""
    assert not _told("Awx1 Awx2 Brx1", kind=COUNTER, clocks="apart")


def test_what_may_vanish() -> None:
    """Where the state may expire, numbers begin again."""
    assert not _told("Awx1 Awx2 Brx1", kind=COUNTER, ttl_ms=100)


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Awx1% Bwx2% Awx1% Bwx2% Crx1%", "likely", id="overwritten before it was read"),
        pytest.param("Awx1% Bwx2% ( Awx1% Bwx2% ) Crx1%", None, id="the last two overlap"),
        pytest.param("Awx1% Bwx2% ( Awx1% Bwx2% ) Crx1% Drx2%", "likely", id="but only one came last"),
        pytest.param("Awx1% Bwx2% Awx1!unknown% Bwx2% Crx1%", None, id="it may have come late"),
        pytest.param("Awx1% Bwx2% Awx1!unknown% Bwx2% Crx1% Drx2% Drx1%", "likely", id="but it came once"),
        pytest.param("Crx1% Awx1% Bwx2% Awx1% Brx1%", None, id="all in order"),
    ],
)  # fmt: skip
def test_where_content_repeats(story: str, expected: str | None) -> None:
    """A search tells whether any order fits; the first access that none fits is named."""
    assert _told(story, kind=PRINT) == ([f"stale_read {expected}"] if expected else [])


def test_a_search_that_is_spent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is then unknown, and never that all is well."""
    monkeypatch.setattr(linearizability, "STEPS_MAX", 3)
    judged = judge("Awx1% Bwx2% ( Awx1% Bwx2% Dwx1% Ewx2% ) Crx1%", kind=PRINT)
    assert not [f for f in judged.findings if f.kind == "stale_read"]
    assert any("one order in time" in text for text in judged.unknown)


@st.composite
def registers(draw: st.DrawFn) -> str:
    """Groups of overlapping reads and writes of two values, at random, each by a strand of its own."""
    words = st.sampled_from(["w1", "w2", "r1", "r2"])
    groups = draw(st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=3))
    told, strand = ["( Ywx1% )", "( Zwx2% )"], 0
    for group in groups:
        words_told = []
        for word in group:
            words_told.append(f"{chr(ord('A') + strand)}{word[0]}x{word[1]}%")
            strand += 1
        told.append(f"( {' '.join(words_told)} )")
    return " ".join(told)


def _fits(story: str) -> bool:
    """Whether some order of each group, one group after the other, explains all reads: brute force."""
    states: set[str | None] = {None}
    for group in story.replace("(", "").split(")")[:-1]:
        words = [(word[1], word[3]) for word in group.split()]
        reached = {(state, frozenset[int]()) for state in states}
        for _ in words:
            reached = {
                (value, done | {at})
                for state, done in reached
                for at, (op, value) in enumerate(words)
                if at not in done and (op == "w" or state in (None, value))
            }
        states = {state for state, _ in reached}
    return bool(states)


@given(registers())
@settings(max_examples=300, deadline=None)
def test_search_is_brute_force(story: str) -> None:
    """The search finds an order exactly where trying all of them does."""
    found = [finding for finding in judge(story, kind=PRINT).findings if finding.kind == "stale_read"]
    assert bool(found) == (not _fits(story))


def test_a_scan_that_leaves_out_what_others_had_put() -> None:
    """A scan of everything that does not find what had been inserted before."""
    assert _told("Aix1 Bq", kind=COUNTER, predicate="*") == ["stale_read likely"]
    assert not _told("Aix1 Bqx1", kind=COUNTER, predicate="*")
    assert not _told("Aix1 Cdx Bq", kind=COUNTER, predicate="*")


@pytest.mark.parametrize(
    ("story", "lost", "expected"),
    [
        pytest.param("Awx1 C[ Cwx2<1 C] Brx1", (3,), "possible", id="its end is lost"),
        pytest.param("Awx1 C[ Cwx2<1 C] Brx1", (), "certain", id="it was committed"),
        pytest.param("Awx1 C[ Cwx2<1 C} Brx1", (), None, id="it was taken back"),
        pytest.param("Awx1 C[ Cwx2<1 Brx1 C]", (4,), "possible", id="its end is lost, and may have come before"),
        pytest.param("Awx1 C[ Cwx2<1 Brx1 Cry1 C]", (5,), None, id="its transaction went on"),
        pytest.param("Awx1 C[ Cwx2<1 C] Brx2", (3,), None, id="the newest"),
    ],
)
def test_an_end_that_is_lost(story: str, lost: tuple[int, ...], expected: str | None) -> None:
    """A transaction that was over, nobody knows how, may have been committed."""
    for kind in (COUNTER, CHAIN):
        assert _told(story, kind=kind, lost=lost) == ([f"stale_read {expected}"] if expected else [])
