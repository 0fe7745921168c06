"""Cycles of dependencies, each with a near miss: the kind, how sure, and what names it."""

import pytest

from noclobber.contract import VersionKind
from noclobber_analyzer.finding import Finding
from story import judge

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT
CYCLES = {
    "dirty_write", "circular_information_flow", "read_skew", "long_fork", "write_skew", "serialization_cycle",
}  # fmt: skip


def _cycles(story: str, **told_with: object) -> list[Finding]:
    return [finding for finding in judge(story, **told_with).findings if finding.kind in CYCLES]


SKEW = "A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]"
"""Each decides from what the other is changing."""


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param(SKEW, COUNTER, "write_skew certain", id="write skew"),
        pytest.param(SKEW, PRINT, "write_skew likely", id="write skew by prints"),
        pytest.param("A[ Arx1 Ary1 Awx2<1 A] B[ Brx2 Bry1 Bwy2<1 B]", COUNTER, None, id="one after the other"),
        pytest.param("A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 B] A]", COUNTER, None, id="only one of them writes"),
        pytest.param("A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B}", COUNTER, None, id="one is taken back"),
        pytest.param("A[s B[s Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", PRINT, None, id="the store defends both"),
        pytest.param(
            "A[s B[s Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", COUNTER, "write_skew certain", id="but versions speak"
        ),
        pytest.param("A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary2 A]", COUNTER, "read_skew certain", id="read skew"),
        pytest.param("A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary1 A]", COUNTER, None, id="all of it before"),
        pytest.param("B[ Bwx2<1 Bwy2<1 B] A[ Arx2 Ary2 A]", COUNTER, None, id="all of it after"),
        pytest.param("A[ Arx1 B[ Bwx2<1 B] C[ Cwy2<1 C] Ary2 A]", COUNTER, None, id="two changes, in their order"),
        pytest.param(
            "A[ B[ Awx2^1 Bwx3^2 Bwy2^1 Awy3^2 A] B]", COUNTER, "dirty_write certain", id="each overwrote the other"
        ),
        pytest.param("A[ Awx2 A] B[ Brx2 Bwy2 B] A[ Ary2 A]", CHAIN, None, id="an answer"),
        pytest.param(
            "A[ B[ C[ Arx1 Bry1 Crz1 Awy2<1 Bwz2<1 Cwx2<1 A] B] C]", COUNTER, "serialization_cycle certain", id="three"
        ),
        pytest.param("A[ B[ C[ Arx1 Bry1 Crz1 Awy2<1 Bwz2<1 A] B] C]", COUNTER, None, id="a chain of three"),
    ],
)  # fmt: skip
def test_cycle(story: str, kind: VersionKind, expected: str | None) -> None:
    """Each cycle is one finding, of its weakest kind."""
    found = [f"{finding.kind} {finding.certainty}" for finding in _cycles(story, kind=kind, clocks="apart")]
    assert found == ([expected] if expected else [])


def test_long_fork() -> None:
    """Two readers saw two changes in opposite orders; with one clock one of them is a stale read."""
    story = "A[ B[ Awx2 Bwy2 A] B] C[ Crx2 Cry1 C] D[ Dry2 Drx1 D]"
    (finding,) = _cycles(story, kind=COUNTER, clocks="apart")
    assert (finding.kind, finding.certainty) == ("long_fork", "certain")
    assert {f.kind for f in judge(story, kind=COUNTER).findings} >= {"stale_read"}
    assert not _cycles("A[ B[ Awx2 Bwy2 A] B] C[ Crx2 Cry1 C] D[ Dry2 Drx2 D]", kind=COUNTER, clocks="apart")


def test_circular_information_flow() -> None:
    """Each knew of the other; with one clock it is told that what they read was not committed yet."""
    story = "A[ B[ Awx2 Bwy2 Ary2 Brx2 A] B]"
    (finding,) = _cycles(story, kind=CHAIN, clocks="apart")
    assert (finding.kind, finding.certainty) == ("circular_information_flow", "certain")
    assert [finding.kind for finding in judge(story, kind=CHAIN).findings] == ["dirty_read", "dirty_read"]


def test_steps_count_if_they_used_what_they_read() -> None:
    """Outside transactions it is likely at most, and nothing where a step only looked."""
    (finding,) = _cycles("Arx1 Ary1 Brx1 Bry1 ( Awx2<1 Bwy2<1 )", kind=COUNTER)
    assert (finding.kind, finding.certainty) == ("write_skew", "likely")
    assert finding.missing == ("transactions around what belongs together",)
    assert not _cycles("Arx1 Bwx2 Bwy2 Ary2", kind=COUNTER)
    assert not _cycles("Arx1 Ary1 Brx1 Bry1 ( Awx2<1 Bwy2<1 )", kind=COUNTER, step=False)


def test_what_is_explained_is_not_told_again() -> None:
    """A lost update implies a cycle; nobody wants both."""
    found = judge("A[ B[ Arx1 Brx1 Ary1 Bwx2<1 Bwy2<1 B] Awx3<1 A]", kind=COUNTER).findings
    assert [finding.kind for finding in found] == ["lost_update"]


def test_names() -> None:
    """A write skew is named by both units, whatever else is going on, and tells each step."""
    (alone,) = _cycles(SKEW, kind=COUNTER)
    (among,) = _cycles(f"C[ Crz1 C] {SKEW} D[ Drx2 Dry2 D]", kind=COUNTER)
    assert alone.resource in ("mem://x", "mem://y")
    assert {edge.type for edge in alone.edges} >= {"rw"}
    assert "before" in alone.explanation
    assert (alone.kind, len(among.accesses)) == (among.kind, len(alone.accesses))


def test_each_unit_names_one() -> None:
    """Of a ring of many units the greatest names the cycle, once."""
    found = _cycles("A[ B[ C[ D[ Arx1 Bry1 Crz1 Drq1 Awy2<1 Bwz2<1 Cwq2<1 Dwx2<1 A] B] C] D]", kind=COUNTER)
    assert [finding.kind for finding in found] == ["serialization_cycle"]
    assert len(found[0].edges) >= 4


def test_expired_numbers_order_nothing() -> None:
    """Where numbers may begin again nothing is concluded from them."""
    assert not _cycles(SKEW, kind=COUNTER, ttl_ms=1000)


@pytest.mark.parametrize(
    ("story", "lost", "expected"),
    [
        pytest.param(SKEW, (3,), "write_skew possible", id="a read is lost"),
        pytest.param(f"{SKEW} Ary1", (8,), "write_skew possible", id="a commit is lost"),
        pytest.param(f"{SKEW}!unknown", (), "write_skew possible", id="a commit got no answer"),
        pytest.param(SKEW, (3, 4), None, id="nothing links the two"),
        pytest.param(SKEW, (2, 5), "write_skew certain", id="only what each replaced itself is lost"),
        pytest.param("A[ Arx1 Ary1 Awx2<1 A] B[ Brx2 Bry1 Bwy2<1 B]", (6,), None, id="one after the other"),
        pytest.param("A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B}", (3,), None, id="one is taken back"),
        pytest.param("A[s B[s Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", (3,), None, id="the store defends both"),
    ],
)
def test_write_skew_in_part(story: str, lost: tuple[int, ...], expected: str | None) -> None:
    """Where a part of two transactions is lost it may have been one; what is known must link them."""
    for kind in (COUNTER, CHAIN):
        found = [f for f in judge(story, kind=kind, lost=lost).findings if f.kind == "write_skew"]
        assert [f"{finding.kind} {finding.certainty}" for finding in found] == ([expected] if expected else [])
        assert all(finding.missing for finding in found if finding.certainty != "certain")


def test_numbers_that_a_lost_write_may_have_made() -> None:
    """Who read whose number is not sure where spans are lost: the write may have been another, and taken back."""
    story = "A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary2 A] C[ Crz1 Crz1 C]"
    (whole,) = _cycles(story, kind=COUNTER)
    (known,) = _cycles(story, kind=COUNTER, lost=(9,))
    (apart,) = _cycles(story, kind=COUNTER, lost=(9,), clocks="apart")
    assert [str(each.certainty) for each in (whole, known, apart)] == ["certain", "likely", "possible"]
    assert [str(each.certainty) for each in _cycles(story, kind=CHAIN, lost=(9,), clocks="apart")] == ["certain"]
