"""Which resources need no judgement: those on which everything came one after the other, and everyone saw the newest.

A conservative filter in front of the one evaluator; it may let too much through and never too little. A resource is
*quiet* if its plain accesses, sorted by one clock, never overlap where one of them writes, each read got what the last
write had made, each write was computed from it, and each unit that touched a state had returned from all that it did
before another unit's conflicting access was called. Then every conflict points forward in time: no version is
superseded unseen, and no cycle of units can close, since each edge of it would have to lead to a later unit. All its
accesses stand inside holds of one lock, or none does. Locks, queues and effects are quiet while they are in turn
(`lock_turns`, `message_turns`). What is not plain (transactions, scans, deletes, parts, refusals, incomplete capture)
is judged.

The state after the last access is kept by resource (a frame), so an access that comes in order costs a few comparisons;
what comes late is sorted in with the others of its resource when it is next asked about. The defended accesses of a
quiet resource are told here, by the rule of `defences`.

Source: analysis.md 5 (what may be dropped without losing a finding), 6 and 9 (frames).
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Defence, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Process, Version
from noclobber_analyzer.clocks import HOST_BOUND_NS, local_ns
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.lock_turns import LockTurns
from noclobber_analyzer.message_turns import MessageTurns
from noclobber_analyzer.state import NUMBERS, number
from noclobber_analyzer.window import Window, units_of

__all__ = ["Sieve"]

NEUTRAL: Final = frozenset({Op.MODEL, Op.SPAWN, Op.JOIN})
"""Operations that no kind accuses, as long as they wait for nobody."""
STATE_OPS: Final = frozenset({Op.READ, Op.WRITE, Op.UPDATE, Op.DELETE, Op.SCAN})
LOCKING: Final = frozenset({Op.LOCK, Op.UNLOCK})
PASSING: Final = frozenset({Op.SEND, Op.RECEIVE, Op.ACK, Op.NACK, Op.EFFECT})
ACTS: Final = frozenset({Op.SEND, Op.EFFECT})
"""What an agent does because of what it had read."""
COMPANY_MAX: Final = 32
"""Accesses of one unit up to which its place in time is followed."""
TOUCHING_MAX: Final = 256
"""Reads of one state that are followed one by one; of older ones it is known by when their units had returned."""
BACK_MAX: Final = 256
"""Accesses of a strand before an act among which its checks are looked for."""
KNIT_MAX: Final = 100_000
"""Units that are known to be entangled before those of which nothing is kept any more are forgotten; then twice as many
as were left."""
SORTED_MAX: Final = 512
"""Accesses of one resource that are sorted again because one came late; of more it is judged."""


@dataclass(slots=True)
class _Touched:
    """Resources that a unit touches, those too of which nothing is kept any more.

    Attributes:
        states: whose state it read or changed. acts: on which it acted otherwise. all: these, and what else it touched.
    """

    states: set[str] = field(default_factory=set)
    acts: set[str] = field(default_factory=set)
    all: set[str] = field(default_factory=set)

    def add(self, access: Access) -> None:
        """Take one more access of the unit."""
        if access.op not in NEUTRAL:
            self.all.add(access.resource)
        if access.op in STATE_OPS:
            self.states.add(access.resource)
        elif access.op in ACTS:
            self.acts.add(access.resource)


@dataclass(slots=True)
class _Frame:
    """Where a resource stands after its last access; `fits` is False once something did not follow.

    Attributes:
        version, kind: what stands there. touching: the write that made it, and who read it since, in order.
        clock: of all accesses. process, slack_ns: the only one so far; how far several may be apart.
        write_end_ns, end_ns: by when all writes, all accesses, had returned.
        passed_ns: by when the units of reads that are not followed any more had.
        writer: whose writes they are; "": several strands'. made: versions that were made, where they may repeat.
        lock: the one under which all was done; "": none.
        spared: accesses that race no more than others would, and are not told as defended yet: why.
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
    lock: str | None = None
    spared: list[tuple[Access, Defence]] = field(default_factory=list)

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
        if access.op is Op.UPDATE or access.locks:
            self.spared.append((access, Defence.ATOMIC if access.op is Op.UPDATE else Defence.LOCK))

    def _is_next(self, access: Access) -> bool:
        process = access.process
        lock = lock_name(access.locks[0]) if access.locks else ""
        if self.kind is None:
            self.lock = lock
            return access.op is not Op.WRITE or access.base is None or self._follows(access, access.base)
        if access.version_kind is not self.kind or process.key_id != self.key_id or _clock_of(process) != self.clock:
            return False
        if lock != self.lock:
            return False
        if process.id != self.process and process.clock is None:
            self.slack_ns = HOST_BOUND_NS
        called_ns = local_ns(process, access.start_ns)
        if access.op is Op.READ:
            return self.write_end_ns + self.slack_ns < called_ns and access.read == self.version
        return self.end_ns + self.slack_ns < called_ns and self._follows(access, self.version)

    def stands(self, access: Access) -> bool:
        """Whether no other unit changed what an access got or made, nor read what its unit made."""
        first = self.touching[0] if self.touching else None
        if first is None or not any(each is access for each in reversed(self.touching)):
            return False
        made_it = first.op is not Op.READ and first.unit == access.unit
        return not made_it or all(each.unit == access.unit for each in self.touching)

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
        self._pressing: set[str] = set()
        self._stirred: set[str] = set()
        self._locks = LockTurns(window.accesses_of)
        self._messages = MessageTurns(window.company, window.captured)
        self._called: set[str] = set()
        self._knit: set[str] = set()
        self._knit_max = KNIT_MAX
        self._large: dict[str, _Touched] = {}
        self._early: list[Access] = []

    def add(self, access: Access, *, again: bool = False) -> None:
        """Look at a new access; `again`: it takes the place of another form of the same span."""
        if access.op in NEUTRAL and not access.waits_for:
            return
        for unit in units_of(access) if self._large else ():
            if unit in self._large:
                self._large[unit].add(access)
        name = access.resource
        if access.strand_parent:
            self._spoil({each.resource for each in self._window.captured(access.strand) if each.op is Op.EFFECT})
        if access.op in LOCKING and name not in self._frames and name not in self._called:
            self._locks.take(access, again=again)
            return
        if access.op in PASSING and name not in self._frames and not self._locks.knows(name):
            self._pass(access, again=again)
            return
        if access.message is not None and not self._messages.is_handled(access):
            self._early.append(access)
            self._late.add(name)
            return
        if not self._is_register(access):
            self._set_aside(access)
            return
        if name in self._odd:
            self._entangle_wide(access)
            return
        frame = self._frames.get(name)
        if frame is None:
            frame = self._frames[name] = _Frame()
        if again or local_ns(access.process, access.start_ns) < frame.end_ns or not self._has_lock(access):
            self._late.add(name)
        self._look_back(access)
        if not frame.fits:
            self._entangle_wide(access)
        elif name not in self._late:
            self._follow(frame, access)
            if not frame.fits:
                self._entangle_all(name)

    def _pass(self, access: Access, *, again: bool) -> None:
        """Look at what was done to a queue, or outside."""
        self._called.add(access.resource)
        if access.op is Op.ACK and not self._messages.is_handled(access):
            self._early.append(access)
            return
        spoilt = self._messages.take(access)
        if again or spoilt:
            self._spoil(spoilt | {access.resource})
            self._entangle_wide(access)
        if access.outcome is Outcome.ERROR:
            self._fail(access)
        if access.op in ACTS:
            self._look_back(access)

    def _is_register(self, access: Access) -> bool:
        """Whether an access is plain, to a resource that is nothing but a state."""
        return _is_plain(access) and access.resource not in self._called and not self._locks.knows(access.resource)

    def _has_lock(self, access: Access) -> bool:
        """Whether an access stands inside the lock that it names as far as is known yet, if it names one."""
        return not access.locks or (self._locks.fits(lock_name(access.locks[0])) and self._locks.is_inside(access))

    def _set_aside(self, access: Access) -> None:
        """Have a resource judged, for as long as it is kept."""
        if access.resource in self._frames and access.resource not in self._odd:
            self._entangle_all(access.resource)
        self._odd.add(access.resource)
        if access.scan is not None:
            self._odd.update(access.scan.resources)
            self._scanned.add(access.resource)
        if access.outcome is Outcome.ERROR or access.message is not None:
            self._fail(access)
        self._entangle_wide(access)

    def _fail(self, access: Access) -> None:
        """What failed, or took a message that was another's, tells of the queue that the message came from."""
        received = {each.resource for each in self._window.company(access.unit) if each.op is Op.RECEIVE}
        self._spoil(received | self._messages.queues_of(access))

    def _spoil(self, resources: Iterable[str]) -> None:
        """Have queues, and what was called outside, judged from now on."""
        for name in resources:
            if name not in self._odd:
                self._odd.add(name)
                self._stirred.add(name)

    def judged(self, resources: Iterable[str]) -> None:
        """What was asked of acts on these resources has been answered."""
        self._pressing.difference_update(resources)

    def settle(self) -> set[str]:
        """Sort in what came late; returns resources whose verdicts have changed though nothing new touched them."""
        self._late |= {name for name in self._locks.settle() if name in self._frames}
        early, self._early = self._early, []
        for access in early:
            if not (self._messages.is_handled(access) and (access.op is Op.ACK or self._is_register(access))):
                self._set_aside(access)
            self._look_back(access)
        for name in list(self._late):
            was = self._frames.get(name)
            self._sort(name)
            if was is not None and was.fits and not self._frames[name].fits:
                self._stirred.add(name)
        stirred, self._stirred = self._stirred, set()
        return stirred

    def needs_judgement(self, resource: str) -> bool:
        """Whether anything but a succession of accesses one after the other is known of a resource, once settled."""
        if resource in self._odd or resource in self._entangled or resource in self._late or resource in self._pressing:
            return True
        if self._scanned and resource[: resource.rstrip("/").rfind("/") + 1] in self._scanned:
            return True
        frame = self._frames.get(resource)
        if self._locks.knows(resource):
            return not self._locks.fits(resource)
        if resource in self._called:
            return False
        if frame is None:
            return any(a.op not in NEUTRAL or a.waits_for for a in self._window.accesses_of(resource))
        if not frame.fits or (frame.lock and not self._locks.fits(frame.lock)):
            return True
        return self._window.is_covered(resource)

    def defended(self, resource: str) -> Iterator[tuple[Access, Defence]]:
        """Accesses of a quiet resource that raced and did no harm, each once."""
        frame = self._frames.get(resource)
        if frame is not None and frame.writer == "" and frame.spared:
            yield from frame.spared
            frame.spared = []
        if resource in self._called:
            yield from self._messages.defended(resource)

    def forget(self, resources: Iterable[str]) -> None:
        """Drop resources of which nothing is kept any more."""
        for name in resources:
            frame = self._frames.pop(name, None)
            if frame is not None and frame.lock:
                self._locks.leave(frame.lock, name)
            self._locks.forget(name)
            for names in (self._odd, self._late, self._scanned, self._entangled, self._pressing, self._called):
                names.discard(name)

    def _sort(self, resource: str) -> None:
        """Lay a resource's accesses out anew because one came late; of too many they are not."""
        accesses = list(self._window.accesses_of(resource))
        frame = self._frames[resource] = _Frame(fits=len(accesses) <= SORTED_MAX)
        for access in sorted(accesses, key=lambda a: (local_ns(a.process, a.start_ns), a.key)):
            if frame.fits:
                self._follow(frame, access)
        if not frame.fits:
            self._entangle_all(resource)
        self._late.discard(resource)

    # -- units -------------------------------------------------------------------------------------------------------

    def _follow(self, frame: _Frame, access: Access) -> None:
        """Go on with an access, which may conflict with those that touched the same state."""
        before = frame.touching
        frame.fits = (
            frame.fits and (not access.locks or self._locks.is_inside(access)) and not self._comes_back(frame, access)
        )
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
        company = self._beside(access)
        if len(company) < 2:
            return
        if access.unit in self._knit:
            self._entangle(access)
            return
        last: dict[str, Access] = {}
        for other in company:
            if other.resource != access.resource and other.op in STATE_OPS:
                known = last.get(other.resource)
                if known is None or (known.strand, known.seq) < (other.strand, other.seq):
                    last[other.resource] = other
        if len(company) > COMPANY_MAX or not all(map(self._stands, last.values())):
            for other in (access, *last.values()):
                self._entangle(other)

    def _beside(self, access: Access) -> Collection[Access]:
        """What else its unit did; of an act, what else was done in its step by its strand, too."""
        company = self._window.company(access.unit)
        if access.op not in ACTS or access.step in (None, access.unit):
            return company
        own = self._window.captured(access.strand)
        upto = bisect_left(own, access.seq, key=lambda a: a.seq)
        return [*company, *(each for each in own[max(0, upto - BACK_MAX) : upto] if each.step == access.step)]

    def _stands(self, access: Access) -> bool:
        """Whether nobody else changed what an access got or made, nor read what its unit made."""
        frame = self._frames.get(access.resource)
        if frame is None or not frame.fits or access.resource in self._odd or access.resource in self._late:
            return False
        return frame.stands(access)

    def _comes_back(self, frame: _Frame, access: Access) -> bool:
        """Whether its unit had been here before, and others came in between."""
        company = self._window.company(access.unit)
        if len(company) < 2:
            return False
        at = (local_ns(access.process, access.start_ns), access.key)
        last: tuple[int, bytes] = (-1 << 63, b"")
        own: Access | None = None
        for other in company:
            if other is not access and other.resource == access.resource and other.op in STATE_OPS:
                then = (local_ns(other.process, other.start_ns), other.key)
                if last < then < at:
                    last, own = then, other
        return own is not None and not frame.stands(own)

    def _ends_ns(self, access: Access) -> int:
        company = self._window.company(access.unit) or (access,)
        return max(local_ns(each.process, each.end_ns) for each in company)

    def _entangle_all(self, resource: str) -> None:
        """Of a resource that has to be judged from now on: whoever had touched it may have gone on elsewhere."""
        for access in self._window.accesses_of(resource):
            self._entangle_wide(access)

    def _entangle_wide(self, access: Access) -> None:
        """What is between units on a resource that has to be judged may go on between them elsewhere."""
        if len(self._window.company(access.unit)) > 1:
            self._entangle(access)

    def _entangle(self, access: Access) -> None:
        """Have everything judged that a unit touches, now and as long as it is kept.

        What touches one thing alone concerns nobody elsewhere; once it touches another one, this is remembered.
        """
        self._knit.add(access.unit)
        if len(self._knit) > self._knit_max:
            self._knit = {unit for unit in self._knit if self._window.company(unit)}
            self._knit_max = max(KNIT_MAX, 2 * len(self._knit))
            self._large = {unit: touched for unit, touched in self._large.items() if unit in self._knit}
        touched = self._touched(access.unit)
        if len(touched.states) + len(touched.acts - touched.states) >= 2:
            self._stirred |= touched.all
            self._entangled |= touched.states
            self._pressing |= touched.acts

    def _touched(self, unit: str) -> "_Touched":
        """What a unit touches; of one with many accesses it is kept, or each of them would look through all."""
        touched = self._large.get(unit)
        if touched is None:
            touched, company = _Touched(), self._window.company(unit)
            for each in company:
                touched.add(each)
            if len(company) > COMPANY_MAX:
                self._large[unit] = touched
        return touched


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
        and (access.guard in _GUARDS or (access.guard is Guard.LOCK and bool(access.locks)))
        and len(access.locks) <= 1
        and access.ttl_ms is None
        and access.branch is None
        and access.verbatim
        and not (
            access.part
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
