"""Who read whose version, anywhere in the kept history: for judgements that see a part of it.

Know order runs through any resource: a writer may know of another's write since it read what a third one made of it,
somewhere else. A view around a few resources does not hold those reads, so the order of a view asks here for all of
them, once anybody asks it who knew of what. As in a whole history, the one captured write of a version that is not weak
is who made it.

Source: analysis.md 3.1 (reads-from) and 10.2.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from noclobber.contract import Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.fate import WRITE_OPS

__all__ = ["Knowledge"]


class Knowledge:
    """The makers of the versions in a window.

    Args:
        trimmed: resources of which older accesses fell out; another maker of a version may be among these.
    """

    def __init__(self, trimmed: Collection[str] = frozenset()) -> None:
        self._trimmed = trimmed
        self._makers: dict[tuple[str, str], dict[bytes, Access]] = defaultdict(dict)

    def add(self, access: Access) -> None:
        """Take an access."""
        if access.written is not None and access.op in WRITE_OPS and not access.weak:
            self._makers[access.resource, access.written][access.key] = access

    def drop(self, access: Access) -> None:
        """Let an access go."""
        if access.written is not None and access.op in WRITE_OPS and not access.weak:
            makers = self._makers.get((access.resource, access.written), {})
            makers.pop(access.key, None)
            if not makers:
                self._makers.pop((access.resource, access.written), None)

    def into(self, accesses: Iterable[Access]) -> Iterator[tuple[int, str, int]]:
        """Where accesses of one strand read what another strand had made: their number, that strand, its number."""
        for access in accesses:
            for resource, version in _seen(access):
                makers = self._makers.get((resource, version), {})
                if len(makers) == 1 and resource not in self._trimmed:
                    (maker,) = makers.values()
                    if maker.strand != access.strand:
                        yield access.seq, maker.strand, maker.seq


def _seen(access: Access) -> Iterator[tuple[str, str]]:
    if access.weak:
        return
    if access.op is Op.READ and access.read is not None:
        yield access.resource, access.read
    elif access.op is Op.SCAN and access.scan is not None:
        members = zip(access.scan.resources, access.scan.versions, strict=False)
        yield from ((resource, version) for resource, version in members if version)
