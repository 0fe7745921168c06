"""Which resources need no judgement: those on which everything came one after the other, and everyone saw the newest.

A conservative filter in front of the one evaluator; it may let too much through and never too little. A resource is
*quiet* if its plain accesses, sorted by one clock, never overlap where one of them writes, each read got what the last
write had made, each write was computed from it, and each unit that touched a state had returned from all that it did
before another unit's conflicting access was called. Then every conflict points forward in time: no version is
superseded unseen, and no cycle of units can close, since each edge of it would have to lead to a later unit. What is
not plain (transactions, scans, messages, locks, effects, deletes, parts, refusals, incomplete capture) is judged.

The state after the last access is kept by resource (a frame), so an access that comes in order costs a few comparisons;
what comes late is sorted in with the others of its resource when it is next asked about. The defended accesses of a
quiet resource are told here, by the rule of `defences`.

Source: analysis.md 5 (what may be dropped without losing a finding), 6 and 9 (frames).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Defence, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Process, Version
from noclobber_analyzer.clocks import HOST_BOUND_NS, local_ns
from noclobber_analyzer.state import NUMBERS, number
from noclobber_analyzer.window import Window

__all__ = ["Sieve"]

NEUTRAL: Final = frozenset({Op.MODEL, Op.SPAWN, Op.JOIN})
"""Operations that no kind accuses, as long as they wait for nobody."""
STATE_OPS: Final = frozenset({Op.READ, Op.WRITE, Op.UPDATE, Op.DELETE, Op.SCAN})
COMPANY_MAX: Final = 32
"""Accesses of one unit up to which its place in time is followed."""
TOUCHING_MAX: Final = 256
"""Reads of one state that are followed one by one; of older ones it is known by when their units had returned."""
SORTED_MAX: Final = 512
"""Accesses of one resource that are sorted again because one came late; of more it is judged."""


@dataclass(slots=True)
class _Frame:
    """Where a resource stands after its last access; `fits` is False once something did not follow.

    Attributes:
        version, kind: what stands there. touching: the write that made it, and who read it since, in order.
        clock: of all accesses. process, slack_ns: the only one so far; how far several may be apart.
        write_end_ns, end_ns: by when all writes, all accesses, had returned.
        passed_ns: by when the units of reads that are not followed any more had.
        writer: whose writes they are; "": several strands'. made: versions that were made, where they may repeat.
        updates: the store's own read-and-writes that are not told as defended yet.
    """

    fits: bool = True
    version: Version | None = None
    kind: VersionKind | None = None
    key_id: str | None = None
    touching: list[Access] = field(default_factory=list)
    clock: str = ""
    process: str = ""
    slack_ns: int = 0
    write_end_ns: int = -1 << 63
    end_ns: int = -1 << 63
    passed_ns: int = -1 << 63
    writer: str | None = None
    made: set[Version] = field(default_factory=set)
    updates: list[Access] = field(default_factory=list)

    def take(self, access: Access) -> None:
        """Go on with the next access in order; `fits` tells whether it followed."""
        self.fits = self.fits and self._is_next(access)
        if not self.fits:
            return
        process = access.process
        self.end_ns = max(self.end_ns, local_ns(process, access.end_ns))
        self.version, self.kind, self.key_id = access.read, access.version_kind, process.key_id
        self.clock, self.process = _clock_of(process), process.id
        if access.op is Op.READ:
            self.touching.append(access)
            if self.kind not in NUMBERS:
                self.made.add(access.read or "")
            return
        self.version, self.touching = access.written, [access]
        self.write_end_ns = self.end_ns
        self.writer = access.strand if self.writer in (None, access.strand) else ""
        if self.kind not in NUMBERS:
            self.made.add(access.written or "")
        if access.op is Op.UPDATE:
            self.updates.append(access)

    def _is_next(self, access: Access) -> bool:
        process = access.process
        if self.kind is None:
            return access.op is not Op.WRITE or access.base is None or self._follows(access, access.base)
        if access.version_kind is not self.kind or process.key_id != self.key_id or _clock_of(process) != self.clock:
            return False
        if process.id != self.process and process.clock is None:
            self.slack_ns = HOST_BOUND_NS
        called_ns = local_ns(process, access.start_ns)
        if access.op is Op.READ:
            return self.write_end_ns + self.slack_ns < called_ns and access.read == self.version
        return self.end_ns + self.slack_ns < called_ns and self._follows(access, self.version)

    def _follows(self, write: Access, version: Version | None) -> bool:
        """Whether a write was made from a version, as its own record shows, and made a new one."""
        if write.op is Op.WRITE and write.base != version:
            return False
        if write.overwritten not in (None, version):
            return False
        if write.version_kind in NUMBERS:
            low, high = number(version), number(write.written)
            if low is None or high is None or high <= low:
                return False
            if write.version_kind is VersionKind.COUNTER:
                return high == low + 1
        elif write.written in self.made or write.written == version:
            return False
        return write.op is Op.UPDATE or write.overwritten is not None or self._has_base(write)

    def _has_base(self, write: Access) -> bool:
        """Whether the access that a write's base came from touched what stands there now."""
        if write.base_strand not in (None, write.strand):
            return False
        return any(each.strand == write.strand and write.base_seq in (None, each.seq) for each in self.touching)


class Sieve:
    """Which resources of a window need no judgement.

    Args:
        window: what is kept; each access is in it before it comes here.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._frames: dict[str, _Frame] = {}
        self._odd: set[str] = set()
        self._late: set[str] = set()
        self._scanned: set[str] = set()
        self._entangled: set[str] = set()
        self._stirred: set[str] = set()

    def add(self, access: Access, *, again: bool = False) -> None:
        """Look at a new access; `again`: it takes the place of another form of the same span."""
        if access.op in NEUTRAL and not access.waits_for:
            return
        name = access.resource
        if not _is_plain(access) or (access.message is not None and not self._is_handled(access)):
            self._odd.add(name)
            if access.scan is not None:
                self._odd.update(access.scan.resources)
                self._scanned.add(name)
            self._entangle_wide(access)
            return
        if name in self._odd:
            self._entangle_wide(access)
            return
        frame = self._frames.get(name)
        if frame is None:
            frame = self._frames[name] = _Frame()
        if again or local_ns(access.process, access.start_ns) < frame.end_ns:
            self._late.add(name)
        self._look_back(access)
        if frame.fits and name not in self._late:
            self._follow(frame, access)
        if not frame.fits:
            self._entangle_wide(access)

    def settle(self) -> set[str]:
        """Sort in what came late; returns resources whose verdicts have changed though nothing new touched them."""
        for name in list(self._late):
            self._sort(name)
        stirred, self._stirred = self._stirred, set()
        return stirred

    def needs_judgement(self, resource: str) -> bool:
        """Whether anything but a succession of accesses one after the other is known of a resource, once settled."""
        if resource in self._odd or resource in self._entangled or resource in self._late:
            return True
        if self._scanned and resource[: resource.rstrip("/").rfind("/") + 1] in self._scanned:
            return True
        frame = self._frames.get(resource)
        if frame is None:
            return any(a.op not in NEUTRAL or a.waits_for for a in self._window.accesses_of(resource))
        return not frame.fits or self._window.is_covered(resource)

    def defended(self, resource: str) -> Iterator[tuple[Access, Defence]]:
        """Accesses of a quiet resource that raced and did no harm, each once."""
        frame = self._frames.get(resource)
        if frame is not None and frame.writer == "" and frame.updates:
            yield from ((update, Defence.ATOMIC) for update in frame.updates)
            frame.updates = []

    def forget(self, resources: Iterable[str]) -> None:
        """Drop resources of which nothing is kept any more."""
        for name in resources:
            self._frames.pop(name, None)
            for names in (self._odd, self._late, self._scanned, self._entangled):
                names.discard(name)

    def _sort(self, resource: str) -> None:
        """Lay a resource's accesses out anew because one came late; of too many they are not."""
        accesses = list(self._window.accesses_of(resource))
        frame = self._frames[resource] = _Frame(fits=len(accesses) <= SORTED_MAX)
        for access in sorted(accesses, key=lambda a: (local_ns(a.process, a.start_ns), a.span_id)):
            if frame.fits:
                self._follow(frame, access)
        for access in () if frame.fits else accesses:
            self._entangle_wide(access)
        self._late.discard(resource)

    def _is_handled(self, access: Access) -> bool:
        """Whether an access that carries a message works on what its strand had received before: it takes nothing."""
        assert access.message is not None
        return any(
            each.op is Op.RECEIVE and each.strand == access.strand and each.seq < access.seq
            for each in self._window.company(f"message {access.message.id}")
        )

    # -- units -------------------------------------------------------------------------------------------------------

    def _follow(self, frame: _Frame, access: Access) -> None:
        """Go on with an access, which may conflict with those that touched the same state."""
        before = frame.touching
        frame.take(access)
        if not frame.fits:
            return
        called_ns = local_ns(access.process, access.start_ns)
        if access.op is not Op.READ and frame.passed_ns >= called_ns:
            frame.fits = False
            return
        if len(frame.touching) > TOUCHING_MAX:
            half = slice(1, TOUCHING_MAX // 2)
            frame.passed_ns = max(frame.passed_ns, *map(self._ends_ns, frame.touching[half]))
            del frame.touching[half]
        for other in before if access.op is not Op.READ else before[:1]:
            if other.unit == access.unit or (other.op is Op.READ and access.op is Op.READ):
                continue
            if self._ends_ns(other) >= called_ns:
                self._entangle(other)
                self._entangle(access)

    def _look_back(self, access: Access) -> None:
        """Whether others came between what the access's unit had done before and this."""
        company = self._window.company(access.unit)
        if len(company) < 2:
            return
        last: dict[str, Access] = {}
        for other in company:
            if other is not access and other.op in STATE_OPS:
                known = last.get(other.resource)
                if known is None or (known.strand, known.seq) < (other.strand, other.seq):
                    last[other.resource] = other
        if len(company) > COMPANY_MAX or not all(map(self._stands, last.values())):
            self._entangle(access)

    def _stands(self, access: Access) -> bool:
        """Whether nobody else changed what an access got or made, nor read what its unit made."""
        frame = self._frames.get(access.resource)
        if frame is None or not frame.fits or access.resource in self._odd or access.resource in self._late:
            return False
        first = frame.touching[0]
        if not any(each is access for each in reversed(frame.touching)):
            return False
        made_it = first.op is not Op.READ and first.unit == access.unit
        return not made_it or all(each.unit == access.unit for each in frame.touching)

    def _ends_ns(self, access: Access) -> int:
        company = self._window.company(access.unit) or (access,)
        return max(local_ns(each.process, each.end_ns) for each in company)

    def _entangle_wide(self, access: Access) -> None:
        """What is between units on a resource that has to be judged may go on between them elsewhere."""
        if len(self._window.company(access.unit)) > 1:
            self._entangle(access)

    def _entangle(self, access: Access) -> None:
        """Have everything judged that a unit touches, now and as long as it is kept."""
        for each in self._window.company(access.unit):
            if each.op not in NEUTRAL:
                self._stirred.add(each.resource)
            if each.op in STATE_OPS:
                self._entangled.add(each.resource)


def _is_plain(access: Access) -> bool:
    """Whether an access is a whole read, overwrite or update of one resource whose versions tell all of it."""
    if access.op is Op.READ:
        told = access.read is not None and access.outcome in (Outcome.OK, Outcome.NOT_FOUND)
    elif access.op is Op.WRITE or access.op is Op.UPDATE:
        told = access.written is not None and access.outcome is Outcome.OK and access.mode in _MODES
    else:
        return False
    return (
        told
        and access.version_kind is not None
        and access.txn_id is None
        and access.scan is None
        and access.lock is None
        and access.effect is None
        and access.guard in _GUARDS
        and access.ttl_ms is None
        and access.branch is None
        and access.verbatim
        and not (
            access.part
            or access.locks
            or access.candidates
            or access.predicates
            or access.weak
            or access.partial
            or access.open
            or access.cancelled
            or access.resource.endswith("/")
        )
    )


_MODES: Final = frozenset({WriteMode.OVERWRITE, WriteMode.INCREMENT})
_GUARDS: Final = frozenset({Guard.NONE, Guard.VERSION})


def _clock_of(process: Process) -> str:
    return process.clock or (f"host {process.host}" if process.host else f"process {process.id}")
