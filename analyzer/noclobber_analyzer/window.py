"""The accesses that live analysis keeps.

The kept history ends an hour before the newest segment, or where the greatest number of accesses is reached; what
falls out is counted. Within it an access stands once (a span that comes again is compared by content, as in files),
by strand, resource, unit and transaction. Which of them a verdict needs is said in `views`.

Holes in the numbers of a strand are measured once for each portion of rows, and only where an access did not just
follow the last one.

Source: analysis.md 4, 6 and 9. Nothing is judged here.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from noclobber.contract import Op, VersionKind
from noclobber_analyzer.access import Access, Mark, Process, key_of
from noclobber_analyzer.arrivals import Arrivals
from noclobber_analyzer.belonging import touched, touches_one, units_of
from noclobber_analyzer.clock_pairs import clock_of
from noclobber_analyzer.coverage import Gap, Lack, drops, tail
from noclobber_analyzer.edges import Edges
from noclobber_analyzer.forms import sent_by
from noclobber_analyzer.history import that_counts
from noclobber_analyzer.knowledge import Knowledge
from noclobber_analyzer.lines import ProcessLine, StrandLine
from noclobber_analyzer.waits import Waits

__all__ = ["Evicted", "Name", "Window"]

Name = tuple[str, str]

SYNC = frozenset({Op.SPAWN, Op.JOIN, Op.LOCK, Op.UNLOCK, Op.SEND, Op.RECEIVE})
ENDS = frozenset({Op.BEGIN, Op.COMMIT, Op.ABORT})
COMPANY_MAX = 256
"""Accesses of one unit, message or effect up to which a new one makes the resources of all others dirty."""
EDGE = 2
"""One part in so many of what is kept, the oldest, gives no new findings once accesses fell out: what belonged to it
may be gone, and it was judged when it was new."""
GONE_MAX = 10_000
"""Processes of which nothing is kept any more whose end is remembered: what they send again is known as such."""
MARKS_MAX = 64
"""Marks of a process kept for what they say of drops."""
_NOBODY: Final[dict[bytes, Access]] = {}


@dataclass(frozen=True, slots=True)
class Evicted:
    """What fell out: the keys of accesses, and the resources that have none left."""

    keys: list[bytes]
    resources: set[str]


class Window:
    """The kept history.

    Args:
        accesses_max: most accesses kept.

    Attributes:
        strands, processes: what is known of each. units: kept accesses of each unit, transaction, message or effect.
        spread: units that touched more than one resource, or did more than touch it.
        arrivals: in which order they came. evicted: accesses that fell out.
        changes: how often an access came or went, or a mark told of a loss.
        trimmed: resources of which some accesses fell out and others are kept.
        set_clocks: clocks that were set while they were read; their times prove nothing between strands.
    """

    def __init__(self, accesses_max: int = 1_000_000) -> None:
        self.strands: dict[str, StrandLine] = {}
        self.processes: dict[str, ProcessLine] = {}
        self.evicted = self.changes = 0
        self._accesses_max = accesses_max
        self._kept: dict[bytes, Access] = {}
        self.arrivals = Arrivals()
        self._edge = 0
        self._resources: dict[str, dict[bytes, Access]] = defaultdict(dict)
        self.units: dict[str, dict[bytes, Access]] = defaultdict(dict)
        self.edges = Edges(self._kept.get)
        self._linked = self.edges.linking
        self._waits = Waits()
        self.spread: set[str] = set()
        self._containers: set[str] = set()
        self.trimmed: set[str] = set()
        self._knowledge = Knowledge(self.trimmed)
        self._prints = 0
        self._read_from: tuple[int, list[tuple[str, int, str, int]]] = (-1, [])
        self._gone: dict[str, int] = {}
        self._loose: set[str] = set()
        self.set_clocks: set[str] = set()

    @property
    def horizon_ns(self) -> int:
        """When the first segment of those that were read with the oldest access was opened; 0: nothing is kept."""
        return self.arrivals.opened_ns

    @property
    def resources(self) -> Iterable[str]:
        """Resources that kept accesses touched."""
        return self._resources.keys()

    def cut(self) -> dict[str, int]:
        """Processes of which accesses fell out, each with the latest return of these."""
        kept = {name: line.gone_ns for name, line in self.processes.items() if line.cut}
        return dict(sorted({**self._gone, **kept}.items()))

    def begin_cut(self, gone: Mapping[str, int]) -> None:
        """Of these processes earlier accesses had fallen out of the history that is read again."""
        self._gone = dict(gone)

    def is_past(self, access: Access) -> bool:
        """Whether an access that is not kept comes too late to be judged: what it would be judged by fell out."""
        line = self.processes.get(access.process.id)
        gone_ns = line.gone_ns if line is not None else self._gone.get(access.process.id, 0)
        return 0 < access.end_ns <= gone_ns and access.key not in self._kept

    def at_edge(self, names: Iterable[Name]) -> bool:
        """Whether one of these accesses is about to fall out, so that what belongs to it may have done so already."""
        return bool(self._edge) and any(self.arrivals.number(key_of(*name)) < self._edge for name in names)

    def get(self, name: Name) -> Access | None:
        """A kept access."""
        return self._kept.get(key_of(*name))

    def has(self, access: Access) -> bool:
        """Whether an access of this name is kept."""
        return access.key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, access: Access) -> set[str]:
        """Take an access.

        Returns:
            The resources whose verdicts it may change; empty if it changes nothing. Holes count after `measure`.
        """
        key = access.key
        known = self._kept.get(key)
        if known is not None:
            if that_counts(known, access) is known:
                return set()
            self._remove(known)
        else:
            self.arrivals.add(key)
        line = self._process(access.process)
        if known is None:
            line.received += 1
        return self._put(access, line)

    def replace(self, access: Access) -> set[str]:
        """Put an access in the place of the one of its name, whichever would count; returns as `add` does."""
        self._remove(self._kept[access.key])
        return self._put(access, self._process(access.process))

    def _put(self, access: Access, line: ProcessLine) -> set[str]:
        key = access.key
        self.changes += 1
        if access.process is not line.process and access.process == line.process:
            sent_by(access, line.process)
        self._kept[key] = access
        if access.written is not None:
            self._knowledge.add(access)
        if access.version_kind is VersionKind.FINGERPRINT:
            self._prints += 1
        strand = self.strands.get(access.strand)
        if strand is None:
            strand = self.strands[access.strand] = StrandLine(cut=line.cut)
        if strand.of is not line:
            line.strands.add(access.strand)
            strand.of = line
        if strand.add(access):
            self._loose.add(access.strand)
        resource, unit = access.resource, access.unit
        if touches_one(access):
            self._resources[resource][key] = access
            company = self.units[unit]
            company[key] = access
            if key in self._linked:
                self.edges.pass_by(key)
            if len(company) > 1 and next(iter(company.values())).resource != resource:
                self.spread.add(unit)
            if len(company) == 1 and not resource.endswith("/") and not self._containers:
                return {resource}
            if resource.endswith("/"):
                self._containers.add(resource)
            return self._concerned(access)
        for name in touched(access):
            self._resources[name][key] = access
            if name.endswith("/"):
                self._containers.add(name)
        for name in units_of(access):
            self.units[name][key] = access
        self.spread.add(unit)
        self.edges.add(access)
        if access.op not in SYNC:
            return self._concerned(access)
        self._waits.add(access)
        return self._concerned(access) | self._waits.for_the_owner(access)

    def measure(self) -> set[str]:
        """Look at strands whose accesses came out of order; returns the resources where holes changed, or a clock fell.

        Whose times run backwards discredits its clock, and with it the times of all that go by it.
        """
        loose, self._loose = self._loose, set()
        lines = [(name, line) for name in loose if (line := self.strands.get(name)) is not None]
        changed = [name for name, line in lines if line.measure()]
        found = {resource for name in changed for resource in self.of_strand(name)}
        clocks = {clock_of(line.of.process) for _, line in lines if line.backwards and line.of is not None}
        return found | (self._discredit(clocks - self.set_clocks) if clocks else set())

    def _discredit(self, clocks: set[str]) -> set[str]:
        """Believe some clocks no longer; returns the resources that were touched by them."""
        self.set_clocks |= clocks
        self.changes += bool(clocks)
        processes = [name for name, line in self.processes.items() if clock_of(line.process) in clocks]
        return set().union(*map(self.of_process, processes))

    def _process(self, process: Process) -> ProcessLine:
        line = self.processes.get(process.id)
        if line is None:
            gone_ns = self._gone.get(process.id)
            line = self.processes[process.id] = ProcessLine(process, cut=gone_ns is not None, gone_ns=gone_ns or 0)
        return line

    def mark(self, mark: Mark) -> bool:
        """Take a mark that counts; returns whether the losses that it tells of changed."""
        line = self._process(mark.process)
        before = self.losses(mark.process.id)
        line.marks = [*line.marks, mark][-MARKS_MAX:]
        changed = before != self.losses(mark.process.id)
        self.changes += changed
        return changed

    def losses(self, process: str) -> list[Gap]:
        """What a process lost: holes of its strands, what it had to drop, what is missing at the end."""
        line = self.processes.get(process)
        if line is None:
            return []
        lines = [self.strands[name] for name in line.strands]
        lines = sorted((of for of in lines if of.accesses), key=lambda of: _canonical(of.accesses[0]))
        found = [gap for strand in lines for gap in strand.gaps]
        if not line.cut:
            found += [self._orphan(of.accesses[0]) for of in lines if self._is_orphan(of.accesses[0])]
        found += drops(line.process, line.marks)
        if line.marks and not line.cut:
            found += tail(line.process, line.marks, line.received, found)
        return found

    def _is_orphan(self, first: Access) -> bool:
        """Whether a strand's parent made accesses of which none is kept."""
        return bool(first.strand_parent and first.strand_parent_seq and first.strand_parent not in self.strands)

    def _orphan(self, first: Access) -> Gap:
        text = f"the spans of strand {first.strand_parent}"
        return Gap(first.process.id, first.strand, 0, first.end_ns, text, first.strand_parent_seq or 0, Lack.ORPHAN)

    def of_strand(self, strand: str) -> set[str]:
        """Resources that a strand touched."""
        line = self.strands.get(strand)
        return {name for access in line.accesses for name in touched(access)} if line else set()

    def of_process(self, process: str) -> set[str]:
        """Resources that a process touched."""
        line = self.processes.get(process)
        return set().union(*(self.of_strand(strand) for strand in line.strands)) if line else set()

    @property
    def has_prints(self) -> bool:
        """Whether any version is but a print of content."""
        return self._prints > 0

    def read_from(self) -> list[tuple[str, int, str, int]]:
        """Where a strand read what another had made (`knowledge`): both, each with its number."""
        if self._read_from[0] != self.changes:
            found = [
                (strand, *each) for strand, line in self.strands.items() for each in self._knowledge.into(line.accesses)
            ]
            self._read_from = (self.changes, found)
        return self._read_from[1]

    def of_unit(self, unit: str) -> set[str]:
        """Resources that a unit touched."""
        return {name for access in self.units.get(unit, {}).values() for name in touched(access)}

    def accesses_of(self, resource: str) -> Iterable[Access]:
        """Kept accesses that touched a resource itself."""
        return self._resources.get(resource, {}).values()

    def captured(self, strand: str) -> Sequence[Access]:
        """Kept accesses of a strand, ascending by `seq`."""
        line = self.strands.get(strand)
        return line.accesses if line is not None else ()

    def company(self, unit: str) -> Collection[Access]:
        """Kept accesses of a unit, transaction, message or effect."""
        return self.units.get(unit, _NOBODY).values()

    def may_close(self, access: Access) -> bool:
        """Whether an access is a join that may be one of a circle of waits."""
        return self._waits.may_close(access)

    def is_covered(self, resource: str) -> bool:
        """Whether something was done to a container above a resource, or it is one."""
        return resource.endswith("/") or any(map(resource.startswith, self._containers))

    def accesses(self) -> list[Access]:
        """All that is kept, in no order."""
        return list(self._kept.values())

    def loaded_ns(self, name: Name) -> int:
        """By when the segment of an access had been noted; 0 if it is not kept."""
        return self.arrivals.noted_ns(key_of(*name))

    def holds(self, names: Iterable[Name]) -> bool:
        """Whether all these accesses are kept."""
        return all(key_of(*name) in self._kept for name in names)

    def touching(self, resource: str) -> dict[str, set[str]]:
        """By process, its strands that touched a resource or a container above it."""
        found: dict[str, set[str]] = defaultdict(set)
        for name in (resource, *self._above(resource)):
            for access in self._resources.get(name, {}).values():
                found[access.process.id].add(access.strand)
        return found

    def waiting_at(self, resources: frozenset[str]) -> Mapping[bytes, Access]:
        """All waits and who was in the way, where one of these resources is waited for; else nothing."""
        return self._waits.all(self._resources) if self._waits.at(resources) else _NOBODY

    def of_resources(self, names: Iterable[str]) -> dict[bytes, Access]:
        """Kept accesses of these resources, of containers above them and of what lies below."""
        found: dict[bytes, Access] = {}
        for name in names:
            for related in (name, *self._above(name), *self._below(name)):
                found.update(self._resources.get(related, {}))
        return found

    def _above(self, resource: str) -> list[str]:
        return [name for name in self._containers if name != resource and resource.startswith(name)]

    def _below(self, resource: str) -> list[str]:
        if not resource.endswith("/"):
            return []
        return [name for name in self._resources if name != resource and name.startswith(resource)]

    def _concerned(self, access: Access) -> set[str]:
        names = {access.resource} if access.scan is None else set(touched(access))
        for unit in units_of(access):
            company = self.units[unit]
            if len(company) == 1:
                continue
            if len(company) <= COMPANY_MAX or (access.op in ENDS and unit == access.txn_id):
                for of in company.values():
                    names.add(of.resource)
                    if of.scan is not None:
                        names.update(of.scan.resources)
        for name in list(names) if self._containers else ():
            names.update(self._above(name), self._below(name))
        return names

    def evict(self, opened_before_ns: int) -> Evicted:
        """Let go of what is too old or too much."""
        keys = self.arrivals.let_go(len(self._kept) - self._accesses_max, opened_before_ns)
        accesses = [self._kept[key] for key in keys]
        for access in accesses:
            self._remove(access)
        self.evicted += len(keys)
        resources = {name for access in accesses for name in touched(access)}
        gone = {name for name in resources if name not in self._resources}
        self.trimmed |= resources - gone
        self.trimmed -= gone
        for access in accesses:
            line = self.processes[access.process.id]
            line.cut, line.gone_ns = True, max(line.gone_ns, access.end_ns)
        for strand in {access.strand for access in accesses}:
            own = self.strands.get(strand)
            if own is not None:
                own.cut_off()
        self._settle_edge()
        return Evicted(keys, gone)

    def _settle_edge(self) -> None:
        """The oldest part of what is kept is the edge, once anything fell out before it."""
        if self._kept and (self.evicted or self._gone):
            self._edge = self.arrivals.number_of_oldest() + len(self._kept) // EDGE

    def _remove(self, access: Access) -> None:
        key = access.key
        self.changes += 1
        del self._kept[key]
        if access.written is not None:
            self._knowledge.drop(access)
        if access.version_kind is VersionKind.FINGERPRINT:
            self._prints -= 1
        self.strands[access.strand].drop(access)
        if touches_one(access):
            if key in self._linked:
                self.edges.pass_by(key)
            _discard(self._resources, access.resource, key)
            self._leave(access.unit, key)
            return
        self.edges.drop(access)
        if access.op in SYNC:
            self._waits.drop(access)
        for resource in touched(access):
            _discard(self._resources, resource, key)
        for unit in units_of(access):
            self._leave(unit, key)

    def _leave(self, unit: str, key: bytes) -> None:
        _discard(self.units, unit, key)
        if unit not in self.units:
            self.spread.discard(unit)

    def forget_ended(self, ended: Iterable[str]) -> set[str]:
        """Drop strands and ended processes of which nothing is kept; returns these processes."""
        empty = {name for name, line in self.strands.items() if not line.accesses}
        for name in empty:
            del self.strands[name]
        for line in self.processes.values() if empty else ():
            line.strands -= empty
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
        gone = set()
        for process in ended:
            known = self.processes.get(process)
            if known is not None and not known.strands:
                del self.processes[process]
                self._gone.pop(process, None)
                self._gone[process] = known.gone_ns  # what it sent may be sent again
                gone.add(process)
        return gone


def _canonical(access: Access) -> tuple[int, str, str]:
    return access.start_ns, access.span_id, access.trace_id


def _discard(index: dict[str, dict[bytes, Access]], of: str, key: bytes) -> None:
    entries = index.get(of)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[of]
