"""Which resources need no judgement: those on which everything came one after the other, and everyone saw the newest.

A conservative filter in front of the one evaluator; it may let too much through and never too little. A resource is
*quiet* if its plain accesses follow one another (`frames`): each read got what the last write had made, each write was
computed from it, by one clock or by numbers that time allows. Then no version is superseded unseen. Where each unit
that touched a state had also returned from all that it did before another unit's conflicting access was called, every
conflict points forward in time, and no cycle of units can close, since each edge of it would have to lead to a later
unit. Units of which that is not true are *entangled*, and judged wherever they touch more than one thing. All accesses
to a resource stand inside holds of one lock, or none does. Locks, queues and effects are quiet while they are in turn
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

from noclobber.contract import Defence, Guard, Op, Outcome, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.belonging import touches_one, units_of
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.forms import FORMS_MAX, is_form
from noclobber_analyzer.frames import TOUCHING_MAX, Frame, by_number
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.lock_turns import LockTurns
from noclobber_analyzer.message_turns import MessageTurns
from noclobber_analyzer.waits import is_in_vain
from noclobber_analyzer.window import Window

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


class Sieve:
    """Which resources of a window need no judgement.

    Args:
        window: what is kept; each access is in it before it comes here.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._frames: dict[str, Frame] = {}
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
        if not again and self._goes_on(access):
            return
        if access.op in NEUTRAL and not is_in_vain(access):
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
            frame = self._frames[name] = Frame()
        if again or local_ns(access.process, access.start_ns) <= frame.called_ns or not self._has_lock(access):
            self._late.add(name)
        self._look_back(access)
        if frame.too_many:
            self._entangle_wide(access)
        elif not frame.fits or name in self._late or not self._follow(frame, access):
            self._late.add(name)

    def _goes_on(self, access: Access) -> bool:
        """Whether an access is plain, comes after all others of its resource, and its unit did nothing elsewhere."""
        name, unit = access.resource, access.unit
        frame = self._frames.get(name)
        if frame is None or not frame.fits or name in self._late or name in self._odd or not _is_plainly_plain(access):
            return False
        spread, company = self._window.spread, self._window.units[unit]
        if unit in spread or len(company) > 2 or (len(company) == 2 and not frame.stands(next(iter(company.values())))):
            return False
        back_ns = frame.end_ns  # by then all had returned that only did something here
        conflicts = frame.goes_on(access)
        for other in conflicts or ():
            may_go_on = other.unit in spread or back_ns >= frame.called_ns
            if may_go_on and other.unit != unit and self._ends_ns(other) >= frame.called_ns:
                self._entangle(other)
                self._entangle(access)
        return conflicts is not None

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
            return any(self._asks(each) for each in self._window.accesses_of(resource))
        if not frame.fits or (frame.lock and not self._locks.fits(frame.lock)):
            return True
        return self._window.is_covered(resource)

    def _asks(self, access: Access) -> bool:
        """Whether an access of a resource that is nothing but told of may be accused."""
        return access.op not in NEUTRAL or is_in_vain(access) or self._window.may_close(access)

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
        accesses = sorted(self._window.accesses_of(resource), key=lambda a: (local_ns(a.process, a.start_ns), a.key))
        frame = Frame(too_many=len(accesses) > SORTED_MAX)
        frame.fits = not frame.too_many and all(self._follow(frame, access) for access in accesses)
        if not frame.fits and not frame.too_many:
            counted, again = by_number(accesses), Frame()
            if counted and all(self._follow(again, access) for access in counted):
                frame = again
        self._frames[resource] = frame
        if not frame.fits:
            self._entangle_all(resource)
        self._late.discard(resource)

    # -- units -------------------------------------------------------------------------------------------------------

    def _follow(self, frame: Frame, access: Access) -> bool:
        """Go on with an access, which may conflict with what touched the same state; False: it does not follow."""
        called_ns = local_ns(access.process, access.start_ns)
        if (access.locks and not self._locks.is_inside(access)) or self._comes_back(frame, access):
            return False
        if access.op is not Op.READ and frame.passed_ns >= called_ns:
            return False
        if not frame.is_later(access) and self._overlaps_itself(access):
            return False
        before = frame.touching
        if not frame.take(access):
            return False
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
        return True

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

    def _comes_back(self, frame: Frame, access: Access) -> bool:
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

    def _overlaps_itself(self, access: Access) -> bool:
        """Whether its strand, or its unit, did something else at the same time: then numbers alone tell no order."""
        own = self._window.captured(access.strand)
        at = bisect_left(own, access.seq, key=lambda a: a.seq)
        start_ns, end_ns = access.start_ns, access.end_ns
        return any(
            each.process.id != access.process.id or (each.start_ns <= end_ns and start_ns <= each.end_ns)
            for each in (*own[max(0, at - 1) : at + 2], *self._window.company(access.unit))
            if each is not access
        )

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


def _is_plainly_plain(access: Access) -> bool:
    """Whether an access is plain by what all accesses of its form have in common; then it is under no lock, too."""
    of_form = type(access)
    known = _PLAIN.get(of_form)
    if known is None:
        known = _is_plain(access) and touches_one(access) and not access.locks and access.guard is not Guard.LOCK
        if is_form(of_form) and not access.resource.endswith("/"):
            if len(_PLAIN) >= FORMS_MAX:
                _PLAIN.clear()
            _PLAIN[of_form] = known
    return known


_PLAIN: Final[dict[type[Access], bool]] = {}
"""By form, whether its accesses are."""
_MODES: Final = frozenset({WriteMode.OVERWRITE, WriteMode.INCREMENT})
_GUARDS: Final = frozenset({Guard.NONE, Guard.VERSION})
