"""Whose blast radius a new access may belong to, so that live analysis judges that finding anew.

What touches a finding's own resource is judged anyway; but who read a message that was sent because of it, hands away,
touches it nowhere. Of each affected access its unit and step, the version that it made, its message and the strand that
it started are remembered; an access that bears one of these may follow from it, and everything else does not.

Source: detection.md 6; analysis.md 9. It may ask too often, never too seldom; what follows is decided by `affected`.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

from noclobber.contract import Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.verdict import Name

__all__ = ["Reach"]

KEYS_MAX: Final = 200_000
"""What is remembered at most; the oldest goes first."""

Key = tuple[str, str]
"""What kind of thing, and its name."""


class Reach:
    """The ends of the open findings' blast radii."""

    def __init__(self) -> None:
        self._of: dict[Key, set[str]] = {}
        self._made_of: dict[str, int] = defaultdict(int)
        self._keys: dict[str, set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._of)

    def follow(self, findings: Iterable[Finding], access: Callable[[Name], Access | None]) -> None:
        """Remember how far findings reach; `access` gives a kept one by its name."""
        for finding in findings:
            for entry in finding.affected.accesses:
                reached = access((entry.trace_id, entry.span_id))
                for key in _left_by(reached) if reached is not None else ():
                    if key not in self._of:
                        self._of[key] = set()
                        self._made_of[key[0]] += 1
                    self._of[key].add(finding.resource)
                    self._keys[finding.resource].add(key)
        while len(self._of) > KEYS_MAX:
            self._drop(next(iter(self._of)))

    def of(self, access: Access) -> set[str]:
        """Resources of the findings that an access may follow from."""
        found: set[str] = set()
        for key in _borne_by(access, self._made_of):
            if key in self._of:
                found |= self._of[key]
        return found

    def forget(self, resources: Iterable[str]) -> None:
        """Drop findings on resources of which nothing is kept any more."""
        for resource in resources:
            for key in self._keys.pop(resource, ()):
                left = self._of.get(key, set())
                left.discard(resource)
                if not left and self._of.pop(key, None) is not None:
                    self._gone(key)

    def _drop(self, key: Key) -> None:
        for resource in self._of.pop(key):
            self._keys[resource].discard(key)
        self._gone(key)

    def _gone(self, key: Key) -> None:
        self._made_of[key[0]] -= 1
        if not self._made_of[key[0]]:
            del self._made_of[key[0]]


def _left_by(access: Access) -> Iterator[Key]:
    """What others bear that follow from an access."""
    yield "unit", access.unit
    if access.step:
        yield "unit", access.step
    if access.written is not None:
        yield access.resource, access.written
    if access.op is Op.SEND and access.message is not None:
        yield "message", access.message.id
    if access.op is Op.SPAWN and access.strand_other:
        yield "strand", access.strand_other


def _borne_by(access: Access, left: Container[str]) -> list[Key]:
    """By what an access may follow from others; `left`: the sorts of what others left, so that no more is named."""
    found = [("unit", access.unit), ("strand", access.strand)]
    if access.step:
        found.append(("unit", access.step))
    if access.message is not None:
        found.append(("message", access.message.id))
    if access.resource in left:
        found += [(access.resource, version) for version in (access.read, access.base) if version is not None]
    if access.scan is not None:
        found += zip(access.scan.resources, access.scan.versions, strict=False)
    return found
