"""Forks: two children of one version."""

import pytest

from noclobber.contract import Guard, VersionKind
from story import told

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Arx1 Brx1 Aix2<1 Bix3<1", CHAIN, ["fork certain x A>B"], id="two checkpoints of one parent"),
        pytest.param("Arx1 Aix2<1 Brx2 Bix3<2", CHAIN, [], id="one after the other"),
        pytest.param("Arx1 Aix2<1 Brx1 Bix3<1", CHAIN, [], id="made after the first was there: replay"),
        pytest.param("Arx1 Brx1 Aix2<1 Bix2<1", CHAIN, [], id="the same child put twice"),
        pytest.param("Arx1 Brx1 Aix2<1 Bix3<1!error", CHAIN, [], id="one failed"),
        pytest.param("Arx1 Brx1 Aix2<1 Bix3<1!unknown", CHAIN, ["fork possible x A>B"], id="one perhaps failed"),
        pytest.param("Arx1 Brx1 Crx1 Aix2<1 Bix3<1 Cix4<1", CHAIN, ["fork certain x A>B", "fork certain x A>C"]),
        pytest.param("Arx1 Brx1 Awx2<1^1 Bwx3<1^1", CHAIN, ["fork certain x A>B"], id="both replaced one version"),
        pytest.param("Arx1 Brx1 Awx2<1 Bwx2<1", COUNTER, ["fork certain x A>B"], id="one number twice"),
        pytest.param("Aux0 Bux0", COUNTER, ["fork likely x A>B"], id="even number nought"),
        pytest.param("A[ Arx1 Awx2<1 A} Brx1 Bwx2<1", COUNTER, [], id="the number of an aborted write"),
        pytest.param("Arx1 Brx1 Awx2<1^1 Bwx3<1^1", PRINT, ["fork likely x A>B"], id="both replaced one content"),
        pytest.param("Cwx1 Arx1 Brx1 Awx2<1^1 Cwx1<2^2 Bwx3<1^1", PRINT, ["fork possible x A>B"]),
    ],
)  # fmt: skip
def test_fork(story: str, kind: VersionKind, expected: list[str]) -> None:
    """Each child but the first is one finding, as sure as what it was told by."""
    assert [line for line in told(story, kind=kind) if line.startswith("fork")] == expected


def test_guarded_prints_are_no_fork() -> None:
    """Two compare-and-sets that both found the same content there: it was there twice."""
    assert told("Arx1 Brx1 Awx2<1^1 Awx1<2^2 Bwx3<1^1", guard=Guard.VERSION) == []


def test_a_child_that_may_have_been_taken_back_hides_no_other() -> None:
    """The first child's transaction has no end; who read the parent after it is a rival of the others."""
    story = "E[ Ewx9<1^1 E} Brx1 Crx1 Bwx2<1^1 Cwx3<1^1"
    assert told(story, kind=CHAIN) == ["fork certain x B>C"]
    lines = told(story, kind=CHAIN, lost=(2,))
    assert lines == ["fork certain x B>C", "stale_read possible x E>B", "stale_read possible x E>C"]
