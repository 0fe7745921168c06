"""Stale read: a write had returned before a read was called, and the read got an older state.

By numbers the greatest that had returned decides. By chain values and prints a version is stale if each write that
made it had returned before another write was called, which itself had returned before the read was called. Where
content repeats, so that no single write can be named, a search decides whether any order at all fits what was read
(`linearizability`). A scan of everything below a container that leaves out what had been put there is stale, too.

A transaction's reads may show the state as of its beginning; time is one machine's clock or none.

Source: Herlihy and Wing 1990 (linearizability, real-time order); detection.md 3.4.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Kind, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.linearizability import Search
from noclobber_analyzer.state import NUMBERS, State, is_foreign, number
from noclobber_analyzer.succession import Proof, Succession
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["missing_member", "stale_read"]

NEXT_MAX: Final = 8
"""Writes computed from one version that are looked at for one read of it."""
READERS_MAX: Final = 64
"""Reads of one version that are held against a transaction whose end is lost."""
CHECKS_MAX: Final = 200_000
"""Members, and accesses of those that were left out, that one evaluation looks at for scans of whole containers."""


class _Written(NamedTuple):
    """The writes of one clock by when they were there for all, with the greatest before each (number, or call)."""

    ends: list[int]
    greatest: list[tuple[int, Access]]


def stale_read(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Stale reads of one resource; each read is at most one."""
    if not state.writes or not state.reads or not state.is_shared:
        return
    told = set()
    for candidate in _proven(state, evidence):
        told.add(candidate.anchors[0].name)
        yield candidate
    yield from (c for c in _by_lost_ends(state, evidence) if c.anchors[0].name not in told)


def _proven(state: State, evidence: Evidence) -> Iterator[Candidate]:
    if state.reads[0].version_kind in NUMBERS:
        yield from _by_numbers(state, evidence)
        return
    if not _comparable(state):
        return
    found = False
    for candidate in _by_writes(state, evidence):
        found = True
        yield candidate
    if not found:
        yield from _by_search(state, evidence)


def _written(state: State, evidence: Evidence, *, numbers: bool) -> dict[tuple[str, tuple[str, ...]], _Written]:
    """Applied writes by clock and part."""
    by_clock: dict[tuple[str, tuple[str, ...]], list[tuple[int, int, Access]]] = {}
    for write in state.writes:
        rank = number(write.written) if numbers else local_ns(write.process, write.start_ns)
        if rank is None or evidence.fates.of(write) is not Fate.APPLIED or write.open:
            continue
        if write.outcome is not Outcome.UNKNOWN and evidence.fates.seen_from(write).outcome is not Outcome.UNKNOWN:
            by_clock.setdefault(_key(write), []).append((evidence.returned_ns(write), rank, write))
    found = {}
    for key, writes in by_clock.items():
        writes.sort(key=lambda w: (w[0], w[2].span_id))
        greatest: list[tuple[int, Access]] = []
        for _, rank, write in writes:
            greatest.append((rank, write) if not greatest or rank > greatest[-1][0] else greatest[-1])
        found[key] = _Written([end for end, _, _ in writes], greatest)
    return found


def _key(access: Access) -> tuple[str, tuple[str, ...]]:
    process = access.process
    return process.clock or (f"host {process.host}" if process.host else f"process {process.id}"), access.part


def _greatest_before(
    written: _Written | None, read: Access, evidence: Evidence, above: int = -1
) -> tuple[int, Access] | None:
    """The greatest write that had returned when the read's picture was taken; None if it is not above a number."""
    if written is None:
        return None
    start = evidence.picture_of(read)
    at = bisect_left(written.ends, local_ns(start.process, start.start_ns))
    while at:
        rank, write = written.greatest[at - 1]
        if rank <= above:
            return None
        slack = slack_ns(write.process, start.process)
        if slack is not None and evidence.returned_ns(write) + slack < local_ns(start.process, start.start_ns):
            return rank, write
        at = bisect_left(written.ends, evidence.returned_ns(write))
    return None


def _by_numbers(state: State, evidence: Evidence) -> Iterator[Candidate]:
    if state.may_expire:
        return
    written = _written(state, evidence, numbers=True)
    for read in state.reads:
        got = number(read.read)
        if got is None or read.version_kind not in NUMBERS:
            continue
        found = _greatest_before(written.get(_key(read)), read, evidence, above=got)
        if found is None or found[0] <= got or found[1].version_kind is not read.version_kind:
            continue
        if not state.is_own_version(read):
            yield _candidate(state, found[1], read, partial(Grade(), (found[1], read)))


def _comparable(state: State) -> bool:
    """Whether all that was made is known by what a read of it would return."""
    first = state.reads[0]
    return not any(
        w.written is None or not w.verbatim or w.partial or w.resource != state.name
        or w.version_kind is not first.version_kind or w.process.key_id != first.process.key_id
        for w in state.writes
    )  # fmt: skip


def _by_writes(state: State, evidence: Evidence) -> Iterator[Candidate]:
    written, makers = _written(state, evidence, numbers=False), _Makers(state, evidence)
    order = evidence.succession(state)
    for read in state.reads:
        if read.read is None or read.version_kind is not order.kind:
            continue
        greatest = _greatest_before(written.get(_key(read)), read, evidence)
        if greatest is None or greatest[1].written == read.read or state.is_own_version(read):
            continue
        newer, proof = _next_returned(read, order, evidence) or (greatest[1], None)
        if proof is None and not makers.are_superseded(read.read, *greatest):
            continue
        grade = Grade()
        if proof is not Proof.VERSION or state.may_expire:
            grade = grade.at_most(Certainty.LIKELY, "versions of the store's own: somebody may have put it back")
            grade = grade.resting_on(evidence.absence(state.name, newer, read))
        yield _candidate(state, newer, read, partial(grade, (newer, read)))


def _next_returned(read: Access, order: Succession, evidence: Evidence) -> tuple[Access, Proof] | None:
    """A write that was computed from what was read, or replaced it, and had returned before the read was called."""
    start = evidence.picture_of(read)
    for write, proof in order.following(read.read or "", read)[:NEXT_MAX]:
        seen_from = evidence.fates.seen_from(write)
        known = Outcome.UNKNOWN not in (write.outcome, seen_from.outcome)
        if known and clock_before(write, start) and clock_before(seen_from, start):
            return write, proof
    return None


class _Makers:
    """For each version by when the last of the writes that made it was there for all, as each clock tells."""

    def __init__(self, state: State, evidence: Evidence) -> None:
        self._state, self._evidence = state, evidence
        self._last: dict[Version, list[tuple[int, Access]] | None] = {}

    def are_superseded(self, version: Version, called_ns: int, newer: Access) -> bool:
        """Whether all that made a version had certainly taken effect before another write was called."""
        if version not in self._last:
            self._last[version] = self._of(version)
        for returned_ns, maker in self._last[version] or ():
            slack = slack_ns(maker.process, newer.process)
            if slack is None or returned_ns + slack >= called_ns:
                return False
        return bool(self._last[version])

    def _of(self, version: Version) -> list[tuple[int, Access]] | None:
        """The last to return, one a clock; None where nobody knows when one of them took effect."""
        last: dict[tuple[str, tuple[str, ...]], tuple[int, Access]] = {}
        for maker in self._state.makers.get(version, ()):
            if self._evidence.fates.of(maker) is not Fate.APPLIED or maker.outcome is Outcome.UNKNOWN or maker.open:
                return None
            key, returned_ns = _key(maker), self._evidence.returned_ns(maker)
            if key not in last or returned_ns > last[key][0]:
                last[key] = returned_ns, maker
        return list(last.values())


def _by_search(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """The first access that no order explains: content repeats, or what one read showed was gone for a later one."""
    if state.reads[0].version_kind is not VersionKind.FINGERPRINT:
        return
    search = Search(state, evidence)
    impossible = search.first_impossible() if search.is_possible else None
    if search.spent and any(len(makers) > 1 or makers[0].weak for makers in state.makers.values()):
        evidence.unsearched.add(state.name)
    if impossible is None or impossible.op is not Op.READ:
        return  # a guarded write that fits nowhere: somebody who was not captured made what the store compared
    grade = Grade().at_most(Certainty.LIKELY, "versions of the store's own: content alone names no write")
    grade = grade.resting_on(evidence.absence(state.name, state.accesses[0], impossible))
    newer = search.newest_before(impossible)
    yield _candidate(state, newer, impossible, partial(grade, state.accesses[:1]))


def _by_lost_ends(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Reads of what a write had replaced whose transaction was over by then, though nobody captured how it ended."""
    if state.may_expire:
        return
    order = evidence.succession(state)
    for write in state.writes:
        if not write.txn_id or evidence.fates.end_of(write) is not None or write.written is None:
            continue
        last = max(evidence.history.transactions[write.txn_id], key=lambda a: a.seq)
        for read in state.readers.get(write.base or "", ())[:READERS_MAX]:
            comparable = read.part == write.part and is_foreign(read, write)
            if comparable and order.is_older(read.read or "", write.written) and _over(last, read, evidence):
                unsure = Grade().resting_on(evidence.history.coverage.may_still_end(last))
                grade = unsure.at_most(Certainty.POSSIBLE, "how the transaction ended: its end was not captured")
                yield _candidate(state, write, read, partial(grade, (write, read)))


def _over(last: Access, read: Access, evidence: Evidence) -> bool:
    """Whether the last that is known of a transaction had returned when a read's picture was taken."""
    return clock_before(last, evidence.picture_of(read))


def _candidate(state: State, newer: Access | None, read: Access, grade: Grade) -> Candidate:
    known = newer is not None and newer.name != read.name
    return Candidate(
        kind=Kind.STALE_READ,
        resource=state.name,
        anchors=(read,),
        roles=(*(((newer, "newer"),) if newer is not None and known else ()), (read, "stale_read")),
        links=(Link(newer, read, "unordered", "it had returned before this was called"),)
        if newer is not None and known
        else (),
        grade=grade,
    )


def missing_member(evidence: Evidence) -> Iterator[Candidate]:
    """Scans of everything below a container that leave out what had been put there."""
    scans = [a for a in evidence.history.of(Op.SCAN) if _is_whole(a)]
    if not scans:
        return
    below: dict[str, list[str]] = {scan.resource: [] for scan in scans}
    for name in sorted(evidence.history.resources):
        container = name[: name.rstrip("/").rfind("/") + 1]
        if container in below:
            below[container].append(name)
    checks = 0
    for scan in scans:
        members = set(scan.scan.resources if scan.scan else ())
        for name in below[scan.resource]:
            checks += 1 if name in members else max(1, len(evidence.history.resources[name]))
            if checks > CHECKS_MAX:
                evidence.unknown.append(f"whether scans left members out: more than {CHECKS_MAX:,} were to be checked")
                return
            found = _left_out(scan, evidence.state(name), evidence) if name not in members else None
            if found is not None:
                yield found


def _is_whole(scan: Access) -> bool:
    found = scan.scan
    if found is None or scan.outcome is not Outcome.OK or found.predicate != "*" or found.approximate:
        return False
    return found.id is None and (found.count is None or found.count == len(found.resources))


def _left_out(scan: Access, state: State, evidence: Evidence) -> Candidate | None:
    """A write that was there before the scan, of a member that nothing can have taken away."""
    if state.may_expire or any(w.resource != state.name for w in state.writes):
        return None
    for write in state.writes:
        if write.op is Op.WRITE and evidence.fates.of(write) is Fate.APPLIED:
            start = evidence.picture_of(scan)
            if evidence.took_effect_before(write, start) is None:
                continue
            grade = Grade().at_most(Certainty.LIKELY, "that nobody took the member away")
            grade = partial(grade.resting_on(evidence.absence(state.name, write, scan)), (write, scan))
            own = write.strand == scan.strand
            return Candidate(
                kind=Kind.READ_YOUR_WRITES if own else Kind.STALE_READ,
                resource=state.name,
                anchors=(scan,),
                roles=((write, "own_write" if own else "newer"), (scan, "stale_read")),
                links=() if own else (Link(write, scan, "unordered", "it had returned before this was called"),),
                grade=grade,
            )
    return None
