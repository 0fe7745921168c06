"""Write skew of which a part was lost: each of two transactions decided from what the other changed, as far as known.

Cycles need every dependency, and so each read and each commit. Where spans are lost it is still known that one of two
transactions read just the version which the other replaced, and wrote something else; if the other's read of that, or
an end, may be among its lost spans (or got no answer), some world holds a write skew. Nothing must have put the two
in order. Where both reads are lost nothing links the two, and nothing is said.

Source: detection.md 2.5 (what stood in a hole is a choice of the world), 3.3 (`write_skew`).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Certainty, Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.coverage import Absence
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import conflicting_parts, is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, partial

__all__ = ["write_skew_in_part"]

READERS_MAX: Final = 16
"""Transactions that read one version which are looked at for one write that replaced it."""
PARTS: Final = "what both transactions had read, and how they ended: spans of one are lost, or its commit got no answer"
REPLACED: Final = "it replaced what the other had read"


@dataclass(slots=True)
class _Part:
    """What is known of a transaction: its first and last access, what it read of others', and its last writes."""

    first: Access
    last: Access
    whole: bool
    reads: dict[str, Access] = field(default_factory=dict)
    writes: dict[str, Access] = field(default_factory=dict)


def write_skew_in_part(evidence: Evidence) -> Iterator[Candidate]:
    """Pairs of transactions, of one of which a part was lost; each pair is one."""
    ends = (evidence.fates.end_of(own[0]) for own in evidence.history.transactions.values())
    unsure = not evidence.is_whole or any(end is None or end.outcome is Outcome.UNKNOWN for end in ends)
    if not unsure:
        return
    parts = {name: part for name in evidence.history.transactions if (part := _part(name, evidence)) is not None}
    readers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, part in parts.items():
        for read in part.reads.values():
            if read.resource not in part.writes and part.writes and read.read is not None and not read.weak:
                readers[read.resource, read.read].append(name)
    told: set[tuple[str, ...]] = set()
    for other, theirs in parts.items():
        for write in theirs.writes.values():
            for name in readers.get((write.resource, write.base or ""), ())[:READERS_MAX]:
                names = tuple(sorted((name, other)))
                found = _skewed(parts[name], theirs, write, evidence) if name != other and names not in told else None
                if found is not None:
                    told.add(names)
                    waits = evidence.history.coverage.may_still_end(
                        *(p.last for p in (parts[name], theirs) if not p.whole)
                    )
                    yield _candidate(names, waits, *found)


def _part(name: str, evidence: Evidence) -> _Part | None:
    """A transaction that is not known to have been taken back."""
    own = evidence.history.transactions[name]
    first, last = own[0], own[-1]
    end = evidence.fates.end_of(first)
    before = next(evidence.history.back(first, 1), None)
    hole = not evidence.is_whole and hole_between(evidence.history, before.seq if before is not None else None, last)
    part = _Part(first, last, whole=not hole and end is not None and end.outcome is not Outcome.UNKNOWN)
    for access in own:
        if access.op is Op.READ and access.resource not in part.writes:
            part.reads.setdefault(access.resource, access)
        elif access.op in WRITE_OPS and evidence.fates.of(access) is not Fate.UNAPPLIED and access.base is not None:
            part.writes[access.resource] = access
    return part if part.writes else None


def _skewed(
    one: _Part, other: _Part, write: Access, evidence: Evidence
) -> tuple[tuple[tuple[Access, Access], ...], Access, Access] | None:
    """Reads with the writes that replaced them, and both writes, where `other` may have read what `one` replaced."""
    read = one.reads[write.resource]
    if (one.whole and other.whole) or not is_foreign(read, write) or not conflicting_parts(read, write):
        return None
    if read.version_kind is not write.version_kind or _are_ordered(one, other, evidence):
        return None
    if one.first.isolation == other.first.isolation == "serializable":
        return None  # the store defends both
    for mine in one.writes.values():
        if mine.resource in other.writes:
            continue
        theirs = other.reads.get(mine.resource)
        if theirs is None and not other.whole:
            return ((read, write),), mine, write
        if theirs is not None and theirs.read == mine.base and conflicting_parts(theirs, mine):
            return ((read, write), (theirs, mine)), mine, write
    return None


def _are_ordered(one: _Part, other: _Part, evidence: Evidence) -> bool:
    """Whether one transaction was over when the other began."""
    before = evidence.order.before
    return before(one.last, other.first) is not None or before(other.last, one.first) is not None


def _candidate(
    units: tuple[str, ...], waits: Absence, replaced: tuple[tuple[Access, Access], ...], mine: Access, theirs: Access
) -> Candidate:
    last = max(mine, theirs, key=lambda a: (a.end_ns, a.span_id))
    writes = tuple(sorted((mine, theirs), key=lambda a: a.unit))
    reads = tuple((read, "reader") for read, _ in replaced)
    return Candidate(
        kind=Kind.WRITE_SKEW,
        resource=last.resource,
        anchors=writes,
        units=units,
        roles=(*reads, *((write, "overwriter") for write in writes)),
        links=tuple(Link(read, write, "rw", REPLACED) for read, write in replaced),
        grade=partial(Grade().resting_on(waits).at_most(Certainty.POSSIBLE, PARTS), writes),
        crosses=True,
    )
