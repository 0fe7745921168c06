"""What the recording lacks, each as a sentence that says what to do: the Health page's word, and the API's.

The same lacks as `noclobber check` names (`noclobber_analyzer.unseen`), here from what the store counts over its
window: holes and drops, strands whose parents never arrived, partial accesses, silent processes, resources under two
fingerprint keys, and servers' names that two addresses answer to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.unseen import address_of
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import ProcessRecord, ResourceHead
from noclobber_dashboard.wording import plural

__all__ = ["lacks", "mixed_keys", "mixed_servers", "state_of"]

SILENT_NS: Final = 10_000_000_000
"""A process that marks its frontier each second and has not for this long is silent."""
NAMED_MAX: Final = 3


def state_of(record: ProcessRecord, now_ns: int) -> str:
    """`ended` in order, `live`, `silent` (its frontier stands still), or `no marks` (it never said how far it is)."""
    if record.frontier_ns >= FRONTIER_END:
        return "ended"
    if record.frontier_ns == 0:
        return "no marks"
    return "silent" if now_ns - max(record.frontier_ns, record.last_ns) > SILENT_NS else "live"


def lacks(queries: Queries, now_ns: int) -> list[str]:
    """The sentences; empty where nothing is known to be missing."""
    processes = queries.processes()
    return [
        *mixed_keys(queries.resources()),
        *mixed_servers(queries.addresses()),
        *_silent([record for record in processes if state_of(record, now_ns) == "silent"]),
        *_lost(processes),
        *_orphans(processes, queries.orphans()),
        *_partial(queries.totals().get("partial", 0)),
    ]


def mixed_keys(resources: Iterable[ResourceHead]) -> list[str]:
    """Resources under two fingerprint keys: their versions never compare."""
    mixed = [head for head in resources if len([key for key in head.keys if key]) > 1]
    if not mixed:
        return []
    keys = sorted({key for head in mixed for key in head.keys if key})
    return [
        f"Two fingerprint keys are in use on {_some(head.resource for head in mixed)} ({_some(keys)}): versions under "
        "different keys do not compare, so that races there stay unseen. Give all agents one NOCLOBBER_KEY."
    ]


def mixed_servers(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names that two addresses answer to: perhaps these are two servers."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[str(row["authority"])].add(address_of(str(row["address"])))
    return [
        f"{name} is answered by {len(addresses)} addresses ({_some(sorted(addresses))}). If these are two servers, "
        "name each by its own (alias_of in the declarations); what happened across them is possible at most."
        for name, addresses in sorted(found.items())
        if len(addresses) > 1
    ]


def _silent(silent: Sequence[ProcessRecord]) -> list[str]:
    if not silent:
        return []
    return [
        f"{plural(len(silent), 'process')} fell silent without ending: {_some(map(_name, silent))}. Verdicts that rest "
        "on the absence of an access wait for them, or say so. See whether it hangs, was killed, or can't reach the "
        "collector."
    ]


def _lost(processes: Sequence[ProcessRecord]) -> list[str]:
    holes = [record for record in processes if record.holes]
    dropped = [record for record in processes if record.dropped]
    found = []
    if holes:
        count = sum(record.holes for record in holes)
        found.append(
            f"{plural(count, 'access')} of {_some(map(_name, holes))} never arrived. What was lost can hide a race, "
            "never invent one. Look there for what its exporter says, and at noclobber doctor for what was refused."
        )
    if dropped:
        count = sum(record.dropped for record in dropped)
        found.append(
            f"{_some(map(_name, dropped))} had to drop {plural(count, 'access')}: raise NOCLOBBER_RING_MAX there, or "
            "give its collector more room."
        )
    return found


def _orphans(processes: Sequence[ProcessRecord], orphans: Mapping[str, int]) -> list[str]:
    known = [record for record in processes if record.process in orphans]
    if not known:
        return []
    count = sum(orphans[record.process] for record in known)
    return [
        f"{plural(count, 'strand')} of {_some(map(_name, known))} {'was' if count == 1 else 'were'} started by strands "
        "of which nothing arrived: instrument what starts them, and send its spans here, too."
    ]


def _partial(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{plural(count, 'access')} {'was' if count == 1 else 'were'} captured only in part: the guide's page on "
        "integrations names the calls that are seen in full; tell others yourself with noclobber.access."
    ]


def _name(record: ProcessRecord) -> str:
    return f"{record.service or record.process} ({record.pid})"


def _some(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - NAMED_MAX:,} more" if len(every) > NAMED_MAX else ""
    return ", ".join(every[:NAMED_MAX]) + more
