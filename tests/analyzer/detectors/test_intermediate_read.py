"""Intermediate reads: half of a change was read."""

import pytest

from noclobber.contract import VersionKind
from story import judge, told

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("A[ Awx2 Brx2 Awx3 A]", PRINT, ["intermediate_read likely x B"], id="replaced in its transaction"),
        pytest.param("A[ Awx2 Brx2 Awx3 A]", CHAIN, ["intermediate_read certain x B"], id="by the store's version"),
        pytest.param("A[ Awx2 Brx2 Awx3 A]", COUNTER, ["intermediate_read certain x B"], id="by number"),
        pytest.param("A[ Awx2 Awx3 A] Brx2", COUNTER, ["intermediate_read certain x B"], id="whenever it was read"),
        pytest.param("A[ Awx2 Awx3 A] Brx3", COUNTER, [], id="its result was read"),
        pytest.param("A[ Awx2 Arx2 Awx3 A]", COUNTER, [], id="its own read"),
        pytest.param("A[ Awx2 Awx3 Awx2 A] Brx2", PRINT, [], id="put back in the end"),
        pytest.param("A[ Awx2 Awx3 A] C[ Cwx2 C] Brx2", PRINT, [], id="somebody else made it too"),
        pytest.param("A[ Awx2% Awx3 A] Brx2%", PRINT, [], id="a print that means nothing"),
        pytest.param("Awx2 Brx2 Awx3", PRINT, ["intermediate_read likely x B"], id="a step truncates, then fills"),
        pytest.param("Awx2 Brx2 Am Awx3", PRINT, ["intermediate_read possible x B"], id="perhaps a note of progress"),
        pytest.param("Aux2 Brx2 Aux3", COUNTER, [], id="increments of a step are each meant"),
        pytest.param("A[ Awx2 A} C[ Cwx2 Brx2 Cwx3 C]", COUNTER, ["intermediate_read certain x B"], id="taken back"),
        pytest.param("A[ Awx2 Awx3", PRINT, [], id="nobody read it"),
    ],
)  # fmt: skip
def test_intermediate_read(story: str, kind: VersionKind, expected: list[str]) -> None:
    """Each read of it is one finding."""
    assert [line for line in told(story, kind=kind) if line.startswith("intermediate")] == expected


def test_a_number_used_twice() -> None:
    """Whether the write that was taken back was read, or the one that was replaced, clocks apart do not tell."""
    lines = told("A[ Awx2 A} C[ Cwx2 Brx2 Cwx3 C]", kind=COUNTER, clocks="apart")
    assert lines == ["dirty_read possible x B"]
    (finding,) = judge("A[ Awx2 A} C[ Cwx2 Brx2 Cwx3 C]", kind=COUNTER, clocks="apart").findings
    assert finding.also == ("intermediate_read",)


def test_a_transaction_whose_end_is_unknown() -> None:
    """What was read may have been taken back as well as replaced: either way it was no result."""
    lines = told("A[u Awx2 Brx2 Awx3 A]!unknown", kind=PRINT)
    assert "intermediate_read possible x B" in lines


def test_a_bare_strand_is_no_piece() -> None:
    """What has neither step nor transaction says nothing about what belongs together."""
    assert not [line for line in told("Awx2 Brx2 Awx3", step=False) if line.startswith("intermediate")]


@pytest.mark.parametrize(
    ("story", "certainty"),
    [
        pytest.param("D[ Dwx2 D} Dwy1 Bry1 A[ Awx2 Brx2 Awx3 A]", "certain", id="the reader knew what came after"),
        pytest.param("D[ Dwx2 D} Dwy1 Ary1 Bry1 A[ Awx2 Brx2 Awx3 A]", "certain", id="both did"),
        pytest.param("D[ Dwx2 D} Dwy1 Ary1 A[ Awx2 Awx3 A] Brx2", "possible", id="only the writer did"),
        pytest.param("D[s Dwx2 D]!rejected A[ Awx2 Brx2 Awx3 A]", "certain", id="what was refused nobody was shown"),
        pytest.param("D[ Dwx2 A[ Awx2 Brx2 Awx3 A] D}", "possible", id="it was open all the time"),
    ],
)
def test_which_write_of_a_number(story: str, certainty: str) -> None:
    """That the one that was taken back is over is known by clocks, or by what the reader had read before."""
    found = [
        f
        for f in judge(story, kind=COUNTER, clocks="apart").findings
        if f.resource == "mem://x" and "intermediate_read" in {f.kind, *f.also}
    ]
    assert [str(finding.certainty) for finding in found] == [certainty]


def test_by_one_clock_the_later_write_is_likely() -> None:
    """The abort was not over when the read was called, but the other write had come after what it took back."""
    (finding,) = judge("D[ Dwx2 A[ Awx2 Awx3 A] ( D} Brx2 )", kind=COUNTER).findings
    assert (finding.kind, finding.certainty) == ("intermediate_read", "likely")


HALF = "A[ Awx2 Awx3 A] Brx2"


@pytest.mark.parametrize(
    ("story", "told_with", "expected"),
    [
        pytest.param(HALF, {"clocks": "apart"}, ["intermediate_read possible x B"], id="the second write is lost"),
        pytest.param(HALF, {"lost": ()}, ["intermediate_read certain x B"], id="nothing is lost"),
        pytest.param(HALF, {}, [], id="by one clock it was read after the commit"),
        pytest.param("A[ Awx2 Ary1 A] Crx2 Cwx3<2 Brx2", {"clocks": "apart"}, [], id="somebody went on from it"),
    ],
)
def test_half_of_a_transaction_is_lost(story: str, told_with: dict[str, object], expected: list[str]) -> None:
    """A span that is lost may have been the write that replaced what was read."""
    lines = told(story, **({"kind": COUNTER, "lost": (2,)} | told_with))
    assert [line for line in lines if line.startswith("intermediate")] == expected


@pytest.mark.parametrize(
    ("clocks", "certainty"), [pytest.param("one", "likely", id="one clock"), pytest.param("apart", "possible")]
)
def test_a_lost_write_of_its_number(clocks: str, certainty: str) -> None:
    """The number that was read may be that of a lost write which was taken back; a clock tells which came later."""
    found = judge("D[ Dwx2 D} A[ Awx2 Brx2 Awx3 A]", kind=COUNTER, clocks=clocks, lost=(1,)).findings
    assert [(str(f.kind), str(f.certainty)) for f in found] == [("intermediate_read", certainty)]
