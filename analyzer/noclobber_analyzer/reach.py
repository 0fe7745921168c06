"""Whose blast radius a new access may belong to, so that live analysis judges that finding anew.

What touches a finding's own resource is judged anyway; but who read a message that was sent because of it, hands away,
touches it nowhere. Of each affected access its unit and step, the version that it made, its message and the strand that
it started are remembered; an access that bears one of these may follow from it, and everything else does not.

Source: detection.md 6; analysis.md 9. It may ask too often, never too seldom; what follows is decided by `affected`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
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
        self._keys: dict[str, set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._of)

    def follow(self, findings: Iterable[Finding], access: Callable[[Name], Access | None]) -> None:
        """Remember how far findings reach; `access` gives a kept one by its name."""
        for finding in findings:
            for entry in finding.affected.accesses:
                reached = access((entry.trace_id, entry.span_id))
                for key in _left_by(reached) if reached is not None else ():
                    self._of.setdefault(key, set()).add(finding.resource)
                    self._keys[finding.resource].add(key)
        while len(self._of) > KEYS_MAX:
            self._drop(next(iter(self._of)))

    def of(self, access: Access) -> set[str]:
        """Resources of the findings that an access may follow from."""
        found: set[str] = set()
        for key in _borne_by(access):
            if key in self._of:
                found |= self._of[key]
        return found

    def forget(self, resources: Iterable[str]) -> None:
        """Drop findings on resources of which nothing is kept any more."""
        for resource in resources:
            for key in self._keys.pop(resource, ()):
                left = self._of.get(key, set())
                left.discard(resource)
                if not left:
                    self._of.pop(key, None)

    def _drop(self, key: Key) -> None:
        for resource in self._of.pop(key):
            self._keys[resource].discard(key)


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


def _borne_by(access: Access) -> Iterator[Key]:
    """By what an access may follow from others."""
    yield "unit", access.unit
    if access.step:
        yield "unit", access.step
    yield "strand", access.strand
    if access.message is not None:
        yield "message", access.message.id
    for version in (access.read, access.base):
        if version is not None:
            yield access.resource, version
    if access.scan is not None:
        yield from zip(access.scan.resources, access.scan.versions, strict=False)
