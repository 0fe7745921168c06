"""Dirty reads: what was taken back, or not committed yet, was read."""

import pytest

from noclobber.contract import VersionKind
from story import told

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("A[ Awx2 Brx2 A}", PRINT, ["dirty_read likely x B"], id="rolled back after it was read"),
        pytest.param("A[ Awx2 Brx2 A}", CHAIN, ["dirty_read certain x B"], id="a version that names one state"),
        pytest.param("A[ Awx2 Brx2 A}", COUNTER, ["dirty_read likely x B"], id="a number, read inside the transaction"),
        pytest.param("A[ Awx2 A] Brx2", PRINT, [], id="committed before it was read"),
        pytest.param("A[ Awx2 Arx2 A}", PRINT, [], id="its own read"),
        pytest.param("A[ Awx2 Brx1 A}", PRINT, [], id="another version was read"),
        pytest.param("A[ Awx2 A} C[ Cwx2 C] Brx2", COUNTER, [], id="the number was used again, and that was read"),
        pytest.param("A[ Awx2 A} Brx2", COUNTER, ["dirty_read possible x B"], id="its number may have been used again"),
        pytest.param("A[ Awx2 Brx2 A]", PRINT, ["dirty_read likely x B"], id="read before its commit"),
        pytest.param("A[ Awx2 Brx2 Awx3 A]", PRINT, [], id="replaced in its transaction: an intermediate read"),
        pytest.param("A[ Awx2 Brx2 A]!unknown", PRINT, ["dirty_read likely x B"], id="dirty however the commit ended"),
        pytest.param("A[ A/ Awx2 Brx2 A\\ A]", PRINT, ["dirty_read likely x B"], id="a savepoint was rolled back"),
        pytest.param("A[ A/ A\\ A/ Awx2 A] Brx2", PRINT, [], id="another savepoint was rolled back"),
        pytest.param("A[ Awx2 B[ Bwx2 Brx2 A} B]", COUNTER, [], id="a number that its own transaction made, too"),
        pytest.param("A[ Awx2 Brx2", PRINT, ["dirty_read possible x B"], id="nobody knows how it ended"),
        pytest.param("A[ Awx2% Brx2% A}", PRINT, [], id="a print that means nothing"),
        pytest.param("A[ Awx2 Brx2 Bs1 Ag1 A}", COUNTER, ["dirty_read certain x B"], id="a message orders both"),
        pytest.param("A[ Awx2 Brx2 Bs1 Ag1 A}", PRINT, ["dirty_read likely x B"], id="content may have been there"),
        pytest.param("Crx2 A[ Awx3 Awx2 Brx2 A}", PRINT, ["dirty_read possible x B"], id="the content stood there"),
        pytest.param("A[s Awx2 Brx2 A]!rejected", CHAIN, [], id="a defended transaction is part of no finding"),
        pytest.param("A[ A/ Awx2 Brx2 A\\!error A]", PRINT, ["dirty_read likely x B"], id="its rollback failed"),
    ],
)  # fmt: skip
def test_dirty_read(story: str, kind: VersionKind, expected: list[str]) -> None:
    """Each read of it is one finding."""
    assert [line for line in told(story, kind=kind) if line.startswith("dirty")] == expected


def test_another_write_of_the_number_that_nothing_places() -> None:
    """Where another write of the same number may have come before the read, nobody knows which one was read."""
    story = "C[ Cwx2 C] A[ Awx2 Brx2 A}"
    assert "dirty_read possible x B" in told(story, kind=COUNTER, clocks="apart")
    assert "dirty_read likely x B" in told("A[ Awx2 Brx2 A} C[ Cwx2 C]", kind=COUNTER)


def test_the_surest_of_several_that_were_taken_back_is_told() -> None:
    """Two transactions made one number, and both were taken back; the one that was open when it was read tells."""
    lines = told("C[ Cwx2 C} A[ Awx2 Brx2 A}", kind=VersionKind.COUNTER)
    assert lines == ["dirty_read likely x B"]
