"""The history that is judged: every access once, with what is known about how complete the record is.

Two readers bring accesses here, one of OTLP files (`otlp_files`), one of rows of the store (`rows`); from here on
nobody can tell which it was. A span that arrives several times counts once, and which of its forms counts is a rule on
their content, so that arrival decides nothing. The accesses are laid out by strand, resource and transaction, each
scan as one read for each member, each write to a container beside every resource below it.

Source: contract 2.4 (duplicates), analysis.md 2 (scans, containers), storage.md 8.3. Nothing is judged here.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from noclobber.contract import Op, Outcome, VersionKind
from noclobber.declarations import Declarations
from noclobber_analyzer.access import Access, Mark, Process, ids_of, key_of
from noclobber_analyzer.clock_steps import apart, said_of, set_clocks
from noclobber_analyzer.coverage import Coverage, measure
from noclobber_analyzer.declared import NOTHING_DECLARED, as_declared
from noclobber_analyzer.decode import Unreadable, decode_process, decode_span
from noclobber_analyzer.forms import changed, roomy, sent_by, told
from noclobber_analyzer.paths import Into
from noclobber_analyzer.spans import SpanGroup, SpanRecord

__all__ = ["Access", "ContextSpan", "History", "HistoryBuilder", "Mark", "Process", "that_counts"]

SCOPE_PREFIX: Final = "noclobber."
CONTEXT_SPANS_MAX: Final = 200_000
"""Spans of others that are kept for context; what is beyond is counted only."""

_CANONICAL: Final = attrgetter("start_ns", "key")
_PROGRAM: Final = attrgetter("strand", "seq", "key")
_SEQ: Final = attrgetter("seq")

STATE_OPS: Final = frozenset({Op.READ, Op.WRITE, Op.DELETE, Op.UPDATE})
"""Operations that read or change the state of one resource."""
_CHANGES: Final = frozenset({Op.WRITE, Op.UPDATE, Op.DELETE})


class ContextSpan(NamedTuple):
    """A span of another instrumentation, kept for context only."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int


class History:
    """All accesses of some processes, laid out.

    Attributes:
        accesses: each once, in canonical order (recorded start, span id, trace id), which proves nothing.
        strands: by strand, ascending by `seq`; of a part what it holds of them. Who asks what a strand did next to an
            access asks `captured`, `back` or `onward`: a part leaves out what touched other things.
        resources: accesses to the state of each resource, in canonical order; scans as reads of their members,
            container writes with every resource below.
        transactions: accesses of each transaction, ascending by (strand, seq).
        units: accesses of each unit that has several, ascending by (strand, seq).
        processes: by id.
        coverage: how complete all this is.
        trimmed: resources of which older accesses are not in here though they were captured.
        context: spans of others by (trace id, span id).
        completed: writes whose version their commit told.
        size: accesses of the longer history that this is a part of, or its own.
        synchronised: the edges between strands of that longer history (`edges`); None: this is whole.
        read_from: of that longer history, where a strand read what another had made; None: this is whole.
    """

    def __init__(
        self,
        accesses: list[Access],
        processes: Mapping[str, Process],
        coverage: Coverage,
        captured: Callable[[str], Sequence[Access]] | None = None,
    ) -> None:
        made = _made_known_at_commit(accesses)
        if made:
            accesses = [made.get(id(access), access) for access in accesses]
        self.accesses = accesses
        self.processes = processes
        self.coverage = coverage
        self.units = _of_several(accesses)
        strands: dict[str, list[Access]] = defaultdict(list)
        transactions: dict[str, list[Access]] = defaultdict(list)
        for access in accesses:
            strands[access.strand].append(access)
            if access.txn_id:
                transactions[access.txn_id].append(access)
        self.strands = _in_program_order(strands)
        self._captured = captured
        self.transactions = _in_program_order(transactions)
        self.resources = _by_resource(accesses)
        self.trimmed: AbstractSet[str] = frozenset()
        self.context: dict[tuple[str, str], ContextSpan] = {}
        self.completed = {write.name for write in made.values()}
        self.size = len(accesses)
        self.synchronised: Callable[[], Into] | None = None
        self.read_from: Callable[[], Iterable[tuple[str, int, str, int]]] | None = None
        self._numbers: dict[str, list[int]] = {}

    def captured(self, strand: str) -> Sequence[Access]:
        """All that was captured of a strand, ascending by `seq`; a live view holds but a part of it."""
        return self.strands.get(strand, ()) if self._captured is None else self._captured(strand)

    def back(self, access: Access, limit: int) -> Iterator[Access]:
        """What its strand did before an access, the last first, so many at most."""
        own = self.captured(access.strand)
        upto = bisect_left(own, access.seq, key=_SEQ)
        return (own[place] for place in range(upto - 1, max(-1, upto - 1 - limit), -1))

    def onward(self, access: Access, limit: int | None = None) -> Iterator[Access]:
        """What its strand did after an access, so many at most; None: to its end."""
        own = self.captured(access.strand)
        first = bisect_right(own, access.seq, key=_SEQ)
        end = len(own) if limit is None else min(len(own), first + limit)
        return (own[place] for place in range(first, end))

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Access]:
        """The accesses by (trace id, span id)."""
        return _ByName(self.accesses)

    @cached_property
    def _by_op(self) -> dict[Op, list[Access]]:
        found: dict[Op, list[Access]] = defaultdict(list)
        for access in self.accesses:
            found[access.op].append(access)
        return found

    def of(self, *ops: Op) -> list[Access]:
        """The accesses of some operations, in canonical order."""
        found = [self._by_op[op] for op in ops if op in self._by_op]
        if len(found) == 1:
            return found[0]
        return sorted(chain.from_iterable(found), key=_CANONICAL)

    @cached_property
    def has_prints(self) -> bool:
        """Whether any version is but a print of content."""
        return any(a.version_kind is VersionKind.FINGERPRINT for a in self.accesses)

    def at(self, strand: str | None, seq: int | None) -> Access | None:
        """The access of a strand with this number; None if it was not captured."""
        if strand is None or seq is None:
            return None
        for access in self._around(strand, seq):
            if access.seq == seq:
                return access
        return None

    def numbers_of(self, strand: str) -> list[int]:
        """The numbers of a strand's captured accesses, each once, ascending."""
        known = self._numbers.get(strand)
        if known is None:
            known = self._numbers[strand] = sorted({access.seq for access in self.captured(strand)})
        return known

    def _around(self, strand: str, seq: int) -> list[Access]:
        """The few accesses of a strand near a number: one, unless numbers repeat."""
        accesses = self.strands.get(strand, [])
        low, high = 0, len(accesses)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if accesses[middle].seq < seq else (low, middle)
        return accesses[low : low + 1]


class _ByName(Mapping[tuple[str, str], Access]):
    """Accesses by (trace id, span id); only their keys are kept."""

    def __init__(self, accesses: Iterable[Access]) -> None:
        self._by_key = {access.key: access for access in accesses}

    def __getitem__(self, name: tuple[str, str]) -> Access:
        return self._by_key[key_of(*name)]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return map(ids_of, self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)


class HistoryBuilder:
    """Takes accesses, marks and spans of others as they come; `finish` makes the history of them.

    Args:
        declarations: names that owners gave their resources, what is to be ignored, which rows are tasks.
    """

    def __init__(self, declarations: Declarations = NOTHING_DECLARED) -> None:
        self.spans = 0
        self._declarations = declarations
        self._accesses: dict[bytes, Access] = {}
        self._marks: dict[tuple[str, str], Mark] = {}
        self._processes: dict[str, Process] = {}
        self._context: dict[tuple[str, str], ContextSpan] = {}
        self._unreadable: set[tuple[str, str]] = set()
        self._decoded: dict[tuple[tuple[str, object], ...], Process | None] = {}

    def add_group(self, group: SpanGroup) -> None:
        """Take spans of one process and one library."""
        process = self._process(group.resource)
        self.spans += len(group.spans)
        if process is None or not group.scope.startswith(SCOPE_PREFIX):
            for span in group.spans:
                self._keep_context(span)
            return
        for span in group.spans:
            self.add_span(process, span)

    def add_span(self, process: Process, span: SpanRecord) -> None:
        """Take one span of noclobber's; one that cannot be read is counted."""
        try:
            item = decode_span(span, process)
        except Unreadable:
            self._unreadable.add((span.trace_id, span.span_id))
            return
        if item is None:
            self._keep_context(span)
        else:
            self.add(item, (span.trace_id, span.span_id))

    def add(self, item: Access | Mark, name: tuple[str, str]) -> None:
        """Take what a span of this trace and span id was decoded to."""
        process = self._processes.setdefault(item.process.id, item.process)
        if isinstance(item, Mark):
            self._marks[name] = item
            return
        if item.process is not process and item.process == process:
            sent_by(item, process)
        if self._declarations.declared:
            item = as_declared(item, self._declarations)
        known = self._accesses.setdefault(item.key, item)
        if known is not item:
            self._accesses[item.key] = that_counts(known, item)

    def finish(
        self,
        *,
        ended: bool,
        whole: bool = True,
        frontiers: Mapping[str, int] | None = None,
        silent: Iterable[str] = (),
    ) -> History:
        """The history of all that was taken; ends the builder.

        Args:
            ended: no more will come: the end of the input is the frontier of a process that sent no mark.
            whole: the history starts where its processes started; False for a window of a longer one.
            frontiers: how far each process is complete; from the marks where None.
            silent: processes that have stopped speaking.
        """
        accesses = sorted(self._accesses.values(), key=_CANONICAL)
        unreadable = len(self._unreadable - {a.name for a in accesses}) if self._unreadable else 0
        self._accesses.clear()  # the layout needs the room
        history = History(accesses, self._processes, Coverage())
        unsteady = set_clocks(history.strands.values())
        if unsteady:
            history = History(apart(accesses, unsteady, history.captured), self._processes, Coverage())
        history.coverage = measure(
            history.strands,
            _touching(accesses),
            self._processes,
            self._marks.values(),
            whole=whole,
            ended=ended,
            frontiers=frontiers,
            silent=silent,
            unreadable=unreadable,
        )
        history.coverage.unknown += said_of(unsteady)
        history.context = self._context
        return history

    def _process(self, resource: Mapping[str, object]) -> Process | None:
        key = tuple((name, value) for name, value in resource.items() if not isinstance(value, list))
        if key not in self._decoded:
            self._decoded[key] = decode_process(resource)
        return self._decoded[key]

    def _keep_context(self, span: SpanRecord) -> None:
        if len(self._context) < CONTEXT_SPANS_MAX:
            self._context[span.trace_id, span.span_id] = ContextSpan(
                span.trace_id, span.span_id, span.parent_span_id, span.name, span.start_ns, span.end_ns
            )


def that_counts(one: Access, other: Access) -> Access:
    """Which of two spans of one name counts: closed beats open, greater end, greater canonical form."""
    if one == other:
        return one
    return max(one, other, key=lambda a: (not a.open, a.end_ns, msgspec.json.encode(roomy(**told(a)), order="sorted")))


def _of_several(accesses: Iterable[Access]) -> dict[str, list[Access]]:
    """The accesses of each unit that has several; most have one, and a list for each would cost as much as it does."""
    first: dict[str, Access] = {}
    several: dict[str, list[Access]] = {}
    for access in accesses:
        one = first.setdefault(access.unit, access)
        if one is not access:
            if access.unit in several:
                several[access.unit].append(access)
            else:
                several[access.unit] = [one, access]
    return _in_program_order(several)


def _in_program_order(groups: dict[str, list[Access]]) -> dict[str, list[Access]]:
    """Each group by strand, and within a strand by number."""
    for group in groups.values():
        if len(group) > 1:
            group.sort(key=_PROGRAM)
    return dict(groups)


def _touching(accesses: Iterable[Access]) -> dict[str, set[str]]:
    """For each resource, scans' members among them, the ids of the processes that touched it."""
    touching: dict[str, set[str]] = defaultdict(set)
    for access in accesses:
        touching[access.resource].add(access.process.id)
        for member in access.scan.resources if access.scan else ():
            touching[member].add(access.process.id)
    return touching


def _by_resource(accesses: Iterable[Access]) -> dict[str, list[Access]]:
    resources: dict[str, list[Access]] = defaultdict(list)
    for access in accesses:
        if access.op in STATE_OPS:
            resources[access.resource].append(access)
        elif access.op is Op.SCAN and access.scan is not None:
            for member in _members(access):
                resources[member.resource].append(member)
    containers = {name for name in resources if name.endswith("/")}
    for name in list(resources) if containers else ():
        above = [name[: at + 1] for at, char in enumerate(name[:-1]) if char == "/" and name[: at + 1] in containers]
        if above:
            resources[name] += [a for c in above for a in resources[c] if a.op is not Op.READ]
            resources[name].sort(key=_CANONICAL)
    return dict(resources)


def _members(access: Access) -> Iterable[Access]:
    """A scan as one read for each member; an empty version is none."""
    assert access.scan is not None
    versions: tuple[str, ...] = access.scan.versions or ("",) * len(access.scan.resources)
    for resource, version in zip(access.scan.resources, versions, strict=False):
        outcome = Outcome.OK if access.outcome is Outcome.OK else access.outcome
        yield changed(access, op=Op.READ, resource=resource, read=version or None, outcome=outcome)


def _made_known_at_commit(accesses: Iterable[Access]) -> dict[int, Access]:
    """Versions that are known only at the commit, which names the resources, and the version that each ended with.

    Returns:
        By the identity of each last write that told no version: the write with its version.
    """
    transactions: dict[str, list[Access]] = defaultdict(list)
    commits = [access for access in accesses if access.op is Op.COMMIT and access.scan is not None and access.txn_id]
    ended = {commit.txn_id for commit in commits}
    for access in accesses if commits else ():
        if access.txn_id in ended:
            transactions[access.txn_id or ""].append(access)
    found: dict[int, Access] = {}
    for commit in sorted(commits, key=_PROGRAM):
        assert commit.scan is not None
        made = dict(zip(commit.scan.resources, commit.scan.versions, strict=False))
        for write in sorted(transactions[commit.txn_id or ""], key=_PROGRAM, reverse=True):
            untold = write.op in _CHANGES and write.written is None and id(write) not in found
            if untold and write.resource in made:
                found[id(write)] = changed(write, written=made.pop(write.resource))
    return found
