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
