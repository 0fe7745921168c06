"""Stale writes: decided from what was no longer so, though nothing of another's was replaced."""

import pytest

from noclobber.contract import BaseSource, Guard, VersionKind
from story import told

COUNTER = VersionKind.COUNTER


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Arx1 Bwx2 Awy5", ["stale_write likely y B>A"], id="decided from another resource"),
        pytest.param("Arx1 Awy5 Bwx2", [], id="it changed afterwards"),
        pytest.param("Bwx2 Arx2 Awy5", [], id="it had seen the change"),
        pytest.param("Arx1 Bwx2 Arx2 Awy5", [], id="it read again before it wrote"),
        pytest.param("Arx1 Bwx2 Auy5", [], id="an increment decides nothing"),
        pytest.param("Arx1 Arz1 Bwx2 Awy5", ["stale_write possible y B>A"], id="it had read other things, too"),
        pytest.param("Arx1 Ary4 Bwx2 Awy5<4", ["stale_write possible y B>A"], id="it had read what it wrote"),
        pytest.param("Arx1 Bwx2 Ary!not_found? Awy5", ["stale_write possible y B>A"], id="it had missed what it wrote"),
        pytest.param(
            "Arx1 Bwx2 Ary!ok? Awy5", ["stale_write possible y B>A"], id="it had read what it wrote, unversioned"
        ),
        pytest.param("Arx1 Bwx2!rejected Awy5", [], id="the change was refused"),
    ],
)
def test_stale_basis(story: str, expected: list[str]) -> None:
    """A write of one resource, decided from a superseded version of another."""
    assert [line for line in told(story) if line.startswith("stale_write")] == expected


def test_stale_basis_in_a_transaction() -> None:
    """Inside a transaction, numbers prove it."""
    assert told("A[ Arx1 Bwx2 Awy5 A]", kind=COUNTER) == ["stale_write certain y B>A"]


@pytest.mark.parametrize(
    ("story", "source", "expected"),
    [
        ("Arx1 Bax2<1^1 Aax3<1^2", BaseSource.OBSERVED, ["stale_write certain x B>A"]),
        ("Arx1 Bax2<1^1 Aax3<1^2", BaseSource.RECALLED, ["stale_write likely x B>A"]),
        ("Brx1 Bax2<1^1 Arx2 Aax3<2^2", BaseSource.OBSERVED, []),
    ],
)
def test_stale_append(story: str, source: BaseSource, expected: list[str]) -> None:
    """An append decided from a base that is not what it was added to."""
    assert told(story, source=source) == expected


def test_guarded_append() -> None:
    """A guard that compared the base leaves nothing stale."""
    assert told("Arx1 Bax2<1^1 Aax3<1^2", guard=Guard.VERSION) == []
