"""Non-repeatable reads: one unit read the same twice, and it was another."""

import pytest

from noclobber.contract import VersionKind
from story import judge, told

COUNTER, PRINT = VersionKind.COUNTER, VersionKind.FINGERPRINT


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("A[r Arx1 Bwx2<1 Arx2 A]", "certain", id="its isolation promised otherwise"),
        pytest.param("A[s Arx1 Bwx2<1 Arx2 A]", "certain", id="serializable never outweighs versions"),
        pytest.param("A[ Arx1 Bwx2<1 Arx2 A]", "likely", id="its isolation allows it"),
        pytest.param("A[ Arx1 Bwx2<1 Arx2 Awx3<2 A]", "possible", id="read again, then written: the textbook cure"),
        pytest.param("A[r Arx1 Bwx2<1 Arx2 A}", "possible", id="taken back: perhaps never used"),
        pytest.param("A[ Arx1 Bwx2<1 Arx1 A]", None, id="the same twice"),
        pytest.param("A[ Arx1 Awx2<1 Arx2 A]", None, id="its own write"),
        pytest.param("A[ Arx1 Awx2<1!rejected Bwx2<1 Arx2 A]", None, id="refused, so it began anew"),
        pytest.param("A[ Arx1 A] Bwx2<1 A[ Arx2 A]", None, id="two transactions"),
        pytest.param("Arx1 Bwx2<1 Arx2", None, id="a step that only looks"),
        pytest.param("Arx1 Bwx2<1 Arx2 Awx3<2", None, id="a step that writes from what it read again"),
        pytest.param("Arx1 Bwx2<1 Arx2 Ae9", "possible", id="a step that acts on it"),
        pytest.param("A[s Arx1 Bwx2<1 Arx2 A]!rejected", None, id="the store refused it"),
        pytest.param("A[ Arx1 Adx Arx- A]", None, id="its own deletion"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [COUNTER, PRINT])
def test_non_repeatable_read(story: str, expected: str | None, kind: VersionKind) -> None:
    """Each unit and resource is one finding."""
    lines = [line for line in told(story, kind=kind) if line.startswith("non_")]
    assert lines == ([f"non_repeatable_read {expected} x A>B"] if expected else [])


def test_what_was_decided_from_the_older_read() -> None:
    """A base that is the older read makes it certain, whatever the isolation; the write is a lost update besides."""
    lines = told("A[ Arx1 Bwx2<1 Arx2 Awx3<1 A]", kind=COUNTER)
    assert lines == ["lost_update certain x B>A", "non_repeatable_read certain x A>B"]


def test_what_may_vanish_by_itself() -> None:
    """An entry that expires is gone at the second read, and nobody did it."""
    assert not told("A[r Arx1 Arx- A] Bwx2", ttl_ms=5, kind=PRINT)


def test_prints_of_requests_do_not_count() -> None:
    """Two replies compare even where the store does not return what it is sent."""
    lines = told("A[r Arx1 Bwx2<1 Arx2 A]", kind=PRINT, verbatim=False)
    assert "non_repeatable_read certain x A>B" in lines


def test_severity_where_the_isolation_allows_it() -> None:
    """What READ COMMITTED never promised weighs less."""
    allowed, promised = (judge(f"A[{level} Arx1 Bwx2<1 Arx2 A]").findings[0] for level in ("", "r"))
    assert (allowed.severity, promised.severity) == ("low", "medium")


def test_a_lost_span_may_have_been_its_own_write() -> None:
    """Where a span of the unit itself is missing in between, it may have changed the state."""
    assert told("A[r Arx1 Bwx2<1 Ary1 Arx2 A]", kind=COUNTER, lost=(3,)) == ["non_repeatable_read possible x A>B"]


def test_one_unit_tells_once() -> None:
    """A unit that polls a resource is one finding, not one for each look."""
    lines = told("A[ Arx1 Bwx2<1 Arx2 Cwx3<2 Arx3 A]", kind=COUNTER)
    assert [line for line in lines if line.startswith("non_")] == ["non_repeatable_read likely x A>B"]
