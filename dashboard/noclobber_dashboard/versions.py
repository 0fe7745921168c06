"""What a person calls the versions of a resource in one picture.

A counter's version is a number and is shown as one, `v8`. A fingerprint or checkpoint id is long and opaque, so
each state gets a letter in the order in which the slice meets it: what was there is A, the first write makes B. The
letters are the picture's own, so the print stands beside them wherever there is room.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from noclobber.contract import ABSENT, VersionKind
from noclobber_dashboard.records import AccessRecord

__all__ = ["VersionNames", "VersionUse", "version_uses"]

PRINT_CHARACTERS = 6
_NUMBERED = (VersionKind.COUNTER, VersionKind.ORDERED)


class VersionNames:
    """Short names for the versions of each resource, in the order of their first appearance.

    Args:
        events: accesses by start.
        witness: keys of those whose versions come first in the alphabet: the ones that the reader is told of.
    """

    def __init__(self, events: Sequence[AccessRecord], witness: Container[str] = ()) -> None:
        self._opaque: dict[str, dict[str, str]] = {}
        self._numbered = {event.resource for event in events if event.version_kind in _NUMBERED}
        for event in sorted(events, key=lambda event: event.key not in witness):
            for version in _in_order(event):
                self._learn(event.resource, version)

    def _learn(self, resource: str, version: str) -> None:
        if not version or version == ABSENT or resource in self._numbered:
            return
        known = self._opaque.setdefault(resource, {})
        if version not in known:
            number = len(known)
            known[version] = chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")

    def name(self, resource: str, version: str) -> str:
        """`v8`, `B`, `nothing` for the absent state; empty for no version."""
        if not version:
            return ""
        if version == ABSENT:
            return "nothing"
        if resource in self._numbered:
            return f"v{version}"
        return self._opaque.get(resource, {}).get(version, version[:PRINT_CHARACTERS])

    def print_of(self, resource: str, version: str) -> str:
        """The first characters of an opaque version; empty for a number, whose name says it all."""
        said = version and version != ABSENT and resource not in self._numbered
        return version[:PRINT_CHARACTERS] if said else ""


@dataclass(slots=True)
class VersionUse:
    """One state of the resource: who made it, who read it, who built on it, who replaced it."""

    version: str
    made_by: list[str] = field(default_factory=list)
    read_by: list[str] = field(default_factory=list)
    base_of: list[str] = field(default_factory=list)
    replaced_by: list[str] = field(default_factory=list)
    candidate_of: list[str] = field(default_factory=list)


def version_uses(events: Sequence[AccessRecord], resource: str) -> list[VersionUse]:
    """The states of one resource in order of appearance, with the agents that used them; weak ones too."""
    uses: dict[str, VersionUse] = {}
    for event in events:
        if event.resource != resource:
            continue
        for version in _in_order(event):
            uses.setdefault(version, VersionUse(version))
        _note(uses, event)
    return list(uses.values())


def _note(uses: dict[str, VersionUse], event: AccessRecord) -> None:
    pairs = [
        ("made_by", event.version_written if event.outcome in ("ok", "") else ""),
        ("read_by", event.version_read if event.op in ("read", "scan") else ""),
        ("base_of", event.version_base),
        ("replaced_by", event.version_overwritten),
    ]
    pairs += [("candidate_of", version) for version in event.version_candidates]
    for name, version in pairs:
        if version:
            agents: list[str] = getattr(uses[version], name)
            if event.agent not in agents:
                agents.append(event.agent)


def _in_order(event: AccessRecord) -> Iterable[str]:
    """Every version that an access names, oldest state first."""
    candidates = event.version_candidates
    seen = (*candidates, event.version_base, event.version_read, event.version_overwritten, event.version_written)
    return [version for version in dict.fromkeys(seen) if version]
