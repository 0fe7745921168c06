"""The strand as text: a member of W3C baggage on the way out, a header on the way back.

Other people's members are kept letter for letter, and ours is left out where the header would outgrow what every
platform must pass on. What comes from the wire is believed only if it is just what this module writes: it is read by
one pattern, and a second member of the same name makes both worthless.

Source: W3C Baggage, sections 3.2 (header content) and 3.3 (limits).
"""

import re
from typing import Final

__all__ = [
    "ANSWER",
    "BYTES_MAX",
    "HEADER",
    "MEMBERS_MAX",
    "STRANDS_MAX",
    "answer",
    "answered",
    "carried",
    "with_strand",
]

HEADER: Final = "baggage"
ANSWER: Final = "noclobber-strand"
"""Header of a response: the strands that answered."""
MEMBER: Final = "noclobber.strand"
BYTES_MAX: Final = 8192
MEMBERS_MAX: Final = 64
STRANDS_MAX: Final = 8
"""Strands in one answer."""
_STRAND = re.compile(r"([0-9a-f]{16}-[1-9][0-9]{0,14}):(0|[1-9][0-9]{0,14})", re.ASCII)
Place = tuple[str, int]
"""A strand's id, and its last number."""


def with_strand(present: str | None, strand: str, seq: int) -> str | None:
    """The header that carries `strand` beside what is `present`; None where there is no room for it."""
    others = [member for member in (present or "").split(",") if member.strip() and not _is_ours(member)]
    value = ",".join((*others, f"{MEMBER}={strand}:{seq}"))
    fits = len(others) < MEMBERS_MAX and len(value.encode("utf-8", "surrogateescape")) <= BYTES_MAX
    return value if fits else None


def carried(header: str) -> Place | None:
    """The strand that a request's header carries; None where there is none to be believed."""
    if len(header) > BYTES_MAX:
        return None
    members = header.split(",")
    ours = [member for member in members if _is_ours(member)]
    if len(members) > MEMBERS_MAX or len(ours) != 1:
        return None
    return _place(ours[0].partition("=")[2].partition(";")[0])


def answer(places: list[Place]) -> str:
    """The header of a response by `places`."""
    return ",".join(f"{strand}:{seq}" for strand, seq in places[:STRANDS_MAX])


def answered(header: str) -> list[Place]:
    """Who answered, by a response's header; empty where it is not as `answer` writes it."""
    words = header[:BYTES_MAX].split(",")
    places = [place for word in words if (place := _place(word)) is not None]
    return places if len(places) == len(words) <= STRANDS_MAX else []


def _is_ours(member: str) -> bool:
    return member.partition("=")[0].strip() == MEMBER


def _place(text: str) -> Place | None:
    found = _STRAND.fullmatch(text.strip(" \t"))
    return (found[1], int(found[2])) if found else None
