"""Latent races in live analysis: looked for when there is nothing else to do, one kept for an issue and a day.

What was judged anew is looked at again here, once a minute and only while live analysis is idle: a portion of resources
in the view that their verdicts had, without judging anything else anew. After a look it rests at least twenty times as
long as that took, so that it never costs more than a twentieth of a core, and a view that is too large is left out and
counted. Nothing waits for it, and no alert and no issue comes of it.

Of each issue and day the narrowest escape stands in the store, as in files; a narrower one takes its place. One is
taken back once it has happened, or once something is known that made the later unit wait. What fell out of the kept
history is forgotten, not taken back.

Source: detection.md 5; analysis.md 9.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from noclobber.declarations import Declarations
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.composing import CONTEXT_ROLES
from noclobber_analyzer.evaluate import lucky_findings
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History
from noclobber_analyzer.issues import Head
from noclobber_analyzer.latent import DAY_NS
from noclobber_analyzer.ledger import Ledger
from noclobber_analyzer.standing import Standing
from noclobber_analyzer.tables import Store, open_latent
from noclobber_analyzer.verdict import Name
from noclobber_analyzer.window import Window

__all__ = ["EVERY_NS", "LatentWatch", "keep_narrowest", "refuted"]

EVERY_NS: Final = 60 * SECOND_NS
REST: Final = 20
"""After a look it rests so many times as long as that took."""
RESOURCES_MAX: Final = 500
"""Resources of one look."""
PENDING_MAX: Final = 100_000
"""Resources that are to be looked at; what is beyond is left out until something touches it again."""
VIEW_MAX: Final = 50_000
"""Accesses of the largest view that is looked at."""
HAPPENED: Final = "it happened, or something made the later one wait after all"
NARROWER: Final = "a narrower escape of the same issue is told instead"

Key = tuple[str, int]
"""An issue and a day."""


class LatentWatch:
    """Looks for what luck kept apart; used by the thread of one stream.

    Args:
        store: holds the findings.
        ledger: writes them.
        window: the kept history.
        declarations: what owners know of their resources.
        every_ns: least time between two looks; 0: it never looks.

    Attributes:
        skipped: resources that were left out, since too much belongs to them or too many were waiting.
    """

    def __init__(
        self, store: Store, ledger: Ledger, window: Window, declarations: Declarations, every_ns: int = EVERY_NS
    ) -> None:
        self.skipped = 0
        self._store, self._ledger, self._window = store, ledger, window
        self._declarations = declarations
        self._every_ns = every_ns
        self._pending: dict[str, None] = {}
        self._due_ns = 0

    def note(self, resources: Iterable[str], now_ns: int) -> None:
        """Resources that were judged anew."""
        if not self._every_ns:
            return
        if not self._pending:
            self._due_ns = max(self._due_ns, now_ns + self._every_ns)
        for name in resources:
            if len(self._pending) < PENDING_MAX:
                self._pending[name] = None
            else:
                self.skipped += 1

    def look(self, history: Callable[[Iterable[str]], History], standing: Standing, now_ns: int) -> list[Head]:
        """Look at a portion, if it is time; returns the heads of what was written.

        Args:
            history: makes the history around some resources.
            standing: what the store holds of manifest findings.
            now_ns: wall time.
        """
        if not self._pending or now_ns < self._due_ns:
            return []
        begun = time.perf_counter_ns()
        names = frozenset(list(self._pending)[:RESOURCES_MAX])
        for name in names:
            del self._pending[name]
        written = self._written(names, history(names), standing.of(names).values(), now_ns)
        rest_ns = max(SECOND_NS if self._pending else self._every_ns, REST * (time.perf_counter_ns() - begun))
        self._due_ns = now_ns + rest_ns
        return written

    def _written(self, names: frozenset[str], history: History, manifest: Iterable[Finding], now_ns: int) -> list[Head]:
        if len(history.accesses) > VIEW_MAX:
            self.skipped += len(names)
            return []
        accused = _accused(manifest)
        found, waiting = lucky_findings(history, accused, resources=names, declarations=self._declarations)
        self._pending.update(dict.fromkeys(waiting))
        told = self._told()
        judged = [finding for finding in told if finding.resource in names - waiting]
        gone = refuted(judged, found, self._window.holds)
        return keep_narrowest(self._ledger, found, told, gone, now_ns)

    def _told(self) -> list[Finding]:
        """The latent findings that stand, of the kept history."""
        since_ns = max(0, self._window.horizon_ns - DAY_NS)
        return list(self._ledger.of(sorted(open_latent(self._store, since_ns))).values())


def refuted(
    told: Iterable[Finding], found: Iterable[Finding], holds: Callable[[Iterable[Name]], bool]
) -> dict[str, str]:
    """Latent findings that were judged anew and are none any more, with the reason.

    Args:
        told: latent findings that stand in the store, on what was judged.
        found: latent findings as they are now, the narrowest of each issue and day: what is wider than one of these
            need not be among them.
        holds: whether all these accesses are in the history that was judged.
    """
    narrowest = {_key(finding): finding for finding in found}
    ids = {finding.id for finding in narrowest.values()}
    gone = {}
    for finding in told:
        other = narrowest.get(_key(finding))
        wider = other is not None and _margin(other) <= _margin(finding)
        whole = holds((access.trace_id, access.span_id) for access in finding.accesses)
        if finding.id not in ids and whole and not wider:
            gone[finding.id] = HAPPENED
    return gone


def keep_narrowest(
    ledger: Ledger, found: Iterable[Finding], told: Iterable[Finding], gone: Mapping[str, str], now_ns: int
) -> list[Head]:
    """Write latent findings so that of each issue and day only the narrowest escape stands.

    Args:
        ledger: writes.
        found: latent findings, as they are now.
        told: latent findings that stand in the store.
        gone: those that no longer hold, with the reason.
        now_ns: wall time.
    """
    best: dict[Key, Finding] = {}
    fresh, left = list(found), [finding for finding in told if finding.id not in gone]
    happened = {name for name, finding in ledger.of([one.id for one in fresh]).items() if finding.manifest}
    for finding in (*left, *(one for one in fresh if one.id not in happened)):
        key = _key(finding)
        other = best.get(key)
        if other is None or other.id == finding.id or _margin(finding) < _margin(other):
            best[key] = finding
    kept = {finding.id for finding in best.values()}
    replaced = {finding.id: NARROWER for finding in left if finding.id not in kept}
    written = [finding for finding in fresh if finding.id in kept]
    return ledger.write(written, {**replaced, **gone}, now_ns)


def _key(finding: Finding) -> Key:
    return finding.issue, finding.last_ns // DAY_NS


def _margin(finding: Finding) -> tuple[int, str]:
    return finding.margin_ns or 0, finding.id


def _accused(manifest: Iterable[Finding]) -> set[Name]:
    return {
        (access.trace_id, access.span_id)
        for finding in manifest
        for access in finding.accesses
        if access.role not in CONTEXT_ROLES
    }
