"""What the record says of itself: holes, drops, clocks, keys, names, and whether its files are sound.

Each question is one statement over the store with a limit; what it finds weakens verdicts, so each line says how. How
far clocks are apart is asked twice: marks bound it roughly, exchanges between machines bound it both ways.

Source: contract 1 (resource attributes), 2.2 (clocks); storage.md 12 (CHECK TABLE).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from noclobber_collector.errors import StoreError
from noclobber_collector.store import Store
from noclobber_sidecar.doctor_lines import Line, fine, note, problem

__all__ = ["record"]

SHOWN_MAX: Final = 5
AHEAD_MS: Final = 100
"""A mark that arrives so long before it was made: that clock is ahead, by this at least."""
BEHIND_MS: Final = 5_000
"""A mark that always arrives so late: that clock is behind, or its spans are sent late."""
CHECKED: Final = ("accesses", "findings", "transitions", "deliveries", "ingest", "cursors")

TOTALS: Final = (
    "SELECT countIf(op NOT IN ('', 'mark')), countIf(partial = 1 AND op != 'mark'), uniqExactIf(process, op != '') "
    "FROM accesses"
)
HOLES: Final = (
    "SELECT any(service), any(pid), sum(top - seen) AS holes FROM (SELECT process, strand, max(seq) AS top, "
    "uniqExact(seq) AS seen, any(service) AS service, any(pid) AS pid FROM accesses WHERE op NOT IN ('', 'mark') "
    "AND strand != '' GROUP BY process, strand) GROUP BY process HAVING holes > 0 ORDER BY holes DESC LIMIT 100"
)
DROPPED: Final = "SELECT service, pid, dropped FROM processes WHERE dropped > 0 ORDER BY dropped DESC LIMIT 100"
RESTING: Final = (
    "SELECT any(service), any(pid), max(dropped) FROM accesses WHERE op = 'mark' AND partial = 1 "
    "GROUP BY process ORDER BY process LIMIT 100"
)
CLOCKS: Final = (
    "SELECT any(host), any(service), uniqExact(process), "
    "min(toInt64(bitShiftRight(segment, 16)) - toInt64(intDiv(end_ns, 1000000))) AS least_ms "
    "FROM accesses WHERE op = 'mark' GROUP BY clock, if(clock = '', host, '') ORDER BY least_ms LIMIT 1000"
)
KEYS: Final = (
    "SELECT resource, groupUniqArray(10)(toString(key_id)) FROM accesses WHERE op NOT IN ('', 'mark') AND key_id != '' "
    "GROUP BY resource HAVING uniqExact(key_id) > 1 ORDER BY count() DESC LIMIT 100"
)
CHECK: Final = "CHECK TABLE {table:Identifier} SETTINGS check_query_single_value_result = 0"
AUTHORITY: Final = "extract(resource, '^[a-z0-9+.-]+://([^/]*)')"
ONE_PEER: Final = (
    f"SELECT peer, groupUniqArray(10)(authority) FROM (SELECT toString(system) AS system, "  # noqa: S608  constants only
    f"toString(network_peer_address) AS peer, {AUTHORITY} AS authority FROM accesses "
    "WHERE op NOT IN ('', 'mark') AND network_peer_address != '') WHERE authority != '' "
    "GROUP BY system, peer, extract(authority, ':([0-9]+)$') HAVING uniqExact(authority) > 1 LIMIT 100"
)
ONE_NAME: Final = (
    f"SELECT {AUTHORITY} AS authority, groupUniqArray(10)(toString(network_peer_address)) FROM accesses "  # noqa: S608  constants only
    "WHERE op NOT IN ('', 'mark') AND network_peer_address != '' AND authority != '' "
    "GROUP BY system, authority HAVING uniqExact(network_peer_address) > 1 LIMIT 100"
)


def record(store: Store) -> Iterator[Line]:
    """Everything that the record can be asked; a question that fails is said to be unanswered."""
    questions: list[tuple[str, Callable[[Store], Iterator[Line]]]] = [
        ("dropped", _losses),
        ("clocks", _clocks),
        ("keys", _keys),
        ("names", _names),
        ("store", _files),
    ]
    for area, question in questions:
        try:
            yield from question(store)
        except StoreError as error:
            yield problem(area, f"the store does not answer: {error}", "see the engine's last lines")


def _losses(store: Store) -> Iterator[Line]:
    ((accesses, partial, processes),) = store.rows(TOTALS)
    yield fine("dropped", f"{accesses} accesses of {processes} processes are stored")
    holes, dropped = store.rows(HOLES), store.rows(DROPPED)
    advice = "what rests on the absence of an access is possible at most there"
    if holes:
        total = sum(int(row[2]) for row in holes)
        yield problem("dropped", f"{total} accesses were made and never arrived: {_named(holes)}", advice)
    if dropped:
        total = sum(int(row[2]) for row in dropped)
        yield problem("dropped", f"{total} accesses were dropped by agents: {_named(dropped)}",
                      "raise NOCLOBBER_RING_MAX or NOCLOBBER_SPOOL_BYTES_MAX there")  # fmt: skip
    resting = store.rows(RESTING)
    if resting:
        yield problem("dropped", f"recording switched itself off, calls passed unseen: {_named(resting)}",
                      "it took more than its share of a processor: raise NOCLOBBER_CPU_BUDGET there, or leave "
                      "resources out with NOCLOBBER_EXCLUDE")  # fmt: skip
    if partial:
        yield note("dropped", f"{partial} accesses say that their capture is incomplete", advice)


def _named(rows: list[tuple[Any, ...]]) -> str:
    shown = [f"{service or 'a process'} (pid {pid}): {count}" for service, pid, count in rows[:SHOWN_MAX]]
    return ", ".join(shown) + (f" and {len(rows) - SHOWN_MAX} more" if len(rows) > SHOWN_MAX else "")


def _clocks(store: Store) -> Iterator[Line]:
    """Marks travel forward in time only: the least time from making to arrival bounds the clock's error."""
    rows = store.rows(CLOCKS)
    if not rows:
        yield note("clocks", "no process has sent a mark, so nothing is known of clocks")
        return
    for host, service, count, least_ms in rows:
        who = f"{host or 'an unknown host'} ({count} process{'es' * (count != 1)}, {service or 'no service name'})"
        advice = "accesses of this clock and of others are ordered by versions and messages only; set its time"
        if least_ms < -AHEAD_MS:
            yield problem("clocks", f"{who}: its clock is ahead by {-least_ms / 1000:.2f} s at least", advice)
        elif least_ms > BEHIND_MS:
            yield problem("clocks", f"{who}: behind by up to {least_ms / 1000:.2f} s, or its spans come late", advice)
    spread_ms = rows[-1][3] - rows[0][3]
    told = "one clock" if len(rows) == 1 else f"{len(rows)} clocks, at most {spread_ms / 1000:.2f} s apart as seen here"
    yield fine("clocks", told)
    yield from _measured(store) if len(rows) > 1 else ()


def _measured(store: Store) -> Iterator[Line]:
    """What messages and reads between machines prove of their clocks: narrower than what marks tell."""
    from noclobber_analyzer.stored_clocks import stored_clocks

    bounds = stored_clocks(store)
    apart = bounds.apart()
    for each in apart[:SHOWN_MAX]:
        yield note("clocks", str(each))
    if len(apart) > SHOWN_MAX:
        yield note("clocks", f"and {len(apart) - SHOWN_MAX} more pairs of clocks")
    if bounds.contradicted:
        advice = "a clock was set or a machine slept: their times order nothing until the hour is over"
        yield problem("clocks", f"what is recorded of {len(bounds.contradicted)} clocks contradicts itself", advice)


def _keys(store: Store) -> Iterator[Line]:
    rows = store.rows(KEYS)
    if not rows:
        yield fine("keys", "every resource is printed under one key")
        return
    shown = "; ".join(f"{resource} under {', '.join(sorted(keys))}" for resource, keys in rows[:SHOWN_MAX])
    yield problem("keys", f"{_many(rows)} resources are printed under different keys: {shown}",
                  "their fingerprints do not compare: give all agents the same NOCLOBBER_KEY")  # fmt: skip


def _names(store: Store) -> Iterator[Line]:
    """Equal identifiers mean the same resource: one server under two names, or two under one, break that."""
    one_peer, one_name = store.rows(ONE_PEER), store.rows(ONE_NAME)
    for peer, authorities in one_peer[:SHOWN_MAX]:
        yield problem("names", f"the server at {peer} goes by {', '.join(sorted(authorities))}",
                      "races between these names are not seen: declare `alias_of`")  # fmt: skip
    for authority, peers in one_name[:SHOWN_MAX]:
        yield problem("names", f"{authority} is answered by {', '.join(sorted(peers))}",
                      "if these are different servers, what is found there is possible at most")  # fmt: skip
    if not one_peer and not one_name:
        yield fine("names", "every server goes by one name")


def _many(rows: list[tuple[Any, ...]]) -> str:
    return f"{len(rows)}" if len(rows) < 100 else "100 or more"


def _files(store: Store) -> Iterator[Line]:
    """CHECK TABLE reads everything: the engine itself starts, and counts right, over a damaged part."""
    damaged = []
    for table in CHECKED:
        _, answer = store.raw(CHECK, {"table": store.local(table)}, {}, "JSONEachRow")
        parts = [json.loads(line) for line in answer.splitlines()]
        damaged += [f"{table} {part['part_path']}: {part['message']}" for part in parts if not part["is_passed"]]
    if damaged:
        yield problem("store", f"damaged parts: {'; '.join(damaged[:SHOWN_MAX])}",
                      "what they hold can't be read; restore the folder, or detach them")  # fmt: skip
    else:
        yield fine("store", f"the files of {len(CHECKED)} tables are sound")
