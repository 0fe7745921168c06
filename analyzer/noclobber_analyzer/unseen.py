"""What was not seen, each lack as a sentence that says what to do about it.

A verdict says for itself what it lacks (`missing`); this is about the record as a whole: spans that were lost or
dropped, strands whose parents nobody captured, accesses recorded in part, processes that did not end in order, and two
mistakes that no verdict can mend: one resource under two fingerprint keys, and one server's name that two addresses
answer to. What was lost can hide a race, and never invents one.

Source: contract 2 (`key_id`, marks), analysis.md 4. How much a lack weakens a verdict is decided by `coverage`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from noclobber.contract import FRONTIER_END, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.coverage import Lack, who
from noclobber_analyzer.history import History
from noclobber_analyzer.verdict import Candidate

__all__ = ["address_of", "addresses_of", "authority_of", "unseen"]

NAMED_MAX: Final = 3
"""Processes, resources or addresses that one sentence names; the rest is counted."""


def unseen(history: History) -> list[str]:
    """The sentences on what a history lacks; empty where nothing is known to be missing. O(accesses)."""
    return [*_lost(history), *_partial(history.accesses), *_cut_off(history), *_keys(history), *_servers(history)]


def _lost(history: History) -> Iterator[str]:
    by_lack: dict[Lack, Counter[str]] = defaultdict(Counter)
    for gap in history.coverage.gaps:
        by_lack[gap.lack][who(history.processes[gap.process])] += gap.lost
    for lack, advice in _ADVICE.items():
        if lack in by_lack:
            counted = by_lack[lack]
            yield advice.format(count=counted.total(), who=_some(name for name, _ in counted.most_common()))


_ADVICE: Final = {
    Lack.HOLE: "{count} numbered spans of {who} never arrived: look there for what its exporter says, and at "
    "`noclobber doctor` for what the collector refused",
    Lack.DROP: "{who} had to drop {count} accesses: raise NOCLOBBER_RING_MAX there, or give its collector more room",
    Lack.TAIL: "the last {count} accesses of {who} never arrived: let it end by itself, or wait for its last export",
    Lack.ORPHAN: "a strand of {who} was started by one of which nothing arrived: instrument what starts it, and give "
    "its spans to the same analysis",
}


def _partial(accesses: Iterable[Access]) -> Iterator[str]:
    counted = Counter(access.system for access in accesses if access.partial)
    if counted:
        names = _some(name for name, _ in counted.most_common())
        yield (
            f"{counted.total()} accesses to {names} were recorded in part only: docs/guide/integrations.md names the "
            "calls that are seen in full; tell others yourself with `noclobber.access`"
        )


def _cut_off(history: History) -> Iterator[str]:
    frontiers = history.coverage.frontiers
    cut = [p for name, p in history.processes.items() if frontiers.get(name, FRONTIER_END) != FRONTIER_END]
    if cut and history.coverage.ended:
        yield (
            f"the record of {_some(map(who, cut))} ends at its last mark, without an end: what it did later is not "
            "known. Let it end by itself instead of killing it"
        )


def _keys(history: History) -> Iterator[str]:
    mixed = []
    if len({process.key_id for process in history.processes.values()}) < 2:
        return
    for name, accesses in history.resources.items():
        keys = {a.process.key_id for a in accesses if a.version_kind is VersionKind.FINGERPRINT and a.process.key_id}
        if len(keys) > 1:
            mixed.append((name, keys))
    if mixed:
        keys = set().union(*(keys for _, keys in mixed))
        yield (
            f"{_some(f'`{name}`' for name, _ in mixed)} recorded under {len(keys)} fingerprint keys: prints under "
            "different keys never compare, so that races there stay unseen. Give all agents one NOCLOBBER_KEY"
        )


def _servers(history: History) -> Iterator[str]:
    found: dict[str, set[str]] = defaultdict(set)
    for access in history.accesses:
        if access.peer:
            found[authority_of(access.resource)].add(address_of(access.peer))
    mixed = {name: addresses for name, addresses in found.items() if len(addresses) > 1}
    for name, addresses in sorted(mixed.items()):
        yield (
            f"`{name}` is answered by {len(addresses)} addresses ({_some(sorted(addresses))}): if these are two "
            "servers, name each by its own (`alias_of` in the declarations); what happened across them is `possible`"
        )


def authority_of(resource: str) -> str:
    """The server's name in a resource's.

    >>> authority_of("redis://cache:6379/0/acct:42")
    'redis://cache:6379'
    """
    scheme, separator, rest = resource.partition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}"


def address_of(peer: str) -> str:
    """A peer's address; all names of this very machine are one.

    >>> address_of("127.0.0.1"), address_of("::1"), address_of("10.0.0.7")
    ('loopback', 'loopback', '10.0.0.7')
    """
    return "loopback" if peer in ("::1", "localhost") or peer.startswith("127.") else peer


def addresses_of(candidate: Candidate) -> frozenset[str]:
    """The addresses that answered the accesses of a candidate, where they bear the name of its resource's server."""
    place = authority_of(candidate.resource)
    accesses: Sequence[Access] = [access for access, _ in candidate.roles]
    return frozenset(address_of(a.peer) for a in accesses if a.peer and authority_of(a.resource) == place)


def _some(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - NAMED_MAX} more" if len(every) > NAMED_MAX else ""
    return ", ".join(every[:NAMED_MAX]) + more
