"""Dirty writes: a transaction wrote over what another had not committed yet."""

import pytest

from noclobber.contract import VersionKind
from story import told

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("A[ Awx2^1 B[ Bwx3^2 B] A}", CHAIN, "certain", id="over what was taken back"),
        pytest.param("A[ Awx2^1 B[ Bwx3^2 B] A}", COUNTER, "likely", id="a number, inside the transaction"),
        pytest.param("A[ Awx2^1 B[ Bwx3^2 B] A}", PRINT, "likely", id="a print"),
        pytest.param("A[ Awx2^1 B[ Bwx3^2 Awx4^3 A] B]", COUNTER, "certain", id="between two of its versions"),
        pytest.param("A[ Awx2^1 B[ Bwx3^2 Awx4^3 A] B]", PRINT, "likely", id="between two of its prints"),
        pytest.param("A[ Awx2^1 A] B[ Bwx3^2 B]", COUNTER, None, id="committed before"),
        pytest.param("A[ Awx2^1 A} B[ Bwx2^1 B]", COUNTER, None, id="taken back before"),
        pytest.param("A[ Awx2^1 B[ Bwx3^2 B} A}", CHAIN, None, id="both taken back"),
        pytest.param("A[ Awx2^1 Bwx3^2 A}", CHAIN, None, id="the second is in no transaction"),
        pytest.param("A[ Awx2^1 Awx3^2 A}", CHAIN, None, id="its own"),
        pytest.param("A[s Awx2^1 B[ Bwx3^2 B] A]!rejected", CHAIN, None, id="the store refused to commit the first"),
        pytest.param("B[ A[ Bwx3^2 Awx2^1 B] A}", COUNTER, None, id="it came before what it would have replaced"),
    ],
)  # fmt: skip
def test_dirty_write(story: str, kind: VersionKind, expected: str | None) -> None:
    """Each pair of transactions is one finding."""
    lines = [line for line in told(story, kind=kind) if line.startswith("dirty_write")]
    assert lines == ([f"dirty_write {expected} x A>B"] if expected else [])


def test_what_the_writer_replaced_may_be_its_own_lost_write() -> None:
    """A span of the second transaction is lost: it may have made the number that the second write replaced."""
    story = "A[ Awx2^1 B[ Bwx2^1 Bwx3^2 B] A}"
    assert "dirty_write possible x A>B" in told(story, kind=COUNTER, lost=(3,))
