"""The schedule oracle: small programs, every one of their interleavings, and the truth read off the schedule alone.

Three lines of execution do six things or fewer with two registers. A register is the list of the writes that it has
had; who saw what is the place in that list, and nothing here knows of versions, bases, grades or kinds' rules. Beside
what happened stands what a perfect recorder writes down: counters, one clock, nothing lost.

Two stores: `Replicas`, where every write is there at once and a read may be answered by a replica that lags; and
`Transactions`, where each line is one transaction on a store that shows uncommitted writes, only committed ones, or the
picture of its beginning, and never refuses anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from noclobber.contract import FRONTIER_END, BaseSource, Op, Outcome, UnitKind, VersionKind
from noclobber_analyzer.access import Access, Mark, Process
from noclobber_analyzer.forms import roomy
from noclobber_analyzer.history import History, HistoryBuilder

__all__ = ["ISOLATION", "Do", "Happened", "Record", "Replicas", "Transactions"]

ISOLATION = {"dirty": "read_uncommitted", "committed": "read_committed", "snapshot": "snapshot"}
STEP_NS = 1_000_000


@dataclass(frozen=True)
class Do:
    """One thing that a line of execution does.

    Attributes:
        line: which one. writes: whether it writes, or reads. register: `x` or `y`.
        lag: how many writes the replica that answers a read is behind.
    """

    line: int
    writes: bool
    register: str = "x"
    lag: int = 0


@dataclass(eq=False)
class Happened:
    """One thing that happened.

    Attributes:
        do, at: what, and its place in the schedule.
        saw: the write that a read saw; None: the first state. found: the writes that a write came after, in order.
        access: what the recorder wrote down.
    """

    do: Do
    at: int
    access: Access
    saw: "Happened | None" = None
    found: tuple["Happened", ...] = ()

    @property
    def line(self) -> int:
        return self.do.line

    @property
    def register(self) -> str:
        return self.do.register


@dataclass
class Record:
    """What a perfect recorder writes down."""

    accesses: list[Access] = field(default_factory=list)
    seqs: dict[int, int] = field(default_factory=dict)

    def add(self, line: int, op: Op, resource: str) -> Access:
        self.seqs[line] = self.seqs.get(line, 0) + 1
        at = len(self.accesses) + 1
        access: Access = roomy(
            trace_id=f"{line + 1:032x}", span_id=f"{at:016x}", start_ns=at * STEP_NS,
            end_ns=at * STEP_NS + STEP_NS // 2, process=Process(f"p{line}", "clock", 0, "key", "host"),
            op=op, resource=resource, system="memory",
            outcome=Outcome.OK, agent=f"agent-{line}", strand=f"s{line}", seq=self.seqs[line], unit=f"s{line}",
        )  # fmt: skip
        self.accesses.append(access)
        return access

    def history(self) -> History:
        builder = HistoryBuilder()
        for access in self.accesses:
            builder.add(access, access.name)
        for line in self.seqs:
            process = Process(f"p{line}", "clock", 0, "key", "host")
            builder.add(Mark(process, FRONTIER_END, None, 0, 10**12), (f"{line:032x}", "f" * 16))
        return builder.finish(ended=True)


def _number(writes: Sequence[Happened], write: Happened | None) -> str:
    """How the store counts: the first state is 1, each write that stayed adds one."""
    return str(1 if write is None else writes.index(write) + 2)


class Replicas:
    """Every write is there at once; a read may be answered by a replica that lags."""

    def __init__(self, program: Iterable[Do]) -> None:
        self.record = Record()
        self.happened: list[Happened] = []
        self.writes: dict[str, list[Happened]] = {"x": [], "y": []}
        self._last: dict[tuple[int, str], Happened] = {}
        for do in program:
            self._carry_out(do)

    def _carry_out(self, do: Do) -> None:
        writes = self.writes[do.register]
        access = self.record.add(do.line, Op.WRITE if do.writes else Op.READ, f"mem://{do.register}")
        access.version_kind = VersionKind.COUNTER
        here = Happened(do, len(self.happened), access, found=tuple(writes))
        if do.writes:
            last = self._last.get((do.line, do.register))
            if last is not None:
                access.base, access.base_source = last.access.read or last.access.written, BaseSource.OBSERVED
                access.base_strand, access.base_seq = last.access.strand, last.access.seq
            writes.append(here)
            access.written = _number(writes, here)
        else:
            seen = writes[: max(0, len(writes) - do.lag)]
            here.saw = seen[-1] if seen else None
            access.read = _number(writes, here.saw)
        self._last[do.line, do.register] = here
        self.happened.append(here)

    def age(self, read: Happened) -> int:
        """The place in the register's life of what a read saw; 0 is the first state."""
        return 0 if read.saw is None else self.writes[read.register].index(read.saw) + 1

    def history(self) -> History:
        """What is known of it."""
        return self.record.history()


class Transactions:
    """Each line is one transaction, from its first access to its last; then it commits, or takes all back.

    Attributes:
        store: what reads show: `dirty`, `committed` or `snapshot`.
        kept: the lines that committed. installed: the writes that stayed, by register in the order of the store.
    """

    def __init__(self, program: Sequence[Do], store: str, aborts: frozenset[int] = frozenset()) -> None:
        self.store = store
        self.record = Record()
        self.happened: list[Happened] = []
        self.installed: dict[str, list[Happened]] = {"x": [], "y": []}
        self.kept: set[int] = set()
        self.ended_at: dict[int, int] = {}
        self._pictures: dict[int, dict[str, tuple[Happened, ...]]] = {}
        self._pending: dict[int, list[Happened]] = {}
        last = {do.line: at for at, do in enumerate(program)}
        for at, do in enumerate(program):
            self._carry_out(at, do)
            if last[do.line] == at:
                self._end(at, do.line, kept=do.line not in aborts)
        self._number_all()

    def _carry_out(self, at: int, do: Do) -> None:
        self._pictures.setdefault(do.line, {name: tuple(own) for name, own in self.installed.items()})
        access = self._access(do.line, Op.WRITE if do.writes else Op.READ, f"mem://{do.register}")
        access.version_kind = VersionKind.COUNTER
        here = Happened(do, at, access)
        if do.writes:
            here.found = tuple(self.installed[do.register])
            self._pending.setdefault(do.line, []).append(here)
            if self.store == "dirty":
                self.installed[do.register].append(here)
        else:
            here.saw = self._shown(do)
        self.happened.append(here)

    def _access(self, line: int, op: Op, resource: str) -> Access:
        access = self.record.add(line, op, resource)
        access.txn_id = access.unit = f"txn-{line}"
        access.unit_kind, access.isolation = UnitKind.TXN, ISOLATION[self.store]
        return access

    def _shown(self, do: Do) -> Happened | None:
        own = [write for write in self._pending.get(do.line, ()) if write.register == do.register]
        if own:
            return own[-1]
        shown = self._pictures[do.line] if self.store == "snapshot" else self.installed
        return shown[do.register][-1] if shown[do.register] else None

    def _end(self, at: int, line: int, *, kept: bool) -> None:
        self._access(line, Op.COMMIT if kept else Op.ABORT, "mem://")
        self.ended_at[line] = at
        own = self._pending.pop(line, [])
        if kept:
            self.kept.add(line)
            for write in own if self.store != "dirty" else ():
                self.installed[write.register].append(write)
        elif self.store == "dirty":
            for name in self.installed:
                self.installed[name] = [write for write in self.installed[name] if write not in own]

    def _number_all(self) -> None:
        """The recorder learns the numbers, at the commit at the latest."""
        for each in self.happened:
            writes, access = self.installed[each.register], each.access
            stayed = each.line in self.kept
            if each.do.writes:
                access.written = _number(writes, each) if stayed else None
            else:
                access.read = _number(writes, each.saw) if each.saw is None or each.saw in writes else None
        for each in self.happened:
            before = [
                e for e in self.happened if e.line == each.line and e.at < each.at and e.register == each.register
            ]
            if each.do.writes and before:
                last = before[-1].access
                each.access.base = last.read or last.written
                each.access.base_source = BaseSource.OBSERVED if each.access.base else None
                each.access.base_strand, each.access.base_seq = last.strand, last.seq

    def history(self) -> History:
        """What is known of it."""
        return self.record.history()

    @property
    def is_serial(self) -> bool:
        """Whether one after the other, in some order, the transactions that stayed see and leave just the same."""
        return any(self._explains(order) for order in permutations(sorted(self.kept)))

    def _explains(self, order: Sequence[int]) -> bool:
        state: dict[str, list[Happened]] = {"x": [], "y": []}
        for line in order:
            for each in (e for e in self.happened if e.line == line):
                writes = state[each.register]
                if each.do.writes:
                    writes.append(each)
                elif (writes[-1] if writes else None) is not each.saw:
                    return False
        return state == self.installed
