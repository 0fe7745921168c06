"""The strand in W3C baggage: others' members stay, limits hold, and what is hostile carries nothing."""

import pytest

from noclobber.transports.baggage import BYTES_MAX, MEMBERS_MAX, answer, answered, carried, with_strand

ID = "0123456789abcdef-12"
OURS = f"noclobber.strand={ID}:7"


def test_there_and_back() -> None:
    """What is put in is taken out."""
    assert with_strand(None, ID, 7) == OURS
    assert carried(OURS) == (ID, 7)
    assert answered(answer([(ID, 7), ("f" * 16 + "-1", 0)])) == [(ID, 7), ("f" * 16 + "-1", 0)]


def test_other_members_stay() -> None:
    """Letter for letter, properties and odd ones too; only an older one of ours is replaced."""
    others = "user=a%20b;ttl=1, flag ,x==;y"
    assert with_strand(others, ID, 7) == f"{others},{OURS}"
    assert with_strand(f"{others},noclobber.strand=old", ID, 7) == f"{others},{OURS}"
    assert carried(f"a=1, {OURS};p=1 ,b=2") == (ID, 7)


def test_limits() -> None:
    """A full header is left as it is, and one that is too long is not read."""
    assert with_strand(",".join(["a=1"] * MEMBERS_MAX), ID, 7) is None
    assert with_strand(",".join(["a=1"] * (MEMBERS_MAX - 1)), ID, 7) is not None
    room = BYTES_MAX - len(OURS) - 1
    assert with_strand("a" * room, ID, 7) is not None
    assert with_strand("a" * (room + 1), ID, 7) is None
    assert carried("a" * BYTES_MAX + "," + OURS) is None
    assert carried("a=1," * MEMBERS_MAX + OURS) is None


@pytest.mark.parametrize(
    "place",
    ["", "x", f"{ID}", f"{ID}:", f"{ID}:-1", f"{ID}:1e3", f"{ID}:{'9' * 40}", "0123456789ABCDEF-1:1", f"{ID}:1\n",
     f"{ID}:٣", "0123456789abcdef-0:1", f"../{ID}:1", f"{ID}:1 2", f"{ID}:007"],
)  # fmt: skip
def test_hostile_places(place: str) -> None:
    """Nothing but the one form is believed."""
    assert carried(f"noclobber.strand={place}") is None
    assert answered(place) == []
    assert answered(f"{ID}:1,{place}") == []


def test_two_claims_are_none() -> None:
    """A header that names two strands says nothing."""
    assert carried(f"{OURS},{OURS}") is None
    assert answered(",".join([f"{ID}:1"] * 9)) == []
