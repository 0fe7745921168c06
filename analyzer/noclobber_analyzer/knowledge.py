"""Who read whose version, anywhere in the kept history: for judgements that see a part of it.

Know order runs through any resource: a writer may know of another's write since it read what a third one made of it,
somewhere else. A view around a few resources does not hold those reads, so the order of a view asks here for all of
them, once anybody asks it who knew of what. As in a whole history, the one captured write of a version that is not weak
is who made it.

Source: analysis.md 3.1 (reads-from) and 10.2.
"""

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
        self._makers: dict[tuple[str, str], Access | dict[bytes, Access]] = {}

    def add(self, access: Access) -> None:
        """Take an access."""
        if access.written is None or access.op not in WRITE_OPS or access.weak:
            return
        version = access.resource, access.written
        known = self._makers.setdefault(version, access)
        if known is access:
            return
        if not isinstance(known, dict):
            known = self._makers[version] = {known.key: known}
        known[access.key] = access

    def drop(self, access: Access) -> None:
        """Let an access go."""
        if access.written is None or access.op not in WRITE_OPS or access.weak:
            return
        version = access.resource, access.written
        known = self._makers.get(version)
        if isinstance(known, dict):
            known.pop(access.key, None)
            if known:
                return
        elif known is not access:
            return
        del self._makers[version]

    def into(self, accesses: Iterable[Access]) -> Iterator[tuple[int, str, int]]:
        """Where accesses of one strand read what another strand had made: their number, that strand, its number."""
        for access in accesses:
            for resource, version in _seen(access):
                maker = self._makers.get((resource, version))
                if isinstance(maker, dict):
                    maker = next(iter(maker.values())) if len(maker) == 1 else None
                if maker is not None and resource not in self._trimmed and maker.strand != access.strand:
                    yield access.seq, maker.strand, maker.seq


def _seen(access: Access) -> Iterator[tuple[str, str]]:
    if access.weak:
        return
    if access.op is Op.READ and access.read is not None:
        yield access.resource, access.read
    elif access.op is Op.SCAN and access.scan is not None:
        members = zip(access.scan.resources, access.scan.versions, strict=False)
        yield from ((resource, version) for resource, version in members if version)
