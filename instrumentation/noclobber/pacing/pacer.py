"""The one place through which every access passes while strands are held.

`Recorder.end` and `recorder.ended` put a call into the ring; where a recorder has a pacer its ring has no room, so
that each call takes the way that a full ring takes, and comes here. Where nobody paces, nothing is asked: it costs
nothing. Here the call is described at once instead of in the drain, since only then it is known what it was; it goes
into the ring, and only then, after its end, its strand may be held: before the program has the answer, and so between
a read and what is done because of it. The hold is no part of the access.

What is held, and how long, is decided by the classes that are derived from this one.
"""

import os
import threading
from collections.abc import Sequence
from weakref import WeakKeyDictionary, WeakSet

from noclobber import recorder, tasks
from noclobber.access import Access, Call
from noclobber.contract import Outcome
from noclobber.guard import GUARD
from noclobber.pacing import seams
from noclobber.pacing.holds import Hold, hold, paced
from noclobber.scope import deliberate_name
from noclobber.strands import Strand

__all__ = ["Pacer", "Place"]


class Place:
    """A strand, as the same program has it in each run.

    Attributes:
        label: agent, and thread's or task's name; those that nobody named are alike, and numbered as they come.
        number: how many accesses it has ended.
    """

    __slots__ = ("label", "number")

    def __init__(self, label: str) -> None:
        self.label, self.number = label, 0


_all: "WeakSet[Pacer]" = WeakSet()


def _forked() -> None:
    """A lock that another thread of the parent held would be held in the child for good."""
    for pacer in _all:
        pacer._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _answered(call: Call, accesses: Sequence[Access]) -> bool:
    """Whether the program learnt something that it may act on: some libraries say by an error that nothing is there."""
    return call.error is None or accesses[-1].outcome is Outcome.NOT_FOUND


class Pacer:
    """Sees each access of one process as it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while one call is described, never while a strand is
        _all.add(self)
        self._places: WeakKeyDictionary[Strand, Place] = WeakKeyDictionary()
        self._numbers: dict[str, int] = {}

    def hold_after(self, active: "recorder.Recorder", call: Call, accesses: Sequence[Access]) -> Hold | None:
        """Whether to hold the strand of `call`, which just made `accesses`."""
        raise NotImplementedError

    def hold_at_start(self) -> Hold | None:
        """Whether to hold the running task before its first step."""
        return None

    def ended(self, active: "recorder.Recorder", call: Call) -> None:
        """`call` returned: describe it, put it into the ring, hold its strand. Never raises."""
        held = None
        if len(active._ring) >= active.settings.ring_max:
            active._drop(call)
            return
        with GUARD:
            call.end_ns = recorder.now_ns()
            accesses = self._described(call)
            held = self.hold_after(active, call, accesses) if accesses and _answered(call, accesses) else None
        call.end_ns = 0  # as the ring has it: no mark vouches for what is not in it yet
        active._ring.append(call)
        call.end_ns = recorder.now_ns()
        if held is not None:
            hold(call.strand, held)

    def _described(self, call: Call) -> Sequence[Access]:
        """What `call` was; the drain takes it from here, since some calls can be described only once."""
        assert call.build is not None
        with self._lock:
            call.strand.suppressed += 1
            try:
                made = call.build(call)
            except Exception as error:  # the drain says so, and counts it
                GUARD.caught(error)
                return ()
            finally:
                call.strand.suppressed -= 1
        call.build = lambda _call: made
        return made

    def place(self, strand: Strand, agent: str | None) -> Place:
        """Where `strand` stands; asked once for each access."""
        with self._lock:
            found = self._places.get(strand)
            if found is None:
                name = f"{agent or ''}/{deliberate_name(strand.name) or ''}"
                self._numbers[name] = self._numbers.get(name, 0) + 1
                found = self._places[strand] = Place(f"{name}#{self._numbers[name]}")
            return found

    def begin(self, active: "recorder.Recorder") -> None:
        """Pace the calls of `active` from now on, and the tasks that are made from now on."""
        seams.begin()
        tasks.around = lambda coroutine: paced(coroutine, self.hold_at_start)
        active.pace(self)

    def end(self, active: "recorder.Recorder") -> None:
        """Let everything run as it does."""
        active.pace(None)
        tasks.around = None
        seams.end()
