"""Which pairs of spans prove an order between two clocks, and which only look as if they did."""

import msgspec
import pytest

from noclobber.contract import Outcome, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.clock_pairs import clock_pairs
from noclobber_analyzer.forms import changed
from story import Story

COUNTER, CHAIN, PRINT = VersionKind.COUNTER, VersionKind.CHAIN, VersionKind.FINGERPRINT


def proven(accesses: list[Access], *, whole: bool = True) -> list[str]:
    """The pairs as `source>target`, by the strands' letters and numbers; sorted."""
    by_start = {(a.process.id, a.start_ns): f"{a.strand}{a.seq}" for a in accesses}
    by_end = {(a.process.id, a.end_ns): f"{a.strand}{a.seq}" for a in accesses}
    return sorted(
        f"{by_start[p.source.id, p.source_ns]}>"
        + (by_end.get((p.target.id, p.target_ns)) or f"call of {by_start[p.target.id, p.target_ns]}")
        for p in clock_pairs(accesses, whole=whole)
    )


def told(story: str, *, whole: bool = True, kind: VersionKind = COUNTER, **told_with: object) -> list[str]:
    return proven(Story(clocks="apart", kind=kind, **told_with).accesses(story), whole=whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("As9 Bg9", ["A1>B1"], id="a message was sent before it was received"),
        pytest.param("As9 Cs9 Bg9", [], id="two sends of one id"),
        pytest.param("As9 Bg9!unknown", [], id="a receipt that may have come later"),
        pytest.param("A*B Brx1 Brx2", ["A1>call of B1"] * 2, id="a strand's calls come after its start"),
        pytest.param("Brx1 Brx2 A+B", ["B2>A1"], id="a join returns after the last call that it waited for"),
        pytest.param("Al7 An7 Bl8", ["A2>B1"], id="a lock is granted after the unlock before"),
        pytest.param("Al7 Bl9", ["A1>B1"], id="... after the grant before, whatever lies between"),
        pytest.param("Al Bl", [], id="locks without tokens"),
        pytest.param("Awx1 Brx1", ["A1>B1"], id="a version is read after its write was called"),
        pytest.param("Awx1 Cwx1 Brx1", [], id="a version that two made"),
        pytest.param("Awx1!rejected Cwx1 Brx1", ["C1>B1"], id="... of which one was refused"),
        pytest.param("Awx1!unknown Brx1", ["A1>B1"], id="a write whose return bounds nothing"),
        pytest.param("Awx1% Brx1%", [], id="a version too common to name one write"),
        pytest.param("Awx1 Adx Brx1", [], id="a state that began anew"),
        pytest.param("Awx1 Awx2 Bqx2y1", ["A2>B1"], id="a scan reads its members"),
        pytest.param("Brx0 Brx-", [], id="nothing was there"),
        pytest.param("Awx1 Arx1 As9 Ag9", [], id="one clock"),
    ],
)
def test_pairs(story: str, expected: list[str]) -> None:
    """Each kind of edge between machines, and its near misses."""
    assert told(story) == expected


def test_leases_end_by_themselves() -> None:
    """Where leases run out an unlock may come after the next grant; the order of grants stays."""
    assert told("Al7 Bl8 An7", lease_ms=1) == ["A1>B1"]


def test_links() -> None:
    """A span link that says `message` or `handoff` is an edge; another instrumentation's is none."""
    source, target, other = Story(clocks="apart").accesses("Arx1 Brx1 Crx1")
    target.links = ((*source.name, "handoff"),)
    other.links = ((*source.name, ""),)
    assert proven([source, target, other]) == ["A1>B1"]


@pytest.mark.parametrize("kind", [COUNTER, PRINT])
def test_lost_writes(kind: VersionKind) -> None:
    """A number of a lost attempt that was taken back, or content of a lost write, may be what was read."""
    story = "Awx1<absent Brx1"
    assert told(story, kind=kind) == ["A1>B1"]
    assert told(story, kind=kind, whole=False) == []


def test_chain_needs_nothing_else() -> None:
    """A chain's version is never used again, whatever is lost or deleted."""
    assert told("Awx1 Adx Brx1", kind=CHAIN, whole=False) == ["A1>B1"]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Awx1<i Brx1", ["A1>B1"], id="what was there before is known by the write that replaced it"),
        pytest.param("Awx1 Brx1", [], id="nobody knows what was there before"),
        pytest.param("Brx1 Awx2<1 Awx1<2 Brx1", [], id="it was there before, and came again"),
        pytest.param("Awx1<i Brxj Brx1", [], id="somebody else writes here, too"),
    ],
)
def test_content_may_come_again(story: str, expected: list[str]) -> None:
    """Content names one write only where nothing else can have been there before."""
    assert told(story, kind=PRINT) == expected


def test_content_that_does_not_compare() -> None:
    """Prints under two keys, of a store that returns something else, or of other parts, name no write."""
    write, read = Story(clocks="apart", kind=PRINT).accesses("Awx1<i Brx1")
    other_key = msgspec.structs.replace(read.process, key_id="other")
    assert proven([write, read]) == ["A1>B1"]
    assert proven([write, msgspec.structs.replace(read, process=other_key)]) == []
    assert proven([write, msgspec.structs.replace(read, verbatim=False)]) == []
    assert proven([write, msgspec.structs.replace(read, part=("a",))]) == []
    assert proven([write, msgspec.structs.replace(read, outcome=Outcome.ERROR)]) == []


def test_many_reads_are_looked_at_in_part() -> None:
    """Of more reads than the limit each second, fourth ... is taken, by its id: the same ones in any order."""
    write, read = Story(clocks="apart", kind=COUNTER).accesses("Awx1 Brx1")
    reads = [changed(read, span_id=f"{n:016x}", start_ns=read.start_ns + n) for n in range(10_000)]
    one = list(clock_pairs([write, *reads], whole=True))
    assert len(one) in range(2_000, 4_097)
    assert sorted(clock_pairs([*reversed(reads), write], whole=True)) == sorted(one)
