"""A world that is known through and through: strands act on registers, and what is recorded is only part of it.

`World` carries out a plan move by move. Every move has an instant at which it takes effect, an interval around it
that the record shows, and what a client library would have recorded; the story that really happened stands beside it
as `Event`s (who, when, what stood there before, from what it was computed). Recorded are never more than a part:
spans get lost, scripts make versions that nobody sees, outcomes stay unknown, clocks do not compare.

Nothing here imports what the analyzer thinks: only the decoded form of a span, to hand the record over.
"""

from dataclasses import dataclass, field

from noclobber.contract import (
    ABSENT,
    ABSENT_NUMBER,
    FRONTIER_END,
    BaseSource,
    Guard,
    Op,
    Outcome,
    UnitKind,
    VersionKind,
    WriteMode,
)
from noclobber_analyzer.access import Access, Mark, Message, Process
from noclobber_analyzer.forms import roomy
from noclobber_analyzer.history import History, HistoryBuilder

__all__ = ["Cell", "Event", "Move", "Plan", "World"]

TICK = 1_000_000_000
NUMBERS = (VersionKind.COUNTER, VersionKind.ORDERED)
WRITING = ("write", "append", "insert", "update", "script", "delete", "take")
PARTS = {"": (), "a": ("a",), "b": ("b",)}


@dataclass(frozen=True)
class Move:
    """One thing that somebody does.

    Attributes:
        strand: who (0 to 2). verb: what. resource: to what (`x` or `y`). content: what is written.
        part: a field, or "" for the whole. ends: how it ends: `ok`, `unknown` (applied or not) or `rejected`.
        early, late: how many moves before and after its instant its interval reaches.
        older: whether the value is computed from the read before the last one, and both are named.
    """

    strand: int
    verb: str
    resource: str = "x"
    content: str = "p"
    part: str = ""
    ends: str = "ok"
    early: int = 0
    late: int = 0
    older: bool = False


@dataclass(frozen=True)
class Plan:
    """A story and how it is recorded.

    Attributes:
        moves: in the order of their instants.
        kind: of all versions. source: of all bases.
        tells: whether the store tells what a write replaced.
        clocks: `one`, `host` or `apart`. dirty: whether others see what is not committed yet.
        lost: numbers of recorded accesses that are lost. marked: whether processes say how far they are complete.
        keys: whether each strand has a fingerprint key of its own. verbatim: whether what is read is what was sent.
        ttl: whether the state may vanish, and is known to. weak: content whose print is too common.
        first: the content that was there before anybody came.
    """

    moves: tuple[Move, ...]
    kind: VersionKind = VersionKind.COUNTER
    source: BaseSource = BaseSource.OBSERVED
    tells: bool = True
    clocks: str = "one"
    dirty: bool = False
    lost: tuple[int, ...] = ()
    marked: bool = True
    keys: bool = False
    verbatim: bool = True
    ttl: bool = False
    weak: str = ""
    first: str = "p"

    @property
    def complete(self) -> bool:
        """Whether everything is on record, on clocks that compare exactly."""
        return not self.lost and self.clocks == "one" and not any(m.verb.startswith("outside") for m in self.moves)


@dataclass(eq=False)
class Cell:
    """One state of one register. Two states are never one, equal as they may be."""

    number: int = 0
    contents: dict[str, str] = field(default_factory=dict)
    life: int = 0
    maker: "Event | None" = None
    present: bool = True

    def content(self, part: str) -> str:
        return self.contents[part] if part else "".join(self.contents.values())


@dataclass(eq=False)
class Event:
    """What really happened.

    Attributes:
        move, strand, txn: who did what in which transaction.
        at: its instant; visible: from when on others saw it; None: never.
        before, after: the states around a write; `after` is what a read got.
        applied: whether it stayed. basis: the access that its value was computed from.
        span: its name in the record; None: nobody recorded it.
    """

    move: Move
    at: int
    before: Cell
    after: Cell
    txn: int | None = None
    visible: int | None = None
    applied: bool = True
    basis: "Event | None" = None
    span: str | None = None

    @property
    def strand(self) -> int:
        return self.move.strand

    @property
    def writes(self) -> bool:
        return self.move.verb.removeprefix("outside-") in (*WRITING, "release")


class World:
    """Carries a plan out; then `events` is the truth and `history()` the record."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.events: list[Event] = []
        self.happened: list[Event] = []
        self.recorded: list[Access] = []
        self.cells = {name: Cell(1, {"a": plan.first, "b": plan.first}) for name in "xy"}
        self._locked: dict[str, int] = {}
        self._open: dict[int, tuple[int, str, list[Event]]] = {}
        self._pending: dict[tuple[int, str], Cell] = {}
        self._seq: dict[int, int] = {}
        self._seen: dict[tuple[int, str], list[Event]] = {}
        self._free_at: dict[int, int] = {}
        self._took: dict[int, int] = {}
        for at, move in enumerate(plan.moves):
            self._carry_out(at, move)
        self._close(len(plan.moves))

    def of(self, span: str) -> Event:
        """The truth behind a recorded access."""
        return next(event for event in self.events if event.span == span)

    @property
    def unseen_deletion(self) -> bool:
        """Whether the state was deleted and nobody recorded that: numbers began again, and nothing tells."""
        lost = {self.recorded[number].span_id for number in self.plan.lost if number < len(self.recorded)}
        deletions = [event for event in self.happened if event.move.verb.endswith("delete")]
        return any(event.span is None or event.span in lost for event in deletions)

    def history(self) -> History:
        """What is known of it."""
        return self.builder().finish(ended=True)

    def builder(self) -> HistoryBuilder:
        builder = HistoryBuilder()
        kept = [access for number, access in enumerate(self.recorded) if number not in self.plan.lost]
        for access in kept:
            builder.add(access, access.name)
        if self.plan.marked:
            for number, process in enumerate({a.process.id: a.process for a in kept}.values()):
                builder.add(Mark(process, FRONTIER_END, None, 0, 10**15), (f"{number:032x}", "f" * 16))
        return builder

    # What happens

    def _carry_out(self, at: int, move: Move) -> None:
        if move.verb in ("begin", "commit", "abort"):
            self._transaction(at, move)
        elif move.verb == "expire":
            if self.plan.ttl and move.resource not in self._locked:
                self.cells[move.resource] = Cell(0, life=self.cells[move.resource].life + 1, present=False)
        elif move.verb == "read":
            self._read(at, move)
        elif move.verb == "join":
            self._record(at, move, Event(move, at, Cell(), Cell()))
        elif move.verb == "ack":
            if move.strand in self._took:
                self._record(at, move, Event(move, at, Cell(), Cell()))
        elif self._locked.get(move.resource, move.strand) == move.strand:
            self._write(at, move)

    def _transaction(self, at: int, move: Move) -> None:
        event = Event(move, at, Cell(), Cell())
        if move.verb == "begin":
            if move.strand not in self._open:
                self._open[move.strand] = (at, f"txn-{move.strand}-{at}", [])
                self._record(at, move, event)
            return
        if move.strand not in self._open:
            return
        self._record(at, move, event)
        self._end(at, move.strand, applied=move.verb == "commit")

    def _end(self, at: int, strand: int, *, applied: bool) -> None:
        _, _, events = self._open.pop(strand)
        for event in events if applied else reversed(events):
            event.applied = event.applied and applied
            if event.writes and event.move.ends == "ok":
                event.visible = at if applied else None
                self.cells[event.move.resource] = event.after if applied else event.before
                self._pending.pop((strand, event.move.resource), None)
        self._locked = {name: holder for name, holder in self._locked.items() if holder != strand}

    def _close(self, at: int) -> None:
        for strand in list(self._open):
            self._end(at, strand, applied=False)

    def _current(self, strand: int, resource: str) -> Cell:
        return self._pending.get((strand, resource), self.cells[resource])

    def _read(self, at: int, move: Move) -> None:
        cell = self._current(move.strand, move.resource)
        event = Event(move, at, cell, cell, txn=self._txn(move.strand))
        self._record(at, move, event)
        self._seen.setdefault((move.strand, move.resource + move.part), []).append(event)

    def _txn(self, strand: int) -> int | None:
        return self._open[strand][0] if strand in self._open else None

    def _write(self, at: int, move: Move) -> None:
        verb = move.verb.removeprefix("outside-")
        outside = verb != move.verb
        before = self._current(-1 if outside else move.strand, move.resource)
        if not before.present and verb in ("delete", "take", "release"):
            return
        applied = move.ends == "ok" or (move.ends == "unknown" and move.early % 2 == 0)
        event = Event(move, at, before, self._made(move, verb, before), applied=applied)
        seen = [] if outside else self._seen.get((move.strand, move.resource + move.part), [])
        if seen and verb in ("write", "append", "insert", "delete", "take"):
            event.basis = seen[-2] if move.older and len(seen) > 1 else seen[-1]
        event.after.maker = event
        self.happened.append(event)
        if not outside:
            event.txn = self._txn(move.strand)
            self._record(at, move, event)
            if verb not in ("script", "update", "release") and move.ends == "ok":
                self._seen.setdefault((move.strand, move.resource + move.part), []).append(event)
            if verb == "take" and applied:
                self._took[move.strand] = at
        if applied:
            self._apply(event, outside=outside)

    def _apply(self, event: Event, *, outside: bool) -> None:
        strand, resource = event.strand, event.move.resource
        if event.txn is None or outside:
            self.cells[resource], event.visible = event.after, event.at
            return
        self._open[strand][2].append(event)
        self._locked[resource] = strand
        if self.plan.dirty:
            self.cells[resource] = event.after
        else:
            self._pending[strand, resource] = event.after

    def _made(self, move: Move, verb: str, before: Cell) -> Cell:
        if verb == "delete":
            return Cell(0, life=before.life + 1, present=False)
        contents = dict(before.contents) or {"a": "-", "b": "-"}
        for part in (move.part,) if move.part else ("a", "b"):
            contents[part] = {"take": "T", "release": "p"}.get(verb, move.content)
        jump = 1 if self.plan.kind is VersionKind.COUNTER else 1 + move.late
        return Cell(before.number + jump, contents, before.life)

    # What is recorded

    def _version(self, cell: Cell, part: str, *, reply: bool) -> str:
        kind = self.plan.kind
        nothing = kind is VersionKind.FINGERPRINT and part and cell.contents.get(part) == "-"
        if not cell.present or nothing:
            return ABSENT_NUMBER if kind in NUMBERS else ABSENT
        if kind in NUMBERS:
            return str(cell.number)
        if kind is VersionKind.CHAIN:
            return f"c{cell.maker.at if cell.maker else ''}-{cell.life}"
        return cell.content(part) + ("r" if reply and not self.plan.verbatim else "")

    def _record(self, at: int, move: Move, event: Event) -> None:
        strand = move.strand
        self._seq[strand] = self._seq.get(strand, 0) + 1
        start = max(at * 10 - move.early * 10, self._free_at.get(strand, 0) + 1)
        end = max(at * 10 + 2 + move.late * 10, start)
        end = min(end, self._next_of(strand, at) * 10 - 4)
        self._free_at[strand] = end
        event.span = f"{len(self.recorded) + 1:016x}"
        access = roomy(
            trace_id=f"{strand + 1:032x}", span_id=event.span, start_ns=TICK + start * TICK // 10,
            end_ns=TICK + end * TICK // 10, process=self._process(strand), op=Op.READ, resource=f"mem://{move.resource}",
            system="memory", outcome=Outcome(move.ends), agent=f"agent-{strand}", strand=f"s{strand}",
            seq=self._seq[strand], run=f"run-{strand}", unit=f"step-{strand}", unit_kind=UnitKind.STEP,
            part=PARTS[move.part], version_kind=self.plan.kind, verbatim=self.plan.verbatim,
            weak=self._is_weak(event),
        )  # fmt: skip
        self._in_transaction(access, strand)
        self._told(access, move, event)
        self.events.append(event)
        self.recorded.append(access)

    def _is_weak(self, event: Event) -> bool:
        contents = (event.after.contents.get("a"), event.before.contents.get("a"))
        return bool(self.plan.weak) and self.plan.weak in contents

    def _next_of(self, strand: int, at: int) -> int:
        later = [n for n, m in enumerate(self.plan.moves) if n > at and m.strand == strand]
        return later[0] if later else len(self.plan.moves) + 9

    def _process(self, strand: int) -> Process:
        key = f"key{strand if self.plan.keys else ''}"
        if self.plan.clocks == "one":
            return Process(f"p{strand}", "clock", strand * 7, key, "host", "agents", strand, "1")
        if self.plan.clocks == "host":
            return Process(f"p{strand}", None, 0, key, "host", "agents", strand, "1")
        return Process(f"p{strand}", f"clock{strand}", 0, key, f"host{strand}", "agents", strand, "1")

    def _in_transaction(self, access: Access, strand: int) -> None:
        if strand in self._open:
            access.txn_id = access.unit = self._open[strand][1]
            access.unit_kind = UnitKind.TXN
            access.isolation = "read_uncommitted" if self.plan.dirty else "read_committed"

    def _told(self, access: Access, move: Move, event: Event) -> None:
        verb = move.verb
        if verb in ("begin", "commit", "abort"):
            access.op, access.resource, access.version_kind = Op(verb), "memory://", None
        elif verb == "join":
            other = (move.strand + 1 + (move.content in "rs")) % 3
            access.op, access.version_kind = Op.JOIN, None
            access.strand_other, access.strand_other_seq = f"s{other}", self._seq.get(other, 0)
        elif verb == "read":
            access.outcome = Outcome.OK if event.after.present else Outcome.NOT_FOUND
            access.read = self._version(event.after, move.part, reply=True)
        elif verb == "ack":
            access.op, access.message, access.version_kind = Op.ACK, Message(access.resource), None
        else:
            self._write_told(access, move, event)

    def _write_told(self, access: Access, move: Move, event: Event) -> None:
        access.op = {"delete": Op.DELETE, "update": Op.UPDATE, "script": Op.UPDATE}.get(move.verb, Op.WRITE)
        modes = {"append": WriteMode.APPEND, "insert": WriteMode.INSERT, "update": WriteMode.INCREMENT}
        access.mode = modes.get(move.verb, WriteMode.OVERWRITE)
        access.partial, access.ttl_ms = move.verb == "script", 1 if self.plan.ttl else None
        if move.verb == "take":
            access.message = Message(access.resource)
        if move.verb == "script" or move.ends != "ok":
            sent = self.plan.kind is VersionKind.FINGERPRINT and move.verb != "script"
            access.written = event.after.content(move.part) if sent else None
        else:
            access.written = self._version(event.after, move.part, reply=False)
            access.overwritten = self._version(event.before, move.part, reply=True) if self.plan.tells else None
        self._base_told(access, move, event)
        if move.ends == "rejected":
            access.guard, access.expected = Guard.VERSION, access.base

    def _base_told(self, access: Access, move: Move, event: Event) -> None:
        """The base that is recorded: the last that the strand got; the one before, too, where it may be that one."""
        if event.basis is None:
            return
        seen = [e for e in self._seen[move.strand, move.resource + move.part] if e is not event]
        last = seen[-1]
        access.base, access.base_source = self._seen_as(last, move.part), self.plan.source
        access.base_strand, access.base_seq = f"s{move.strand}", self._at(last).seq
        access.base_end_ns = self._at(last).end_ns
        if event.basis is not last:
            access.candidates = (self._seen_as(event.basis, move.part),)

    def _seen_as(self, event: Event, part: str) -> str:
        return self._version(event.after, part, reply=event.move.verb == "read")

    def _at(self, event: Event) -> Access:
        return next(access for access in self.recorded if access.span_id == event.span)
