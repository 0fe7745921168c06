"""Which pairs of spans bound how far two clocks are apart: one had been called before the other returned.

A message is received after it was sent, a strand's calls come after it was started, a waiter goes on after the last
call that it waited for, a lock is granted after the grant before (after its unlock, where no lease can end a hold),
and a version is returned after its write was called. Each such pair says only that the *call* of the first came before
the *return* of the second; nothing nearer is proven, since an effect may fall anywhere within a call. (A strand's
start is the exception: its calls are made after it.)

That a read got just this write's version must hold beyond doubt, or the bound is a lie. A chain's versions are never
used again. Numbers are, by another life or by an attempt that was taken back, so all attempts must be on record.
Content may have stood there before: the one state that nobody made must be known by the write that replaced it.

Source: contract 2.2 and 2.3; detection.md 2.6. What follows from the pairs is worked out in `clock_bounds`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple

from noclobber.contract import ABSENT, ABSENT_NUMBER, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Process, Version

__all__ = ["ClockPair", "clock_of", "clock_pairs"]

LINKS: Final = frozenset({"message", "handoff"})
NEVER_SEEN: Final = frozenset({Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.NOT_FOUND})
CONTAINERS_MAX: Final = 64
"""Written containers that resources are compared with; with more, only chains tell who read what."""
READS_MAX: Final = 4_096
"""Reads up to which all are looked at; of more each 2nd, 4th .. 256th by its id: the bounds of few are as good."""


class ClockPair(NamedTuple):
    """What is proven: the moment `source_ns` of one process came before the moment `target_ns` of another.

    Attributes:
        source, target: the processes. source_ns, target_ns: as they recorded it.
    """

    source: Process
    source_ns: int
    target: Process
    target_ns: int


def clock_of(process: Process) -> str:
    """What names the clock of a process: itself, else the host (within a millisecond), else the process alone."""
    return process.clock or (f"host {process.host}" if process.host else f"process {process.id}")


def clock_pairs(accesses: Sequence[Access], *, whole: bool) -> Iterator[ClockPair]:
    """All pairs between different clocks that accesses prove; in the order of nothing. Linear.

    Args:
        accesses: each once, in any order.
        whole: no access is known to be missing; else numbers and content do not tell whose version was read.
    """
    found = _Collected(accesses)
    clocks: dict[str, str] = {}
    for source, target in chain(found.messages(), found.grants(), found.joins(), found.reads_from(whole=whole)):
        if _apart(source.process, target.process, clocks):
            yield ClockPair(source.process, source.start_ns, target.process, target.end_ns)
    for source, target in found.spawns():
        if _apart(source.process, target.process, clocks):
            yield ClockPair(source.process, source.start_ns, target.process, target.start_ns)


def _apart(one: Process, other: Process, clocks: dict[str, str]) -> bool:
    """Whether two processes go by different clocks; names are made once for each."""
    if one is other:
        return False
    for process in (one, other):
        if process.id not in clocks:
            clocks[process.id] = clock_of(process)
    return clocks[one.id] != clocks[other.id]


class _Collected:
    """What one pass over the accesses lays out: reads and writes are many, the rest is not."""

    def __init__(self, accesses: Sequence[Access]) -> None:
        self._accesses = accesses
        self._reads: list[Access] = []
        self._writes: list[Access] = []
        self._others: dict[Op, list[Access]] = defaultdict(list)
        self._children: list[Access] = []
        self._linked: list[Access] = []
        for access in accesses:
            op = access.op  # compared one by one: hashing a member of an enum takes longer than all of this
            if op is Op.READ:
                self._reads.append(access)
            elif op is Op.WRITE or op is Op.UPDATE or op is Op.DELETE:
                self._writes.append(access)
            elif not access.open and access.outcome is Outcome.OK:
                self._others[op].append(access)
            if access.strand_parent:
                self._children.append(access)
            if access.links:
                self._linked.append(access)

    def messages(self) -> Iterator[tuple[Access, Access]]:
        """A message was sent before it was received; with several sends of one id nobody knows which."""
        sends: dict[str, Access | None] = {}
        for send in self._others[Op.SEND]:
            if send.message is not None:
                sends[send.message.id] = None if send.message.id in sends else send
        for receive in self._others[Op.RECEIVE]:
            sent = sends.get(receive.message.id) if receive.message is not None else None
            if sent is not None:
                yield sent, receive

    def grants(self) -> Iterator[tuple[Access, Access]]:
        """Fencing tokens are granted in their order; without leases the hold before has ended, too."""
        leased = {a.resource for a in self._others[Op.LOCK] if a.lock is not None and a.lock.ttl_ms is not None}
        granted, ended = _by_token(self._others[Op.LOCK]), _by_token(self._others[Op.UNLOCK])
        for lock, tokens in granted.items():
            for one, following in pairwise(sorted(tokens)):
                before = ended.get(lock, {}).get(one) if lock not in leased else None
                yield before or tokens[one], tokens[following]

    def spawns(self) -> Iterator[tuple[Access, Access]]:
        """A strand's calls are made after the call that started it, and after its parent's last one before that."""
        parents = self._numbered({(a.strand_parent or "", a.strand_parent_seq or 0) for a in self._children})
        for child in self._children:
            parent = parents.get((child.strand_parent or "", child.strand_parent_seq or 0))
            if parent is not None:
                yield parent, child
        started = {spawn.strand_other: spawn for spawn in self._others[Op.SPAWN]}
        first: dict[str, Access] = {}
        for access in self._accesses if started else ():
            if access.strand in started:
                known = first.get(access.strand)
                first[access.strand] = access if known is None or access.seq < known.seq else known
        for strand, access in first.items():
            yield started[strand], access

    def joins(self) -> Iterator[tuple[Access, Access]]:
        """A join, and any access with a link, returns after what it names was called."""
        joins = [a for a in self._others[Op.JOIN] if a.strand_other and a.strand_other_seq is not None]
        last = self._numbered({(a.strand_other or "", a.strand_other_seq or 0) for a in joins})
        for join in joins:
            source = last.get((join.strand_other or "", join.strand_other_seq or 0))
            if source is not None:
                yield source, join
        links = [(a, (trace, span)) for a in self._linked for trace, span, kind in a.links if kind in LINKS]
        wanted = {name for _, name in links}
        by_name = {a.name: a for a in self._accesses if a.name in wanted} if wanted else {}
        for access, name in links:
            if name in by_name and not access.open and access.outcome is Outcome.OK:
                yield by_name[name], access

    def _numbered(self, wanted: set[tuple[str, int]]) -> Mapping[tuple[str, int], Access]:
        """The accesses of some strands and numbers."""
        return {(a.strand, a.seq): a for a in self._accesses if (a.strand, a.seq) in wanted} if wanted else {}

    def reads_from(self, *, whole: bool) -> Iterator[tuple[Access, Access]]:
        """A version's one write was called before any read of it returned."""
        seen = list(self._seen(READS_MAX))
        makers, anew = self._makers({(resource, version) for _, resource, version in seen})
        completed = {a.txn_id for a in self._others[Op.COMMIT] if a.scan is not None}
        found = []
        for read, resource, version in seen:
            maker = makers.get((resource, version))
            if maker is None or maker.process is read.process or maker.txn_id in completed or read.open:
                continue
            if _names_one_write(maker, read, whole=whole and resource not in anew):
                found.append((maker, read))
        prints = {w.resource for w, _ in found if w.version_kind is VersionKind.FINGERPRINT}
        doubtful = prints - self._fresh(prints)
        containers = [name for name in anew if name.endswith("/")]
        for write, read in found:
            kept = write.version_kind is VersionKind.CHAIN or not _is_under(write.resource, containers)
            if kept and not (write.version_kind is VersionKind.FINGERPRINT and write.resource in doubtful):
                yield write, read

    def _makers(self, wanted: set[tuple[str, Version]]) -> tuple[dict[tuple[str, Version], Access | None], set[str]]:
        """By resource and version the one write that can have made it, None for several; and what may begin anew."""
        makers: dict[tuple[str, Version], Access | None] = {}
        anew: set[str] = set()
        for write in self._writes:
            resource = write.resource
            if write.ttl_ms is not None or write.op is Op.DELETE or resource[-1:] == "/":
                anew.add(resource)
            key = (resource, write.written or "")
            if key in wanted and (write.outcome is Outcome.OK or write.outcome not in NEVER_SEEN):
                makers[key] = None if key in makers else write
        return makers, anew

    def _seen(self, most: int) -> Iterator[tuple[Access, str, Version]]:
        """Reads and scans with the resources and versions that they saw, about so many reads at most."""
        step = 1
        while len(self._reads) > most * step and step < 256:
            step *= 2
        kept = {f"{number:02x}" for number in range(0, 256, step)}
        for read in self._reads:
            if (step == 1 or read.span_id[-2:] in kept) and read.read:
                yield read, read.resource, read.read
        for scan in self._others[Op.SCAN]:
            if scan.scan is not None:
                for resource, version in zip(scan.scan.resources, scan.scan.versions, strict=False):
                    yield scan, resource, version

    def _fresh(self, resources: set[str]) -> set[str]:
        """Resources whose one state that nobody made was replaced on record, so that no other stood there before."""
        if not resources:
            return set()
        made: dict[str, set[Version]] = defaultdict(set)
        replaced: dict[str, set[Version]] = defaultdict(set)
        seen: dict[str, set[Version]] = defaultdict(set)
        for write in self._writes:
            if write.resource in resources:
                made[write.resource].add(write.written or "")
                replaced[write.resource].update((write.base or "", write.overwritten or ""))
        for _, name, version in self._seen(len(self._reads)):
            if name in resources:
                seen[name].add(version)
        unmade = {name: (replaced[name] | seen[name]) - made[name] - {""} for name in resources}
        return {name for name in resources if len(unmade[name]) == 1 and unmade[name] <= replaced[name]}


def _by_token(accesses: Sequence[Access]) -> dict[str, dict[int, Access]]:
    """By lock and fencing token the first access that named it: a renewal grants nothing."""
    found: dict[str, dict[int, Access]] = defaultdict(dict)
    for access in accesses:
        lock = access.lock
        if lock is not None and lock.token is not None and lock.token.isdecimal() and not lock.shared:
            known = found[access.resource].get(int(lock.token))
            if known is None or (access.start_ns, access.span_id) < (known.start_ns, known.span_id):
                found[access.resource][int(lock.token)] = access
    return found


def _names_one_write(maker: Access, read: Access, *, whole: bool) -> bool:
    """Whether a read got what this write made, and can have got it from nowhere else.

    Args:
        maker: the only write on record that made the version.
        read: what returned it.
        whole: all writes are on record, and the state did not begin anew.
    """
    kind = maker.version_kind
    if kind is None or kind is not read.version_kind or maker.part != read.part or read.outcome is not Outcome.OK:
        return False
    if maker.weak or read.weak or maker.written in (ABSENT, ABSENT_NUMBER):
        return False
    if kind is VersionKind.CHAIN or not whole:
        return kind is VersionKind.CHAIN
    comparable = maker.verbatim and read.verbatim and maker.process.key_id == read.process.key_id
    return comparable or kind is not VersionKind.FINGERPRINT


def _is_under(resource: str, containers: Sequence[str]) -> bool:
    """Whether a container above a resource was written: its members may have begun anew."""
    return len(containers) > CONTAINERS_MAX or any(resource.startswith(name) for name in containers)
