"""Blast radius: who came to know what a finding spoilt."""

from story import judge


def reached(story: str) -> list[tuple[str, str]]:
    """The affected accesses of a story's first finding, as (strand, op)."""
    return [(access.strand, access.op) for access in judge(story).findings[0].affected.accesses]


def test_readers_and_what_they_wrote_from_it() -> None:
    """Whoever read the overwriting version, and the write that was computed from it, and its readers."""
    story = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Cwx4<3^3 Drx4"
    assert reached(story) == [("C", "read"), ("C", "write"), ("D", "read")]


def test_who_read_another_version_is_not_affected() -> None:
    """A reader of the lost version itself knows nothing wrong."""
    assert reached("Arx1 Brx1 Awx2<1^1 Crx2 Bwx3<1^2") == []


def test_messages_carry_it_on() -> None:
    """What the reader then sent, and who received it."""
    assert reached("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Cs9 Dg9") == [("C", "read"), ("C", "send"), ("D", "receive")]


def test_an_effect_makes_it_worse() -> None:
    """Something outside that came of it raises the severity."""
    quiet = judge("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3").findings[0]
    loud = judge("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Ce9").findings[0]
    assert loud.severity.rank > quiet.severity.rank
    assert loud.id == quiet.id
