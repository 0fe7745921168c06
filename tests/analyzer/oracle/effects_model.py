"""Models of the world outside: calls that are repeated, acts that rest on a look, and decisions that are carried out.

Whoever is called does what it is asked, unless it knows the call's key, or fails; an answer may be lost on its way. A
register changes while somebody decides what to do. Tools are started one after the other and finish as they please.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from oracle.moments import Stage, Thing

from noclobber.contract import Op, Outcome, UnitKind, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Effect, Message, key_of

__all__ = ["Act", "Called", "Decisions", "Looks", "Outside"]


@dataclass(eq=False)
class Called:
    """A call of a tool.

    Attributes:
        line, call: whose, and as recorded. wish: what was wanted by it; a repetition wants the same thing.
        again: the call that it repeats. answered: whether an answer came. happened: whether it changed the world.
    """

    line: int
    call: Access
    wish: int
    again: "Called | None"
    answered: bool
    happened: bool


class Outside(Stage):
    """Things: `call` the tool for something new; `repeat` the last call; each `to` one end.

    Ends: `ok`, `lost` (it happened, but no answer came), `never` (nothing came there, nor back), `failed`.

    Args:
        keyed: whether a repetition has the key of what it repeats. linked: whether it says what it repeats.
        apart: whether the things wanted differ from each other.
    """

    def __init__(
        self, program: Iterable[Thing], *, keyed: bool = False, linked: bool = True, apart: bool = False
    ) -> None:
        super().__init__()
        self.keyed, self.linked, self.apart = keyed, linked, apart
        self.calls: list[Called] = []
        self._known: set[int] = set()
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        own = [called for called in self.calls if called.line == thing.line]
        again = own[-1] if own and thing.does == "repeat" else None
        if thing.does == "repeat" and again is None:
            return
        wish = again.wish if again is not None else self.now
        happens = thing.to in ("ok", "lost") and not (self.keyed and wish in self._known)
        if thing.to in ("ok", "lost"):
            self._known.add(wish)
        outcome = {"ok": Outcome.OK, "failed": Outcome.ERROR}.get(thing.to, Outcome.UNKNOWN)
        access = self.note(
            thing, Op.EFFECT, "effect://bank/pay", outcome=outcome, run=f"run-{thing.line}",
            effect=Effect(f"pay-{wish if self.apart else 0}", f"key-{wish}" if self.keyed else None),
        )  # fmt: skip
        if again is not None and self.linked:
            access.links = ((again.call.trace_id, again.call.span_id, "retry"),)
        answered = outcome is not Outcome.UNKNOWN
        self.calls.append(Called(thing.line, access, wish, again, answered, happens))

    def before(self, called: Called) -> list[Called]:
        """Earlier calls for the same thing."""
        return [c for c in self.calls[: self.calls.index(called)] if c.wish == called.wish]

    def twice(self) -> list[Called]:
        """Calls by which something that was wanted once happened again."""
        return [c for c in self.calls if c.happened and any(earlier.happened for earlier in self.before(c))]


@dataclass(eq=False)
class Act:
    """Something that was done outside.

    Attributes:
        line, call: whose, and as recorded. looks: at how many things its line had looked before, and not changed since.
        outdated: those of them that another had changed since.
    """

    line: int
    call: Access
    looks: int
    outdated: list[str]


class Looks(Stage):
    """Things: `look` at a register, `change` it, `act` outside.

    Args:
        firm: lines that look and act in one transaction each, which ends at the end, and change nothing.
    """

    def __init__(self, program: Iterable[Thing], *, firm: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.firm = firm
        self.acts: list[Act] = []
        self._changes: dict[str, list[tuple[int, int]]] = {"x": [], "y": []}
        self._looked: dict[tuple[int, str], int] = {}
        self.run(program)
        for line in sorted(firm & {thing.line for thing in self.did}):
            self.now += 1
            self._note(Thing(line, "commit"), Op.COMMIT, "sql://")

    def carry_out(self, thing: Thing) -> None:
        changes = self._changes[thing.to]
        if thing.does == "look":
            self._looked[thing.line, thing.to] = self.now
            self._note(thing, Op.READ, f"mem://{thing.to}", read=str(len(changes) + 1))
        elif thing.does == "change" and thing.line not in self.firm:
            self._looked.pop((thing.line, thing.to), None)
            changes.append((self.now, thing.line))
            self._note(thing, Op.UPDATE, f"mem://{thing.to}", written=str(len(changes) + 1), mode=WriteMode.INCREMENT)
        elif thing.does == "act":
            looks = {name: at for (line, name), at in self._looked.items() if line == thing.line}
            call = self._note(thing, Op.SEND, "queue://q", message=Message(f"{self.now}"))
            outdated = [name for name, since in looks.items() if self._changed(name, since, thing.line)]
            self.acts.append(Act(thing.line, call, len(looks), outdated))

    def _changed(self, name: str, since: int, line: int) -> bool:
        return any(since < at < self.now and by != line for at, by in self._changes[name])

    def _note(self, thing: Thing, op: Op, resource: str, **facts: object) -> Access:
        access = self.note(thing, op, resource, unit=f"step-{thing.line}", unit_kind=UnitKind.STEP, **facts)
        if resource.startswith("mem:"):
            access.version_kind = VersionKind.COUNTER
        if thing.line in self.firm:
            access.txn_id = access.unit = f"txn-{thing.line}"
            access.unit_kind, access.isolation = UnitKind.TXN, "read_committed"
        return access


class Decisions(Stage):
    """Things: `decide` (by line 0) what another line is to do; `carry` it out, to the register that all write to.

    Attributes:
        late: what was carried out after what had been decided later.
    """

    def __init__(self, program: Iterable[Thing]) -> None:
        super().__init__()
        self.late: list[Access] = []
        self._decided: list[tuple[int, Access]] = []
        self._done: set[int] = set()
        self.run(program)

    def carry_out(self, thing: Thing) -> None:
        order = [int(line) for line, _ in self._decided]
        if thing.does == "decide" and int(thing.to) not in order:
            call = self._note(Thing(0, "decide", thing.to, thing.early, thing.late), Op.MODEL, "model://some/one")
            self._decided.append((int(thing.to), call))
        elif thing.does == "carry" and thing.line in order and thing.line not in self._done:
            own = order.index(thing.line)
            call = self._note(thing, Op.WRITE, "mem://x", model_span=self._decided[own][1].span_id)
            if any(newer in self._done for newer in order[own + 1 :]):
                self.late.append(call)
            self._done.add(thing.line)

    def _note(self, thing: Thing, op: Op, resource: str, **facts: object) -> Access:
        access = self.note(thing, op, resource, run="run", **facts)
        access.key = key_of(f"{1:032x}", access.span_id)
        return access
