"""What the store holds of the resources that are being judged: open findings and defended accesses.

Findings are looked up by resource, so an index of the open ones stands in memory; it is read at the start and again
whenever the number of rows in the store is not the one that is known, because `noclobber analyze` writes there too.
Only findings that were first found within the kept history matter: older ones have accesses that fell out of it. When
that begins is told by the clock of a collector, when something was found by an analyzer's: they may be some minutes
apart, and what was found in these is looked at, too. Of defended accesses, which may be a thousand in a second, no more
is read than of the kept history itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from noclobber_analyzer.access import key_of
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.evaluate import Defended
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.issues import Head
from noclobber_analyzer.ledger import Ledger
from noclobber_analyzer.tables import Store, append_defended, defended_until, open_findings, read_defended

__all__ = ["Defences", "Standing"]

CLOCKS_APART_NS: Final = 600 * SECOND_NS
"""How far the clocks of collectors and analyzers may be apart."""


class Standing:
    """Open manifest findings by resource; the latent ones have a watch of their own (`live_latent`).

    Args:
        store: holds the table `findings`.
        ledger: reads and writes them.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._ids: dict[str, set[str]] = defaultdict(set)
        self._rows = -1

    def refresh(self, since_ns: int) -> None:
        """Read what others have written.

        Args:
            since_ns: when the kept history begins.
        """
        rows = int(self._store.rows("SELECT count() FROM findings")[0][0])
        if rows == self._rows:
            return
        self._ledger.forget()
        self._ids.clear()
        for name, resource in open_findings(self._store, since_ns - CLOCKS_APART_NS).items():
            self._ids[resource].add(name)
        self._rows = rows

    def of(self, resources: Iterable[str] | None) -> dict[str, Finding]:
        """Open findings on some resources, or on all (None), by id."""
        names = self._ids.keys() if resources is None else [name for name in resources if name in self._ids]
        ids = sorted(name for resource in names for name in self._ids[resource])
        return {name: finding for name, finding in self._ledger.of(ids).items() if finding.status == "open"}

    def has(self, resource: str) -> bool:
        """Whether a resource has open findings."""
        return bool(self._ids.get(resource))

    def wrote(self, heads: Sequence[Head]) -> None:
        """Revisions that were written a moment ago."""
        self._rows += len(heads)
        for head in heads:
            if head.status == "open" and head.manifest:
                self._ids[head.resource].add(head.id)
            else:
                self._ids[head.resource].discard(head.id)

    def forget(self, resources: Iterable[str]) -> None:
        """Drop resources of which nothing is kept any more."""
        for resource in resources:
            self._ids.pop(resource, None)


class Defences:
    """Defended accesses of the kept history; each is written once.

    What was said of an access last counts, so each portion of rows is later than the one before, whatever the clock
    says: it may stand still, or go back.

    Args:
        store: holds the table `defended`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[bytes, Defended]] = defaultdict(dict)
        """By resource, and by the keys of accesses."""
        self._at_ns = 0

    def read(self, since_ns: int) -> None:
        """Read what was written since the kept history began."""
        self._known.clear()
        self._at_ns = max(self._at_ns, defended_until(self._store))
        for each in read_defended(self._store, since_ns):
            self._keep(each)

    def write(self, defended: Sequence[Defended], resources: Iterable[str], now_ns: int) -> None:
        """Write what is new, and take back what no longer is defended.

        Args:
            defended: as judged now.
            resources: those that were judged, and of which nothing fell out of the kept history.
            now_ns: wall time.
        """
        now = {_key(each) for each in defended}
        fresh = [each for each in defended if self._is_new(each)]
        judged = [self._known[resource] for resource in resources if resource in self._known]
        lost = [each for known in judged for key, each in known.items() if key not in now]
        append_defended(self._store, fresh, lost, self._next_ns(now_ns))
        for each in lost:
            del self._known[each.resource][_key(each)]
        for each in fresh:
            self._keep(each)

    def add(self, defended: Iterable[Defended], now_ns: int) -> None:
        """Write those that are new."""
        fresh = [each for each in defended if self._is_new(each)]
        append_defended(self._store, fresh, (), self._next_ns(now_ns))
        for each in fresh:
            self._keep(each)

    def forget(self, keys: Iterable[bytes], resources: Iterable[str]) -> None:
        """Drop accesses that are no longer kept."""
        for resource in resources:
            self._known.pop(resource, None)
        gone = set(keys)
        for known in self._known.values() if gone else ():
            for key in known.keys() & gone:
                del known[key]

    def _next_ns(self, now_ns: int) -> int:
        self._at_ns = max(now_ns, self._at_ns + 1)
        return self._at_ns

    def _is_new(self, each: Defended) -> bool:
        known = self._known.get(each.resource, {}).get(_key(each))
        return known is None or known.reason != each.reason

    def _keep(self, each: Defended) -> None:
        self._known[each.resource][_key(each)] = each


def _key(each: Defended) -> bytes:
    return key_of(each.trace_id, each.span_id)
