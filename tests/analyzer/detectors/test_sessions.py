"""Session guarantees: a strand's reads and writes against its own past, each with a near miss."""

import pytest

from noclobber.contract import VersionKind
from story import judge

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT
SESSION = {"read_your_writes", "monotonic_reads", "monotonic_writes"}


def _told(story: str, **told_with: object) -> list[str]:
    found = [f for f in judge(story, **told_with).findings if f.kind in SESSION]
    return [f"{finding.kind} {finding.certainty}" for finding in found]


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Awx2<1 Arx1", COUNTER, "read_your_writes certain", id="older than its own write"),
        pytest.param("Arx1 Awx2<1 Arx1", CHAIN, "read_your_writes certain", id="the parent of its own write"),
        pytest.param("Arx1 Awx2<1 Arx1", PRINT, "read_your_writes likely", id="by prints"),
        pytest.param("Awx2<1 Arx2", COUNTER, None, id="its own write"),
        pytest.param("Awx2<1 Bwx3<2 Arx3", COUNTER, None, id="a foreign write after it"),
        pytest.param("Awx2<1!unknown Arx1", COUNTER, None, id="a write that may not have come"),
        pytest.param("Awx2<1!rejected Arx1", COUNTER, None, id="a write that was refused"),
        pytest.param("A[ Awx2<1 A} Arx1", COUNTER, None, id="a write that was taken back"),
        pytest.param("Arx1 Awx2<1 Bwx1<2 Arx1", PRINT, None, id="the old content was put back"),
        pytest.param("Bwx3 Arx3 Arx2", COUNTER, "monotonic_reads certain", id="older than what it read"),
        pytest.param("Bwx2<1 Arx1 Arx2 Arx1", PRINT, "monotonic_reads likely", id="back and forth, by prints"),
        pytest.param("Bwx3 Arx2 Arx3 Arx3", COUNTER, None, id="growing"),
        pytest.param("Bwx3 Arx3 Crx2", COUNTER, None, id="of two strands"),
        pytest.param("B[ Bwx3 A[ Arx3 A] B} Arx2", COUNTER, None, id="what it had read was taken back"),
        pytest.param("Bwx2 A[ Arx3 A} Arx2", COUNTER, None, id="read in a transaction that was taken back"),
        pytest.param("A[ Arx3 A] Bwx4 A[ Arx4 A]", COUNTER, None, id="of two transactions, growing"),
        pytest.param("Awx3 Awx2", COUNTER, "monotonic_writes certain", id="applied against their order"),
        pytest.param("Awx2 Awx3", COUNTER, None, id="in their order"),
        pytest.param("Awx3 Adx Awx1", COUNTER, None, id="a new life"),
    ],
)  # fmt: skip
def test_session(story: str, kind: VersionKind, expected: str | None) -> None:
    """Each read or write that breaks a guarantee is one finding."""
    assert _told(story, kind=kind) == ([expected] if expected else [])


def test_a_snapshot_owes_nothing_to_what_came_after_its_beginning() -> None:
    """What the strand did on another connection since the transaction began need not be seen in it."""
    history = "A[r Arx1 A] Bwx2 A[r Arx1 A]"
    assert _told(history, kind=COUNTER) == []


def test_what_may_vanish() -> None:
    """Where numbers may begin again a lower one proves nothing."""
    assert not _told("Awx2<1 Arx1", kind=COUNTER, ttl_ms=100)


def test_a_scan_that_leaves_out_what_the_strand_had_put() -> None:
    """A scan of everything that does not find the strand's own insert."""
    (finding,) = [f for f in judge("Aix1 Aiy1 Aqx1", kind=COUNTER, predicate="*").findings if f.kind in SESSION]
    assert (finding.kind, finding.certainty, finding.resource) == ("read_your_writes", "likely", "mem://y")
    assert not _told("Aix1 Aiy1 Aqx1y1", kind=COUNTER, predicate="*")
    assert not _told("Aix1 Aiy1 Bdy Aqx1", kind=COUNTER, predicate="*")
    assert not _told("Aix1 Aiy1 Aqx1", kind=COUNTER, predicate="one of many")


@pytest.mark.parametrize(
    ("story", "lost", "expected"),
    [
        pytest.param("Cwx1 A[ Awx2<1 Brx2 A} Brx1", (4,), "monotonic_reads possible", id="the abort is lost"),
        pytest.param("Cwx1 A[ Awx2<1 Brx2 A} Brx1 Dwx2<1", (2,), "monotonic_reads possible", id="the write is lost"),
        pytest.param("Cwx1 A[ Awx2<1 A] Brx2 Brx1 Cry1 Cry1", (6,), "monotonic_reads certain", id="something else is"),
        pytest.param("Cwx1 A[ Awx2<1 Brx2 A} Brx1", (), None, id="nothing is lost"),
    ],
)  # fmt: skip
def test_what_was_read_may_have_been_taken_back(story: str, lost: tuple[int, ...], expected: str | None) -> None:
    """Whether what a strand had read was there to stay is not known where a write, or an end, is lost."""
    assert _told(story, kind=COUNTER, lost=lost) == ([expected] if expected else [])
