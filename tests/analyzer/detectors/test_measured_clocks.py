"""Verdicts that rest on a measured bound between two machines' clocks: likely at most, and they name the bound.

`PING` and `PONG` bound the clocks of A and B, and of A and C, by a message there and back. Each positive stands beside
the same story without the messages, and beside one where what has to be placed lies within the bound.
"""

import pytest

from noclobber.contract import VersionKind
from noclobber_analyzer.evaluate import Evaluation
from story import judge

COUNTER, PRINT = VersionKind.COUNTER, VersionKind.FINGERPRINT
PING = "As9 Bg9 Bs8 Ag8 "
PONG = "As7 Cg7 Cs6 Ag6 "


def told(judged: Evaluation, kind: str) -> list[str]:
    """The certainties of the findings of a kind; `~` where it names a measured bound."""
    return sorted(
        f"{'~' * any('measured bound' in missing for missing in finding.missing)}{finding.certainty}"
        for finding in judged.findings
        if finding.kind == kind
    )


@pytest.mark.parametrize(
    ("kind", "story", "bounded", "unbounded"),
    [
        pytest.param("dirty_read", "A[ Awx2<1 Brx2 A} | Awx2<1", ["~likely"], ["possible"],
                     id="the number was used again long after the read"),
        pytest.param("dirty_read", "A[ Awx2<1 Brx2 A} Awx2<1", ["possible"], ["possible"],
                     id="... within the bound"),
        pytest.param("dirty_read", "A[ Awx2<1 A} | Awx2<1 | Brx2", ["possible"], ["possible"],
                     id="... before the read"),
        pytest.param("dirty_read", "A[ Awx2<1 Brx2 A} |", ["~likely"], ["possible"], id="it was not used again"),
        pytest.param("dirty_read", "A[ Awx2<1 A} | Brx2", ["possible"], ["possible"], id="read long after the abort"),
        pytest.param("dirty_read", "A[ Awx2<1 | Brx2 | A]", ["~likely"], [], id="read long before the commit"),
        pytest.param("dirty_read", "A[ Awx2<1 | Brx2 A]", [], [], id="... within the bound"),
        pytest.param("dirty_read", "A[ Awx2<1 A] | Brx2", [], [], id="... after it"),
        pytest.param("dirty_read", "Brx2 | A[ Awx2<1 | A]", [], [], id="... long before it was written"),
        pytest.param("intermediate_read", "A[ Awx2 A} | B[ Bwx2 Crx2 Bwx3 B]", ["~likely"], [],
                     id="the other write of this number was taken back long before"),
        pytest.param("intermediate_read", "A[ Awx2 A} B[ Bwx2 Crx2 Bwx3 B]", [], [], id="... not long before"),
        pytest.param("intermediate_read", "A[ Awx2 B[ Bwx2 Crx2 A} Bwx3 B]", [], [], id="... within the bound"),
    ],
)  # fmt: skip
def test_reads(kind: str, story: str, bounded: list[str], unbounded: list[str]) -> None:
    """Which write of a number was read, told by which can have come first."""
    assert told(judge(f"{PING}{PONG}| {story}", kind=COUNTER, clocks="apart"), kind) == bounded
    assert told(judge(story, kind=COUNTER, clocks="apart"), kind) == unbounded


@pytest.mark.parametrize(
    ("story", "bounded", "unbounded"),
    [
        pytest.param("Arx1% | Brx1% | Awx2<1% | Bwx3<1%", ["~likely"], ["possible", "possible"], id="in between"),
        pytest.param("Arx1% Brx1% Awx2<1% Bwx3<1%", ["possible", "possible"], ["possible", "possible"],
                     id="within the bound"),
        pytest.param("Awx2% | Brx1% | Bwx3<1%", ["possible"], ["possible"], id="before the read"),
    ],
)  # fmt: skip
def test_lost_update(story: str, bounded: list[str], unbounded: list[str]) -> None:
    """A write between a base and a write from it, where content is too common to tell."""
    assert told(judge(f"{PING}| {story}", kind=PRINT, clocks="apart"), "lost_update") == bounded
    assert told(judge(story, kind=PRINT, clocks="apart"), "lost_update") == unbounded


def test_lost_spans_leave_it_possible() -> None:
    """That no other write of the number is missing rests on the record, as it does on one clock."""
    story = f"{PING}| A[ Awx2<1 Ary0 Brx2 A}} | Awx2<1"
    assert told(judge(story, kind=COUNTER, clocks="apart"), "dirty_read") == ["~likely"]
    assert told(judge(story, kind=COUNTER, clocks="apart", lost=(6,)), "dirty_read") == ["~possible"]


def test_one_clock_needs_no_bound() -> None:
    """What an exact clock tells names no bound."""
    judged = judge("A[ Awx2<1 Brx2 A} | Awx2<1", kind=COUNTER)
    assert told(judged, "dirty_read") == ["likely"]
    assert judged.measured == frozenset()
