"""Where in the agents' code a finding is to be shown: the write that did the harm, else any access with a code site."""

import re
from typing import NamedTuple

from noclobber_analyzer.finding import Finding

__all__ = ["Place", "place_of", "places_of"]

HARMING = ("overwriter", "either", "child", "stale_write", "claim", "dirty_read")
_CODE = re.compile(r"^(?P<file>.+?):(?P<line>\d+)(?: in (?P<function>.+))?$")


class Place(NamedTuple):
    """A line of code, and whose access was made there."""

    file: str
    line: int
    role: str


def place_of(finding: Finding) -> Place | None:
    """The line to point at."""
    places = places_of(finding)
    return next((place for place in reversed(places) if place.role in HARMING), places[-1] if places else None)


def places_of(finding: Finding) -> list[Place]:
    """All lines of code in a finding's story."""
    places = []
    for access in finding.accesses:
        match = _CODE.match(access.code or "")
        if match is not None:
            places.append(Place(match["file"], int(match["line"]), access.role))
    return places
