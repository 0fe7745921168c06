"""What was found, written so that doing it twice changes nothing.

A finding is written once for each of its revisions: first as revision 1, again with the next number if anything of it
changed, and as `retracted` if it no longer holds. What equals the newest revision in the store is not written, so
work that is repeated after a crash leaves the store as it is. The kind of a finding once written never changes: if
the same accesses are judged to be another, earlier kind later on, the old finding stays and names the new kind in
`also`.

Source: contract 3, analysis.md 4 (late data) and 9 (order of writing).
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.issues import Head
from noclobber_analyzer.tables import Store, append_findings, findings_of, head_of

__all__ = ["Ledger", "access_names", "kept_kinds"]

CACHED_MAX = 20_000
"""Findings whose newest revision is kept in memory; others are read when they come up again."""
IDS_MAX = 500
"""Findings asked for in one statement: their ids stand in a URL, where the store is a server."""


class Ledger:
    """The findings in a store; used by one thread.

    Args:
        store: holds the table `findings`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[Finding, int]] = OrderedDict()

    def write(self, found: Iterable[Finding], gone: Mapping[str, str], now_ns: int) -> list[Head]:
        """Write what is new or changed.

        Args:
            found: findings that hold.
            gone: findings that no longer hold, by id, with the reason.
            now_ns: wall time.

        Returns:
            The heads of the revisions written.
        """
        holding = {finding.id: finding for finding in found}
        self._read([*holding, *gone])
        rows = [self._revised(finding, now_ns) for finding in holding.values()]
        rows += [self._retracted(name, reason) for name, reason in gone.items() if name not in holding]
        fresh = [row for row in rows if row is not None]
        append_findings(self._store, fresh)
        for finding, found_ns in fresh:
            self._keep(finding, found_ns)
        return [head_of(finding, found_ns) for finding, found_ns in fresh]

    def forget(self) -> None:
        """Others have written: read everything again when it comes up."""
        self._known.clear()

    def of(self, ids: Sequence[str]) -> dict[str, Finding]:
        """The newest revision of each of these that is in the store."""
        self._read(ids)
        return {name: self._known[name][0] for name in ids if name in self._known}

    def _read(self, ids: Sequence[str]) -> None:
        unknown = [name for name in ids if name not in self._known]
        for at in range(0, len(unknown), IDS_MAX):
            for finding, found_ns in findings_of(self._store, unknown[at : at + IDS_MAX]).values():
                self._keep(finding, found_ns)
        for name in [name for name in ids if name in self._known]:
            self._known.move_to_end(name)
        while len(self._known) > max(CACHED_MAX, len(ids)):
            self._known.popitem(last=False)

    def _keep(self, finding: Finding, found_ns: int) -> None:
        self._known[finding.id] = (finding, found_ns)
        self._known.move_to_end(finding.id)

    def _revised(self, finding: Finding, now_ns: int) -> tuple[Finding, int] | None:
        if finding.id not in self._known:
            return finding, now_ns
        known, found_ns = self._known[finding.id]
        if msgspec.structs.replace(finding, revision=known.revision) == known:
            return None
        return msgspec.structs.replace(finding, revision=known.revision + 1), found_ns

    def _retracted(self, name: str, reason: str) -> tuple[Finding, int] | None:
        if name not in self._known:
            return None
        known, found_ns = self._known[name]
        if known.status == "retracted":
            return None
        said = f"Retracted: {reason}. Before: {known.explanation}"
        changed = msgspec.structs.replace(known, status="retracted", revision=known.revision + 1, explanation=said)
        return changed, found_ns


def access_names(finding: Finding) -> frozenset[tuple[str, str]]:
    """Trace and span ids of a finding's accesses."""
    return frozenset((access.trace_id, access.span_id) for access in finding.accesses)


def kept_kinds(found: Sequence[Finding], vanished: Mapping[str, Finding]) -> list[Finding]:
    """What was found, where accesses that had a finding of another kind keep it.

    Args:
        found: findings as they are judged now.
        vanished: findings written before, by id, that are not among them.

    Returns:
        `found`, each that covers all accesses of a vanished finding replaced by that one, which names it in `also`.
    """
    kept: dict[str, Finding] = {}
    older = [(access_names(one), one) for _, one in sorted(vanished.items())]
    for finding in found:
        names = access_names(finding)
        fitting = (
            one
            for covered, one in older
            if covered <= names and one.kind != finding.kind and one.resource == finding.resource
        )
        old = next(fitting, None)
        if old is None:
            kept[finding.id] = finding
            continue
        old = kept.get(old.id, old)
        also = dict.fromkeys((*old.also, finding.kind, *finding.also))
        also.pop(old.kind, None)
        kept[old.id] = msgspec.structs.replace(old, also=tuple(also), status="open")
    return list(kept.values())
