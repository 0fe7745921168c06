"""Blind overwrites: mostly meant, and so mostly a mere possibility."""

import pytest

from story import judge, told


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Awx1 Bwx2", ["blind_overwrite possible x A>B"], id="who knows whether it was meant"),
        pytest.param("Awx1 Brx1 Bwx2<1", [], id="it had read it"),
        pytest.param("Awx1 Awx2", [], id="its own"),
        pytest.param("Awx1 Bwx1^1", [], id="equal content"),
        pytest.param("Awx1 As5 Bg5 Bwx2", [], id="it was told"),
        pytest.param(
            "Crx0 Cwx1<0 Bwx2", ["blind_overwrite likely x C>B"], id="read-modify-write by others, never read"
        ),
        pytest.param("Crx0 Cwx1<0 Drx1 Bwx2", ["blind_overwrite possible x C>B"], id="somebody had read it"),
        pytest.param("Awx1!rejected Bwx2", [], id="nothing stood there"),
    ],
)
def test_blind_overwrite(story: str, expected: list[str]) -> None:
    """A write without a base over another strand's state."""
    assert told(story, step=False) == expected


def test_possible_is_low() -> None:
    """A mere possibility of this kind never shouts."""
    assert [str(finding.severity) for finding in judge("Awx1 Bwx2").findings] == ["low"]
