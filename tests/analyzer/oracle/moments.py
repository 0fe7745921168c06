"""Schedules of things that count at one moment each, and the record that a perfect recorder makes of them.

What the models of brokers, lock servers and the outside world share. A model carries out one thing after the other and
keeps, in words of its own, what came of it; the truth is told from that alone. Beside it stands the record: one clock,
nothing lost. A call may have been made some moments before it counted and may return some moments after (`early`,
`late`): then calls overlap, and whoever looks at the record knows less than the schedule.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from oracle.schedule import Record

from noclobber.contract import Certainty, Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History

__all__ = [
    "MOMENT_MS", "Counted", "Stage", "Thing", "anchors", "counted", "in_all_orders", "interleavings", "loosely",
    "named", "schedules", "steps", "things", "told",
]  # fmt: skip

MOMENT_NS = 2_000_000
MOMENT_MS = MOMENT_NS // 1_000_000


@dataclass(frozen=True)
class Thing:
    """One thing that a line of execution does.

    Attributes:
        line: which one. does: what, in the model's words. to: what it does it to.
        early, late: for how many moments the call lasts before and after the one at which it counts.
    """

    line: int
    does: str
    to: str = ""
    early: int = 0
    late: int = 0


@dataclass
class _Call:
    """A call: when it began and ended to count; `ended` None: nobody has answered it."""

    thing: Thing
    access: Access
    began: int
    ended: int | None


class Stage:
    """Where things happen, one at each moment.

    Attributes:
        now: the moment. record: what was written down so far. did: what could be carried out of what was to be.
    """

    def __init__(self) -> None:
        self.now = 0
        self.record = Record()
        self.did: list[Thing] = []
        self._told = 0
        self._calls: dict[int, list[_Call]] = defaultdict(list)

    def run(self, program: Iterable[Thing]) -> None:
        """Carry out a program."""
        for thing in program:
            self.one_of((thing,))

    def one_of(self, things: Iterable[Thing]) -> None:
        """Carry out the first of these things that can be."""
        self.now += 1
        told = self._told
        for thing in things:
            self.carry_out(thing)
            if self._told != told:
                self.did.append(thing)
                return

    def carry_out(self, thing: Thing) -> None:
        """Carry out one thing, if it can be; it is told by a call that begins or returns."""
        raise NotImplementedError

    def note(self, thing: Thing, op: Op, resource: str, *, answered: bool = True, **facts: object) -> Access:
        """Write down a call that counts now."""
        access = self.record.add(thing.line, op, resource)
        for name, fact in facts.items():
            setattr(access, name, fact)
        call = _Call(thing, access, self.now, self.now if answered else None)
        self._calls[thing.line].append(call)
        self._told += 1
        return access

    def let_pass(self) -> None:
        """Nothing is called now, but the moment counts."""
        self._told += 1

    def answered(self, line: int) -> None:
        """The last call of a line, which had to wait, returns now."""
        self._calls[line][-1].ended = self.now
        self._told += 1

    def history(self) -> History:
        """What is known of it all."""
        for own in self._calls.values():
            free_ns = 0
            for at, call in enumerate(own):
                following = own[at + 1].began if at + 1 < len(own) else self.now + 9
                call.access.open = call.ended is None
                ended = self.now if call.ended is None else call.ended
                start_ns = max((call.began - call.thing.early) * MOMENT_NS, free_ns + 1)
                end_ns = min((ended + call.thing.late) * MOMENT_NS + MOMENT_NS // 4, following * MOMENT_NS - 1)
                call.access.start_ns, call.access.end_ns = start_ns, end_ns
                free_ns = end_ns
        return self.record.history()


def told(findings: Iterable[Finding], grade: Certainty, kind: str, *roles: str) -> set[str]:
    """Of each finding of a kind that is at least so sure: the last access in one of these roles."""
    sure = [f for f in findings if f.certainty.rank >= grade.rank and f.kind == kind]
    return {[a.span_id for a in finding.accesses if not roles or a.role in roles][-1] for finding in sure}


def named(findings: Iterable[Finding], grade: Certainty, kind: str) -> set[str]:
    """All accesses of findings that are at least so sure, and of a kind, or of that kind as well."""
    sure = (f for f in findings if f.certainty.rank >= grade.rank and kind in {f.kind, *f.also})
    return {access.span_id for finding in sure for access in finding.accesses}


def anchors(accesses: Iterable[Access]) -> set[str]:
    """How findings name these accesses."""
    return {access.span_id for access in accesses}


Counted = Counter[str]
"""How often something was so, by kind; `all`: how often it was asked."""


def counted(**so: Collection[object]) -> Counted:
    """What was so in one schedule; hypothesis tells how often it was."""
    for kind, those in so.items() if currently_in_test_context() else ():
        event(f"{kind}: {bool(those)}")
    return Counter({"all": 1, **{kind: int(bool(those)) for kind, those in so.items()}})


def in_all_orders(
    programs: Sequence[Sequence[Thing]], first: Sequence[Thing], check: Callable[[list[Thing]], Counted]
) -> Counted:
    """Check all orders in which programs can be carried out beside each other after something else."""
    return sum((check([*first, *order]) for order in interleavings(*programs)), Counter())


def things(*does: str, to: str = "m", lines: int = 3) -> list[Thing]:
    """All things of these kinds; what is named twice is done oftener."""
    return [Thing(line, what, of) for what in does for line in range(lines) for of in to]


def schedules(
    begun: Callable[[], Stage], of: Sequence[Thing], first: Sequence[Thing] = (), most: int = 6
) -> st.SearchStrategy[list[Thing]]:
    """Schedules of a few of these things, each of which could be carried out when its turn came.

    Args:
        begun: makes the model.
        of: what may be done.
        first: what is done before.
        most: how many things are done after that.
    """

    def walked(choices: list[int]) -> list[Thing]:
        world = begun()
        world.run(first)
        for choice in choices:
            world.one_of((*of[choice:], *of[:choice]))
        return world.did

    def drawn(seed: int) -> list[int]:
        return Random(seed).choices(range(len(of)), k=most)

    told_short = st.lists(st.integers(0, len(of) - 1), min_size=most - 1, max_size=most)
    return st.one_of(told_short, st.integers(0, 1 << 32).map(drawn)).map(walked)  # drawn ones are of all sorts


def loosely(program: Sequence[Thing]) -> st.SearchStrategy[list[Thing]]:
    """The same schedule with calls that begin earlier and return later than they count."""
    spare = st.tuples(st.integers(0, 2), st.integers(0, 2))
    many = st.lists(spare, min_size=len(program), max_size=len(program))
    return many.map(lambda of: [replace(each, early=a, late=b) for each, (a, b) in zip(program, of, strict=True)])


def steps(line: int, *does: str) -> list[Thing]:
    """What a line does, one thing after the other: `take m`."""
    return [Thing(line, *each.split(maxsplit=1)) for each in does]


def interleavings(*programs: Sequence[Thing]) -> Iterator[list[Thing]]:
    """All orders in which these programs can be carried out beside each other."""
    if not any(programs):
        yield []
    for at, program in enumerate(programs):
        if program:
            rest = (*programs[:at], program[1:], *programs[at + 1 :])
            for later in interleavings(*rest):
                yield [program[0], *later]
