"""Models of a broker, a log and a table of jobs: who was handed what, when, and what was made of it.

The broker hands out a message as often as it is asked, as one does whose leases end or whose memory is short; it may
say how often it did. The log gives each message a place and hands an assignment of itself to one line at a time, which
may leave out places and go back; a log of two heads may give one place twice. The table lets whoever saw a job free
take it, whatever has happened to it since, unless it compares.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from oracle.moments import Stage, Thing

from noclobber.contract import Guard, Op, Outcome, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Effect, Message

__all__ = ["Broker", "Handing", "Jobs", "Log", "Sent"]


@dataclass(eq=False)
class Handing:
    """A message in the hands of a line.

    Attributes:
        message, line, receipt: which, whose, and the call by which it got it.
        place: in the log. turn: the assignment that it was handed out in.
        at: when. worked: the moments at which what it asks for was done. kept: of these, how many changed something.
        done_at: when it was acknowledged. back_at: when it was given back.
    """

    message: str
    line: int
    receipt: Access
    at: int
    place: int = 0
    turn: int = 0
    worked: list[int] = field(default_factory=list)
    kept: int = 0
    done_at: int | None = None
    back_at: int | None = None

    @property
    def applied(self) -> tuple[int, int] | None:
        """From when to when it was applied: by its first work; where none was seen, before it was said to be done."""
        if self.worked:
            return self.worked[0], self.worked[0]
        return (self.at, self.done_at) if self.done_at is not None else None


class _Consumers(Stage):
    """Lines that work on what they were handed.

    Attributes:
        handed: all that was handed out, in order. keyed: whether whoever does the work knows a message again.
    """

    def __init__(self, *, keyed: bool, groups: str, told: bool) -> None:
        super().__init__()
        self.keyed, self.groups, self.told = keyed, groups, told
        self.handed: list[Handing] = []
        self._known: set[str] = set()
        self._count = 1

    def group(self, line: int) -> str:
        """The group that a line reads for; "" where there are none."""
        return self.groups[line] if self.groups else ""

    def of_group(self, group: str, message: str | None = None) -> list[Handing]:
        """What was handed to a group."""
        return [h for h in self.handed if self.group(h.line) == group and message in (None, h.message)]

    def _message(self, thing: Thing, *, receipt: bool = False) -> Message:
        group = self.group(thing.line) if receipt or self.told else ""
        return Message(thing.to, group=group or None)

    def _go_on(self, thing: Thing) -> None:
        own = [h for h in self.handed if (h.line, h.message) == (thing.line, thing.to)]
        if not own or own[-1].back_at is not None:
            return
        mine = own[-1]
        if thing.does == "work":
            self._work(thing, mine)
        elif mine.done_at is None and thing.does == "done":
            mine.done_at = self.now
            self.note(thing, Op.ACK, "queue://q", message=self._message(thing))
        elif mine.done_at is None and thing.does == "back":
            mine.back_at = self.now
            self.note(thing, Op.NACK, "queue://q", message=self._message(thing))

    def _work(self, thing: Thing, mine: Handing) -> None:
        mine.worked.append(self.now)
        message = self._message(thing)
        if self.keyed:
            name = f"{self.group(thing.line)}{thing.to}"
            mine.kept += name not in self._known
            self._known.add(name)
            self.note(thing, Op.EFFECT, "effect://mail/send", message=message, effect=Effect(thing.to, name))
            return
        mine.kept += 1
        self._count += 1
        self.note(
            thing, Op.UPDATE, f"mem://sum{self.group(thing.line)}", message=message, mode=WriteMode.INCREMENT,
            version_kind=VersionKind.COUNTER, written=str(self._count) if not self.groups else None,
        )  # fmt: skip


class Broker(_Consumers):
    """Hands out messages as often as it is asked.

    Args:
        counts: whether it says how often it has handed one out.
        keyed: whether whoever does the work knows a message again.
        groups: the group of each line, a letter each; "" where there are none.
        told: whether also work and acknowledgements name the group.
    """

    def __init__(
        self, program: Iterable[Thing], *, counts: bool = True, keyed: bool = False, groups: str = "", told: bool = True
    ) -> None:
        super().__init__(keyed=keyed, groups=groups, told=told)
        self.counts = counts
        self._sent: set[str] = set()
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        system = "nats" if self.groups else "aws_sqs"
        if thing.does == "send" and thing.to not in self._sent:
            self._sent.add(thing.to)
            self.note(thing, Op.SEND, "queue://q", system=system, message=Message(thing.to))
        elif thing.does == "get" and thing.to in self._sent:
            group = self.group(thing.line)
            times = len(self.of_group(group, thing.to)) + 1
            message = Message(thing.to, group=group or None, delivery=times if self.counts else None)
            receipt = self.note(thing, Op.RECEIVE, "queue://q", system=system, message=message)
            self.handed.append(Handing(thing.to, thing.line, receipt, self.now))
        elif thing.does not in ("send", "get"):
            self._go_on(thing)

    def repeated(self) -> list[Handing]:
        """What was handed out again, and its work changed something in the hands of both."""
        return [h for at, h in enumerate(self.handed) if self._changed_also_by(h, self.handed[:at])]

    def applied_twice(self) -> list[Handing]:
        """The same, with what was handed out first: calls that overlap do not show which was."""
        return [h for h in self.handed if self._changed_also_by(h, [other for other in self.handed if other is not h])]

    def _changed_also_by(self, one: Handing, others: list[Handing]) -> bool:
        same = (h for h in others if h.message == one.message and self.group(h.line) == self.group(one.line))
        return bool(one.kept) and any(other.kept for other in same)

    def in_two_hands(self) -> list[Handing]:
        """What was handed to a second line though the first had not given it back."""
        return [
            second
            for at, second in enumerate(self.handed)
            if any(
                one.message == second.message
                and one.line != second.line
                and self.group(one.line) == self.group(second.line)
                and (one.back_at is None or one.back_at > second.at)
                for one in self.handed[:at]
            )
        ]


@dataclass(eq=False)
class Sent:
    """A message of the log: its place, and the call by which it came there."""

    message: str
    place: int
    call: Access


class Log(_Consumers):
    """Hands itself to one line at a time; what is sent gets the next place.

    Things: `send`, and `split`: sent to a head that has not heard of the last message; `next`, `skip` and `rewind`: the
    next message, the one after it, the one before; `work`, `done` with the message that a line got last but `to`.

    Args:
        keys: the ordering key of each message, a letter each, again from the start where there are more messages; "":
            none. Then order is promised among messages of one key only.
    """

    def __init__(self, program: Iterable[Thing], *, keys: str = "") -> None:
        super().__init__(keyed=False, groups="ggg", told=True)
        self.keys = keys
        self.sent: list[Sent] = []
        self.turns: list[int] = []
        self._stands = 0
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        if thing.does in ("send", "split"):
            self._send(thing)
        elif thing.does in ("next", "skip", "rewind"):
            self._hand(thing)
        else:
            own = [h for h in self.handed if h.line == thing.line]
            back = int(thing.to == "b") + 1
            if len(own) >= back:
                self._go_on(Thing(thing.line, thing.does, own[-back].message, thing.early, thing.late))

    def _send(self, thing: Thing) -> None:
        last = max((sent.place for sent in self.sent), default=0)
        place = max(1, last if thing.does == "split" else last + 1)
        name = f"{len(self.sent)}"
        message = Message(name, seq=place, key=self.key_of(name))
        call = self.note(thing, Op.SEND, "queue://q", system="kafka", message=message)
        self.sent.append(Sent(name, place, call))

    def key_of(self, name: str) -> str | None:
        """The ordering key of a message."""
        return self.keys[int(name) % len(self.keys)] if self.keys else None

    def _hand(self, thing: Thing) -> None:
        step = {"next": 1, "skip": 2, "rewind": -1}[thing.does]
        place = max(1, self._stands + step)
        there = next((sent for sent in self.sent if sent.place == place), None)
        if there is None:
            return
        if not self.turns or self.turns[-1] != thing.line:
            self.turns.append(thing.line)
        self._stands, turn = place, len(self.turns)
        key = self.key_of(there.message)
        message = Message(there.message, group="g", seq=place, session=f"turn-{turn}", key=key)
        receipt = self.note(thing, Op.RECEIVE, "queue://q", system="kafka", message=message)
        self.handed.append(Handing(there.message, thing.line, receipt, self.now, place, turn))

    def passed(self) -> list[Sent]:
        """Messages that nobody was handed, and that an assignment went past: from before, or their place, to after."""
        had = {handing.message for handing in self.handed}
        return [sent for sent in self.sent if sent.message not in had and self._went_past(sent)]

    def _went_past(self, sent: Sent) -> bool:
        for turn in range(1, len(self.turns) + 1):
            places = [h.place for h in self.handed if h.turn == turn]
            if any(one <= sent.place < other for at, one in enumerate(places) for other in places[at + 1 :]):
                return True
        return False

    @property
    def is_shared(self) -> bool:
        """Whether two assignments were handed stretches that overlap."""
        stretches = []
        for turn in range(1, len(self.turns) + 1):
            places = [h.place for h in self.handed if h.turn == turn]
            stretches.append((min(places), max(places)))
        return any(
            one[0] < other[1] and other[0] < one[1] for at, one in enumerate(stretches) for other in stretches[at + 1 :]
        )

    def too_late(self) -> list[Handing]:
        """What was surely applied after something behind it had been, of one assignment and key."""
        late = []
        for one in self.handed:
            mine = self._first_applied(one)
            same = (h for h in self.handed if h.turn == one.turn and self.key_of(h.message) == self.key_of(one.message))
            behind = (self._first_applied(h) for h in same if h.place > one.place)
            if mine is not None and any(other is not None and other[1] < mine[0] for other in behind):
                late.append(one)
        return late

    def _first_applied(self, handing: Handing) -> tuple[int, int] | None:
        same = (h.applied for h in self.handed if (h.turn, h.message) == (handing.turn, handing.message))
        return min((when for when in same if when is not None), default=None)

    def twice_in_a_turn(self) -> bool:
        """Whether an assignment was handed anything again."""
        named = [(h.turn, h.message) for h in self.handed]
        return len(named) != len(set(named))

    def one_place(self) -> list[Sent]:
        """Messages that were given a place that another had."""
        return [s for at, s in enumerate(self.sent) if any(before.place == s.place for before in self.sent[:at])]


class Jobs(Stage):
    """A table of jobs: `look`, `take` what one saw free, `work` on it, set it `free` again.

    Args:
        compares: whether a take changes only what is free.
    """

    def __init__(self, program: Iterable[Thing], *, compares: bool = False) -> None:
        super().__init__()
        self.compares = compares
        self.takes: list[Handing] = []
        self._holder: dict[str, Handing | None] = defaultdict(lambda: None)
        self._version: dict[str, int] = defaultdict(lambda: 1)
        self._saw_free: dict[tuple[int, str], bool] = {}
        self.double: list[tuple[Handing, Handing]] = []
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        holder, place = self._holder[thing.to], (thing.line, thing.to)
        mine = next((t for t in reversed(self.takes) if (t.line, t.message) == place and t.back_at is None), None)
        if thing.does == "look":
            self._saw_free[place] = holder is None
            self._note(thing, Op.READ, read=str(self._version[thing.to]))
        elif thing.does == "take" and self._saw_free.get(place) and mine is None:
            self._take(thing, holder)
        elif thing.does == "work" and mine is not None:
            mine.worked.append(self.now)
            self.note(thing, Op.EFFECT, "effect://mail/send", message=Message(thing.to), effect=Effect(f"{self.now}"))
        elif thing.does == "free" and holder is not None:
            holder.back_at = self.now
            self._holder[thing.to] = None
            self._write(thing)

    def _take(self, thing: Thing, holder: Handing | None) -> None:
        guard = Guard.VERSION if self.compares else Guard.NONE
        if self.compares and holder is not None:
            self._note(thing, Op.WRITE, outcome=Outcome.NO_EFFECT, message=Message(thing.to), guard=guard)
            return
        access = self._write(thing, message=Message(thing.to), guard=guard)
        taken = Handing(thing.to, thing.line, access, self.now)
        self.takes.append(taken)
        if holder is not None:
            self.double.append((holder, taken))
        self._holder[thing.to] = taken

    def _write(self, thing: Thing, **facts: object) -> Access:
        self._version[thing.to] += 1
        return self._note(thing, Op.WRITE, written=str(self._version[thing.to]), **facts)

    def _note(self, thing: Thing, op: Op, **facts: object) -> Access:
        return self.note(thing, op, f"sql://jobs/{thing.to}", version_kind=VersionKind.COUNTER, **facts)
