"""Models of a lock server with leases, and of lines that wait for each other: who held what, and who waited for whom.

The lock server hands out a lock that is free, or whose lease has ended; a server of two heads may hand out one that is
held. It may check whose hold an unlock ends, or end whatever there is. What a line believes to hold is its own affair:
it reads and writes one register under it, which may refuse whoever comes with an older token than another did.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from oracle.moments import MOMENT_MS, Stage, Thing

from noclobber.contract import BaseSource, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Lock

__all__ = ["LockServer", "Tenure", "Waiting"]


@dataclass(eq=False)
class Tenure:
    """A line's holding of a lock.

    Attributes:
        lock, line, token, call: which, whose, under which number, and the call by which it got it.
        at: since when. renewed_at: when its lease began last.
        left_at: when its line gave it back, or learnt that it had lost it. gone_at: when the server ended it.
        tried_at: when its line tried to give it back. gave: whether the server said that it had.
    """

    lock: str
    line: int
    token: int
    call: Access
    at: int
    renewed_at: int
    left_at: int | None = None
    gone_at: int | None = None
    tried_at: int | None = None
    gave: bool = False


@dataclass(eq=False)
class Write:
    """A write that was applied, and what its line believed to hold."""

    call: Access
    at: int
    under: tuple[Tenure, ...]
    base: str | None


class LockServer(Stage):
    """Things: `lock`, `grab` (from a head that knows nothing of a hold), `unlock`, `read`, `write`, `pass` (of time).

    Args:
        tokens: whether each hold has a number that grows. lease: for how many moments a hold lasts; 0: for ever.
        checks: whether only its holder can unlock. fences: whether the register refuses older tokens.
    """

    def __init__(
        self,
        program: Iterable[Thing],
        *,
        tokens: bool = True,
        lease: int = 0,
        checks: bool = True,
        fences: bool = False,
    ) -> None:
        super().__init__()
        self.tokens, self.lease, self.checks, self.fences = tokens, lease, checks, fences
        self.tenures: list[Tenure] = []
        self.writes: list[Write] = []
        self.looks: list[Write] = []
        self.foreign: list[tuple[Tenure, Access]] = []
        self._version, self._highest = 1, 0
        self._held: dict[str, Tenure] = {}
        self._last: dict[int, str] = {}
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        if thing.does == "pass":
            self.let_pass()
        elif thing.does in ("lock", "grab"):
            self._lock(thing)
        elif thing.does == "unlock":
            self._unlock(thing)
        elif thing.does == "read":
            access = self._touch(thing, Op.READ, read=str(self._version))
            self.looks.append(Write(access, self.now, self._believed(thing.line), str(self._version)))
            self._last[thing.line] = str(self._version)
        elif thing.does == "write":
            self._write(thing)

    def lapsed(self, tenure: Tenure, at: int) -> bool:
        """Whether the lease had ended by then."""
        return bool(self.lease) and at > tenure.renewed_at + self.lease

    def _holder(self, lock: str) -> Tenure | None:
        held = self._held.get(lock)
        if held is not None and self.lapsed(held, self.now):
            held.gone_at = held.renewed_at + self.lease
            del self._held[lock]
            return None
        return held

    def _believed(self, line: int) -> tuple[Tenure, ...]:
        newest = {t.lock: t for t in self.tenures if t.line == line}
        return tuple(t for t in newest.values() if t.left_at is None)

    def _mine(self, thing: Thing) -> Tenure | None:
        return next((t for t in self._believed(thing.line) if t.lock == thing.to), None)

    def _lock(self, thing: Thing) -> None:
        held, mine = self._holder(thing.to), self._mine(thing)
        if held is not None and held is mine:
            mine.renewed_at = self.now
            self._call(thing, Op.LOCK, mine.token)
        elif held is not None and thing.does == "lock":
            self._call(thing, Op.LOCK, None, outcome=Outcome.REJECTED)
            if mine is not None:
                mine.left_at = self.now
        else:
            token = len(self.tenures) + 1
            call = self._call(thing, Op.LOCK, token)
            self._held[thing.to] = Tenure(thing.to, thing.line, token, call, self.now, self.now)
            self.tenures.append(self._held[thing.to])

    def _unlock(self, thing: Thing) -> None:
        held, mine = self._holder(thing.to), self._mine(thing)
        if mine is None and self.checks:
            return
        works = held is not None and (held is mine or not self.checks)
        refused = Outcome.REJECTED if self.checks else Outcome.NO_EFFECT
        call = self._call(thing, Op.UNLOCK, mine and mine.token, outcome=Outcome.OK if works else refused)
        if mine is not None:
            mine.left_at = mine.tried_at = self.now
            mine.gave = works
        if works and held is not None:
            held.gone_at = self.now
            del self._held[thing.to]
            if held.line != thing.line:
                self.foreign.append((held, call))

    def _call(self, thing: Thing, op: Op, token: int | None, **facts: object) -> Access:
        shown = str(token) if token is not None and self.tokens else None
        ttl_ms = self.lease * MOMENT_MS + 1 if self.lease and op is Op.LOCK else None
        return self.note(thing, op, f"lock://{thing.to}", lock=Lock(f"s{thing.line}", shown, ttl_ms), **facts)

    def _write(self, thing: Thing) -> None:
        under = self._believed(thing.line)
        token = max((tenure.token for tenure in under), default=0)
        base = self._last.get(thing.line)
        if self.fences and token < self._highest:
            self._touch(thing, Op.WRITE, outcome=Outcome.REJECTED, written=str(self._version + 1))
            return
        self._highest = max(self._highest, token)
        self._version += 1
        source = BaseSource.OBSERVED if base else None
        access = self._touch(thing, Op.WRITE, written=str(self._version), base=base, base_source=source)
        self._last[thing.line] = str(self._version)
        self.writes.append(Write(access, self.now, under, base))

    def _touch(self, thing: Thing, op: Op, **facts: object) -> Access:
        held = tuple(
            f"lock://{each.lock}#{each.token}" if self.tokens else f"lock://{each.lock}"
            for each in self._believed(thing.line)
        )
        return self.note(thing, op, "mem://x", version_kind=VersionKind.COUNTER, locks=held, **facts)

    def overtaken(self, write: Write) -> list[Tenure]:
        """Holds of others that began after the writer's own of that lock, before the write."""
        return [
            other
            for mine in write.under
            for other in self.tenures
            if other.lock == mine.lock and other.line != mine.line and mine.at < other.at < write.at
        ]

    def is_shown(self, write: Write) -> bool:
        """Whether who overtook a write had written before it, or had still read what it was computed from."""
        over = self.overtaken(write)
        wrote = any(w.at < write.at and set(w.under) & set(over) for w in self.writes)
        return wrote or any(r.base == write.base and set(r.under) & set(over) for r in self.looks)

    def outlived(self, write: Write) -> bool:
        """Whether the lease of a hold that a write was made under had ended, and another's had begun since."""
        return any(
            self.lapsed(mine, write.at)
            and any(o.lock == mine.lock and o.line != mine.line and mine.at < o.at < write.at for o in self.tenures)
            for mine in write.under
        )

    def bare(self) -> list[Write]:
        """Writes by whoever held nothing, while another did who gave it back later."""
        return [
            write
            for write in self.writes
            if not write.under
            and any(
                held.gave and held.at < write.at < (held.left_at or 0)
                for held in self.tenures
                if f"s{held.line}" != write.call.strand
            )
        ]

    def share_held(self) -> tuple[int, int]:
        """Of the looks and writes since a second line came, those made under a lock, and all."""
        both = sorted((*self.looks, *self.writes), key=lambda each: each.at)
        first = both[0].call.strand if both else ""
        since = next((at for at, each in enumerate(both) if each.call.strand != first), len(both))
        return sum(bool(each.under) for each in both[since:]), len(both) - since

    @property
    def had_again(self) -> bool:
        """Whether a line has had a lock more than once."""
        return len({(tenure.line, tenure.lock) for tenure in self.tenures}) < len(self.tenures)

    def at_once(self) -> list[tuple[Tenure, Tenure]]:
        """Two lines that both believed that they held a lock, the lease of the first not having ended."""
        return [
            (one, other)
            for one in self.tenures
            for other in self.tenures
            if one.lock == other.lock
            and one.line != other.line
            and one.at < other.at
            and (one.left_at is None or one.left_at > other.at)
            and not self.lapsed(one, other.at)
        ]


class Waiting(Stage):
    """Things: `lock`, `unlock`, `join` a line, `end`; whoever waits can `poll` until it has what it wants, or `quit`.

    Args:
        follows: whether the record names all that were in the way of a wait, or only who was when it began.
        names: whether a join names the strand that it waits for once more as who is in the way.
    """

    def __init__(self, program: Iterable[Thing], *, follows: bool = True, names: bool = True) -> None:
        super().__init__()
        self.follows, self.names = follows, names
        self.closed: list[Access] = []
        self._held: dict[str, int] = {}
        self._ended: set[int] = set()
        self._waits: dict[int, tuple[Thing, Access]] = {}
        self._seen: dict[int, set[int]] = defaultdict(set)
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        if thing.line in self._ended:
            return
        if thing.line in self._waits:
            self._go_on(thing)
        elif thing.does in ("lock", "join") and not (thing.does == "join" and int(thing.to) == thing.line):
            self._ask(thing)
        elif thing.does == "unlock" and self._held.get(thing.to) == thing.line:
            del self._held[thing.to]
            self.note(thing, Op.UNLOCK, f"lock://{thing.to}", lock=Lock(f"s{thing.line}"))
        elif thing.does == "end":
            self._ended.add(thing.line)
            self.let_pass()

    def _in_the_way(self, asked: Thing) -> int | None:
        if asked.does == "join":
            return int(asked.to) if int(asked.to) not in self._ended else None
        return self._held.get(asked.to)

    def _ask(self, thing: Thing) -> None:
        other = self._in_the_way(thing)
        if other == thing.line:
            return
        op, resource = (Op.LOCK, f"lock://{thing.to}") if thing.does == "lock" else (Op.JOIN, f"strand://s{thing.to}")
        facts = {"lock": Lock(f"s{thing.line}")} if thing.does == "lock" else {"strand_other": f"s{thing.to}"}
        access = self.note(thing, op, resource, answered=other is None, **facts)
        if other is None:
            self._had(thing)
            return
        access.outcome = Outcome.UNKNOWN
        self._waits[thing.line] = thing, access
        self._seen[thing.line] = {other}
        self._name(thing.line)
        if self._is_in_a_circle(thing.line):
            self.closed.append(access)

    def _name(self, line: int) -> None:
        _, access = self._waits[line]
        if access.op is Op.JOIN and not self.names:
            return
        access.waits_for = tuple(f"s{other}" for other in sorted(self._seen[line]))

    def _had(self, asked: Thing) -> None:
        if asked.does != "lock":
            return
        self._held[asked.to] = asked.line
        for line, (thing, _) in self._waits.items() if self.follows else ():
            if thing.does == "lock" and thing.to == asked.to and line != asked.line:
                self._seen[line].add(asked.line)
                self._name(line)

    def _go_on(self, thing: Thing) -> None:
        asked, access = self._waits[thing.line]
        if thing.does == "poll" and self._in_the_way(asked) is None:
            access.outcome = Outcome.OK
        elif thing.does == "quit":
            access.outcome = Outcome.REJECTED
        else:
            return
        del self._waits[thing.line]
        self.answered(thing.line)
        if access.outcome is Outcome.OK:
            self._had(asked)

    def _is_in_a_circle(self, line: int) -> bool:
        at, seen = line, set[int]()
        while at in self._waits and at not in seen:
            seen.add(at)
            other = self._in_the_way(self._waits[at][0])
            if other is None:
                return False
            at = other
        return at == line
