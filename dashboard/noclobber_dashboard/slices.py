"""Which part of the history one finding's picture shows.

A picture holds at most `EVENTS_MAX` accesses, cut here and never in the browser: first the accesses of the finding's
witness, then what touched the same resource, then what their strands did around them and the messages they share,
nearest first. Model calls, sends and receives of those strands are context that a reader needs; marks are not.

Edges are those of the witness, and those that the attributes themselves state between two drawn accesses: reads-from,
base, message, spawn, join. Each carries the words of its evidence. Program order is the lane, so it is no edge.

Decides nothing: which accesses race is said by the finding. Source: contract 2.2 (edges); dashboard.md section 5.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from noclobber.contract import Op
from noclobber_dashboard.records import AccessRecord, FindingBody, WitnessAccess, WitnessEdge

__all__ = ["EVENTS_MAX", "RACE_TYPES", "Edge", "Slice", "Surroundings", "cut_slice", "race_of"]

EVENTS_MAX: Final = 200
"""Most accesses in one picture."""
CONTEXT_MAX: Final = 20
"""Most accesses while the picture is laid out by order: few enough that each has room for its words."""
AFFECTED_FIRST: Final = 6
"""So many affected accesses are drawn before anything else that surrounds the witness."""
MARGIN_NS: Final = 60_000_000_000
"""How far around the witness strands and messages are looked at."""
RACE_TYPES: Final = frozenset({"unordered", "conflict", "race", "concurrent"})
PROGRAM_TYPES: Final = frozenset({"program", "program_order", "po", "so", "session", "strand"})
WRITES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})
READS: Final = frozenset({Op.READ, Op.SCAN})
_ROLE_PAIRS: Final = (
    ("victim", "overwriter"),
    ("either", "either"),
    ("writer", "reader"),
    ("claimant", "claimant"),
)


class Surroundings(Protocol):
    """Where a slice is cut out of: the store, or what was read from files."""

    def surroundings(
        self, resources: Sequence[str], strands: Sequence[str], messages: Sequence[str], start_ns: int, end_ns: int
    ) -> list[AccessRecord]:
        """Accesses of these resources, strands or messages that start in a time range, by start."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """One arrow: keys of two accesses, what kind of evidence, and its words."""

    source: str
    target: str
    type: str
    why: str
    of_witness: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """What is drawn: accesses by start, edges between them, and the pair that races.

    Attributes:
        roles: role by key, for accesses of the witness.
        race: keys of the two accesses that nothing ordered, in the order of their starts; None: none is named.
        race_why: words of that edge.
        stale: keys of reads whose version was the base of a racing write, yet no longer the current one.
        omitted: accesses nearby that were left out.
        affected: keys of accesses that later came to know what the finding spoilt.
    """

    events: tuple[AccessRecord, ...]
    edges: tuple[Edge, ...]
    roles: dict[str, str]
    race: tuple[str, str] | None
    race_why: str
    stale: frozenset[str]
    omitted: int
    affected: frozenset[str] = frozenset()


def cut_slice(body: FindingBody, queries: Surroundings, *, whole: bool = False) -> Slice:
    """The slice around a finding.

    Args:
        body: the finding.
        queries: where its surroundings are read.
        whole: up to `EVENTS_MAX` accesses instead of the nearest `CONTEXT_MAX`.
    """
    anchors = {access.key: access for access in body.accesses}
    near = _near(body, queries)
    stored = {record.key: record for record in near}
    events = [stored.get(key) or _from_witness(access) for key, access in anchors.items()]
    most = EVENTS_MAX if whole else max(CONTEXT_MAX, min(len(events), EVENTS_MAX))
    reached = {item.span_id for item in body.affected if item.span_id}
    others = _nearest_first([record for key, record in stored.items() if key not in anchors], events, reached)
    chosen = sorted((events + others)[:most], key=lambda record: (record.start_ns, record.seq, record.key))
    race, race_why = race_of(body)
    keys = {record.key for record in chosen}
    return Slice(
        events=tuple(chosen),
        edges=tuple(_edges(chosen, body.edges)),
        roles={key: access.role for key, access in anchors.items()},
        race=race if race and set(race) <= keys else None,
        race_why=race_why,
        stale=_stale(chosen, race, anchors),
        omitted=len(events) + len(others) - len(chosen),
        affected=frozenset(record.key for record in chosen if record.span_id in reached and record.key not in anchors),
    )


def _nearest_first(
    others: Sequence[AccessRecord], anchors: Sequence[AccessRecord], reached: Collection[str]
) -> list[AccessRecord]:
    """What came of the finding first, a few of it; then what is near."""
    found = sorted(others, key=lambda record: _distance(record, anchors))
    first = sorted((record for record in found if record.span_id in reached), key=lambda record: record.start_ns)
    kept = {record.key for record in first[:AFFECTED_FIRST]}
    return [*first[:AFFECTED_FIRST], *(record for record in found if record.key not in kept)]


def race_of(body: FindingBody) -> tuple[tuple[str, str] | None, str]:
    """Keys of the racing pair by start, and why nothing orders them: by the witness's own edge, else by roles."""
    by_key = {access.key: access for access in body.accesses}
    for edge in body.edges:
        if edge.type in RACE_TYPES and edge.source in by_key and edge.target in by_key:
            return _by_start(by_key[edge.source], by_key[edge.target]), edge.why
    for first, second in _candidate_pairs(body.accesses):
        if first.strand != second.strand:
            why = "no message, lock, spawn or join orders these two"
            return _by_start(first, second), why
    return None, ""


def _candidate_pairs(accesses: Sequence[WitnessAccess]) -> Iterable[tuple[WitnessAccess, WitnessAccess]]:
    """Pairs that may be the race, best first: by roles, then writes, then any two."""
    for left, right in _ROLE_PAIRS:
        yield from _pairs([a for a in accesses if a.role == left], [a for a in accesses if a.role == right])
    writes = [access for access in accesses if access.op in WRITES]
    yield from _pairs(writes[::-1], writes[::-1])
    yield from _pairs(accesses[::-1], accesses[::-1])


def _pairs(
    lefts: Sequence[WitnessAccess], rights: Sequence[WitnessAccess]
) -> Iterable[tuple[WitnessAccess, WitnessAccess]]:
    return ((left, right) for left in lefts for right in rights if left.key != right.key)


def _by_start(first: WitnessAccess, second: WitnessAccess) -> tuple[str, str]:
    return (first.key, second.key) if first.start_ns <= second.start_ns else (second.key, first.key)


def _near(body: FindingBody, queries: Surroundings) -> list[AccessRecord]:
    accesses = body.accesses
    if not accesses:
        return []
    start_ns = max(0, min(access.start_ns for access in accesses) - MARGIN_NS)
    end_ns = max(max(access.end_ns, access.start_ns) for access in accesses) + MARGIN_NS
    resources = sorted({access.resource for access in accesses if access.resource})
    strands = sorted({access.strand for access in accesses if access.strand})
    near = queries.surroundings(resources, strands, [], start_ns, end_ns)
    own = set(strands)
    messages = sorted({record.message_id for record in near if record.message_id and record.strand in own})[:100]
    parents = sorted({record.strand_parent for record in near if record.strand_parent and record.strand in own} - own)
    if not messages and not parents:
        return near
    more = queries.surroundings([], parents[:20], messages, start_ns, end_ns)
    return list({record.key: record for record in (*near, *more)}.values())


def _distance(record: AccessRecord, anchors: Sequence[AccessRecord]) -> tuple[int, int]:
    """Sort key, nearest first: same resource or strand before the rest, then by time to the nearest anchor."""
    related = any(record.resource == anchor.resource or record.strand == anchor.strand for anchor in anchors)
    gap_ns = min((_gap(record, anchor) for anchor in anchors), default=0)
    return (0 if related else 1, gap_ns)


def _gap(one: AccessRecord, other: AccessRecord) -> int:
    return max(0, one.start_ns - other.end_ns, other.start_ns - one.end_ns)


def _from_witness(access: WitnessAccess) -> AccessRecord:
    """An access that the store no longer holds, as far as the finding remembers it."""
    return AccessRecord(
        trace_id=access.trace_id, span_id=access.span_id, start_ns=access.start_ns, end_ns=access.end_ns,
        op=access.op, resource=access.resource, agent=access.agent, strand=access.strand,
        version_read=access.version_read, version_base=access.version_base, version_written=access.version_written,
    )  # fmt: skip


def _edges(events: Sequence[AccessRecord], witness: Sequence[WitnessEdge]) -> list[Edge]:
    keys = {event.key: event for event in events}
    found: dict[tuple[str, str], Edge] = {}
    for edge in witness:
        if edge.source in keys and edge.target in keys and edge.type not in RACE_TYPES | PROGRAM_TYPES:
            found[edge.source, edge.target] = Edge(edge.source, edge.target, edge.type, edge.why, of_witness=True)
    for derived in (*_base_edges(events), *_reads_from(events), *_messages(events), *_strand_edges(events)):
        found.setdefault((derived.source, derived.target), derived)
    return [edge for edge in found.values() if edge.source != edge.target]


def _base_edges(events: Sequence[AccessRecord]) -> Iterable[Edge]:
    """From the read that a write's base came from to that write."""
    by_seq = {(event.strand, event.seq): event for event in events if event.seq}
    for event in events:
        source = by_seq.get((event.version_base_strand, event.version_base_seq))
        if source is not None and event.version_base:
            yield Edge(
                source.key, event.key, "base", f"computed from what was read there ({event.version_base_source})"
            )


def _reads_from(events: Sequence[AccessRecord]) -> Iterable[Edge]:
    """From the one write of a version to the reads of it by other strands."""
    made: dict[tuple[str, str], list[AccessRecord]] = {}
    for event in events:
        if event.op in WRITES and event.version_written and not event.version_weak:
            made.setdefault((event.resource, event.version_written), []).append(event)
    for event in events:
        writers = made.get((event.resource, event.version_read), []) if event.op in READS else []
        if len(writers) == 1 and writers[0].strand != event.strand and writers[0].start_ns <= event.end_ns:
            yield Edge(writers[0].key, event.key, "reads-from", "returned the version that this write made")


def _messages(events: Sequence[AccessRecord]) -> Iterable[Edge]:
    sent = {event.message_id: event for event in events if event.op == Op.SEND and event.message_id}
    for event in events:
        if event.op == Op.RECEIVE and event.message_id in sent:
            yield Edge(sent[event.message_id].key, event.key, "message", "the message that was sent there")


def _strand_edges(events: Sequence[AccessRecord]) -> Iterable[Edge]:
    """Spawn: from the parent's last access before the start to the child's first. Join: from the other's last."""
    lanes: dict[str, list[AccessRecord]] = {}
    for event in sorted(events, key=lambda item: item.seq):
        if event.seq:
            lanes.setdefault(event.strand, []).append(event)
    for lane in lanes.values():
        parent = [e for e in lanes.get(lane[0].strand_parent, []) if e.seq <= lane[0].strand_parent_seq]
        if parent and lane[0].seq == 1:
            yield Edge(parent[-1].key, lane[0].key, "spawn", "started this strand")
        for event in lane:
            other = [e for e in lanes.get(event.strand_other, []) if e.seq <= event.strand_other_seq]
            if event.op == Op.JOIN and other:
                yield Edge(other[-1].key, event.key, "join", "waited for that strand to end")


def _stale(
    events: Sequence[AccessRecord], race: tuple[str, str] | None, anchors: dict[str, WitnessAccess]
) -> frozenset[str]:
    """Reads that the later racing write was computed from, and those whose role says so."""
    stale = {key for key, access in anchors.items() if "stale" in access.role or access.role == "base"}
    if race is None or stale:
        return frozenset(stale)
    later = next((event for event in events if event.key == race[1]), None)
    if later is None or not later.version_base:
        return frozenset()
    lane = [event for event in events if event.strand in (later.strand, later.version_base_strand)]
    before = [e for e in lane if e.start_ns < later.start_ns and e.resource == later.resource]
    matching = [e for e in before if e.op in READS and e.version_read == later.version_base]
    return frozenset({matching[-1].key} if matching else ())


def program_pairs(events: Sequence[AccessRecord]) -> list[tuple[str, str]]:
    """Neighbours in each strand, by sequence number where known, else by start."""
    lanes: dict[str, list[AccessRecord]] = {}
    for event in sorted(events, key=lambda item: (item.seq, item.start_ns)):
        lanes.setdefault(event.strand, []).append(event)
    return [(one.key, two.key) for lane in lanes.values() for one, two in pairwise(lane)]
