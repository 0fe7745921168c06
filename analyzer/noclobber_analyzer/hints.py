"""What a judgement says of resources that it was not about: a verdict there, or that accesses to them are accused.

A verdict stands at one resource and accuses accesses to others: a deadlock is named by the wait that closed it,
wherever the others waited. Whatever arrives last may touch any of them, and only that one is judged. So two things are
handed on. Who comes upon a verdict that is another resource's to give has that one judged (it is *asked*); if it does
not say so, all that the verdict would accuse is judged again, for it counts as defended or not by that. And where a
finding is new, or gone, or accuses others than before, whatever else it accuses is judged again (it is *told*).

Where several analyzers share a store, this goes through the table `conflicts` to whoever owns the resource. That one
may not have read yet what the other had: so what was said of a resource is remembered with the others that it rests on,
and what arrives there has it judged once more. A hint is no verdict: one too many costs a judgement.

Source: analysis.md 10.3 (what is handed on between ranges), contract 3 (defended).
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Final

from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.elsewhere import Hint, hints_of
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.ledger import access_names
from noclobber_analyzer.tables import Store

__all__ = ["TYPES", "Hints", "turned"]

ASKED: Final = "asked"
TOLD: Final = "told"
TYPES: Final = (ASKED, TOLD)
"""How hints stand in the table `conflicts`, beside the types of edges."""
HINTS_MAX: Final = 10_000
"""Hints that are remembered; the oldest is forgotten."""
OVERLAP_NS: Final = 120 * SECOND_NS
"""How far back others' hints are read again: their clocks differ, and inserts become visible out of order."""


def turned(before: Finding | None, now: Finding | None) -> bool:
    """Whether a finding accuses others than before."""
    return before is None or now is None or access_names(before) != access_names(now)


class Hints:
    """What one analyzer asks and tells, and what others do.

    Args:
        store: holds the table `conflicts`.
        own: which of some resources are this analyzer's to judge.
        owner: names the analyzer; "": there are no others.
    """

    def __init__(self, store: Store, own: Callable[[Iterable[str]], list[str]], owner: str = "") -> None:
        self._store, self._own, self._owner = store, own, owner
        self._asked: OrderedDict[Hint, int] = OrderedDict()
        self._open: dict[str, set[Hint]] = defaultdict(set)
        self._rests: dict[str, dict[str, None]] = defaultdict(dict)
        self._heard: OrderedDict[tuple[str, Hint], int] = OrderedDict()
        self._heard_ns = self._told_ns = 0

    def ask(self, hints: Iterable[Hint], stands: Callable[[Hint], bool], changes: int, now_ns: int) -> set[str]:
        """Have verdicts given elsewhere; returns one's own resources that are to be judged.

        Args:
            hints: as a judgement gave them.
            stands: whether it is said there already.
            changes: what is asked is not asked again as long as this is the same.
            now_ns: wall time.
        """
        fresh = [hint for hint in hints if self._asked.get(hint) != changes and not stands(hint)]
        for hint in fresh:
            self._asked[hint] = changes
            self._open[hint.resource].add(hint)
        while len(self._asked) > HINTS_MAX:
            self._close(self._asked.popitem(last=False)[0])
        return self._hand_on(ASKED, fresh, now_ns)

    def answer(self, judged: Iterable[str], found: Collection[str], now_ns: int) -> set[str]:
        """What was asked of these resources was decided; returns one's own that are to be judged because of that.

        Args:
            judged: resources.
            found: ids of the findings there.
            now_ns: wall time.
        """
        denied: list[Hint] = []
        for name in judged if self._open else ():
            hints = self._open.pop(name, ())
            denied += [Hint(each.finding, each.by, each.resource) for each in hints if each.finding not in found]
        return self._hand_on(TOLD, denied, now_ns)

    def tell(self, findings: Iterable[Finding], judged: Collection[str], now_ns: int) -> set[str]:
        """What findings accuse now, or no longer do; returns one's own resources, besides those that were judged."""
        told: list[Hint] = []
        for finding in findings:
            accused = {access.resource for access in finding.accesses} | {finding.resource}
            for name in sorted(accused.difference(judged)):
                told += hints_of(finding.id, name, accused)
        return self._hand_on(TOLD, told, now_ns)

    def _hand_on(self, type_: str, hints: Collection[Hint], now_ns: int) -> set[str]:
        own = set(self._own({hint.resource for hint in hints})) if hints else set[str]()
        others = [hint for hint in hints if hint.resource not in own] if self._owner else []
        if others:
            at_ns = self._told_ns = max(now_ns, self._told_ns + 1)  # what is said again is later
            rows = [(self._owner, each.finding, each.by, type_, each.resource, at_ns) for each in others]
            self._store.insert("conflicts", ("owner", "source", "target", "type", "resource", "at_ns"), rows)
        return own

    def hear(self, now_ns: int, kept_ns: int) -> set[str]:
        """Read what others asked and told; returns one's own resources that are to be judged because of that."""
        sql = (
            "SELECT type, source, resource, target, max(at_ns) FROM conflicts WHERE at_ns >= {since:UInt64} "
            "AND owner != {owner:String} AND type IN {types:Array(String)} GROUP BY type, source, resource, target"
        )
        since_ns = max(0, (self._heard_ns or now_ns - kept_ns) - OVERLAP_NS)
        rows = self._store.rows(sql, {"since": since_ns, "owner": self._owner, "types": list(TYPES)})
        fresh: list[tuple[str, Hint]] = []
        for type_, finding, resource, by, at_ns in rows:
            said = str(type_), Hint(str(finding), str(resource), str(by))
            if int(at_ns) > self._heard.get(said, 0):
                self._heard[said] = int(at_ns)
                self._heard_ns = max(self._heard_ns, int(at_ns))
                fresh.append(said)
        own = set(self._own({hint.resource for _, hint in fresh})) if fresh else set[str]()
        for type_, hint in fresh:
            if hint.resource in own:
                self._rests[hint.by][hint.resource] = None
                if type_ == ASKED:
                    self._open[hint.resource].add(hint)
        while len(self._heard) > HINTS_MAX:
            self._forget(self._heard.popitem(last=False)[0][1])
        return own

    def bearing_on(self, resources: Iterable[str]) -> set[str]:
        """Resources of which others said something that rests on what was done to these."""
        return {name for by in resources for name in self._rests.get(by, ())} if self._rests else set()

    def _forget(self, hint: Hint) -> None:
        self._close(hint)
        resting = self._rests.get(hint.by)
        if resting is not None:
            resting.pop(hint.resource, None)
            if not resting:
                del self._rests[hint.by]

    def _close(self, hint: Hint) -> None:
        hints = self._open.get(hint.resource)
        if hints is not None:
            hints.discard(hint)
            if not hints:
                del self._open[hint.resource]
