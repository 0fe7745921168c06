r"""A tiny language for histories, so that a test's table reads like the story it tells.

A story is a line of words, one access each, in the order in which they happen: `A` reads, then `B` does ...

    Arx1        strand A reads version 1 of resource x        Arx-      ... and finds nothing
    Awx2<1      A writes version 2, computed from 1           Awx2      ... blindly
    Awx3<1^2    ... the store says that it replaced 2         Awx3<1~0  ... having read 0 as well (a candidate)
    Aax2<1^1    A appends        Aix2<1   A inserts (puts)    Aux2      A updates in place        Adx<1   A deletes
    A[ A] A}    A begins a transaction, commits, rolls back   A[s       begins serializable (u: read_uncommitted)
    A/ A\        begins and takes back a savepoint             As9 Bg9   A sends message 9, B gets (receives) it
    Ak9 Ae9     A acknowledges 9, has an effect for it        Atx9      A takes row x as task 9
    A*B         A starts strand B    A+B  A has waited for B  Al7 An7   A locks, unlocks lock l with token 7
    Al7>B       A waits for lock l, which B has, and so on: `A+B`; what A does between lock and unlock names the lock
    Alx7        A locks lock x with token 7               Alx       ... without a token
    Am          A calls a model                                   Aqx1y2    A scans: found x at 1, y at 2 (Aq: nothing)
    Bj9         B gives message 9 back (nack)
    Bg9<4^2     B receives 9 at position 4, as its second delivery; `As9<4` sends it there
    Afh<k       A has effect h, under the idempotency key k; `Afh` without a key

Suffixes: `!ok !rejected !unknown !no_effect !error` the outcome; `?` the capture is partial; `=` the value is a number;
`%` the print is weak. Words in `(..)` overlap: all are called before any returns. `|` lets ten seconds pass.
"""

import re
from collections.abc import Iterator
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
from noclobber_analyzer.access import Access, Effect, Lock, Mark, Message, Process, Scan
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import roomy
from noclobber_analyzer.history import History, HistoryBuilder

__all__ = ["Story", "judge", "told"]

START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000
WORD = re.compile(
    r"(?P<strand>[A-Z])(?P<op>\*|\+|\[|\]|\}|/|\\|[a-z])(?P<rest>[A-Za-z0-9-]*)"
    r"(?:<(?P<base>\w+))?(?:\^(?P<over>\w+))?(?P<candidates>(?:~\w+)*)(?:>(?P<waits>[A-Z]))?(?:!(?P<outcome>\w+))?(?P<flags>[?=%@#]*)"
)
ISOLATION = {"": "read_committed", "s": "serializable", "u": "read_uncommitted", "r": "repeatable_read"}
MODES = {"w": WriteMode.OVERWRITE, "t": WriteMode.OVERWRITE, "a": WriteMode.APPEND, "i": WriteMode.INSERT,
         "b": WriteMode.MERGE}  # fmt: skip


@dataclass
class Story:
    """What a story is told with.

    Attributes:
        kind: of all versions. source: of all bases.
        guard, locks: of all writes.
        clocks: "one" machine, "host" (one host without a clock's name), or "apart" (a machine a strand).
        marked: whether processes say that they are complete.
        lost: words (numbers from 0) that nobody captured.
        agents: names by strand; the strand's letter else.
        system: of everything. session: whether receipts name their session (one a strand).
        predicates: that all inserts fall under; every scan asks for `predicate`.
        lease_ms: of all locks. owned: whether locks name their owners.
        key, group: ordering key of all messages, consumer group of all receipts.
        verbatim: whether the store returns just what it is sent.
        predicate: of all scans; `*`: everything below.
    """

    kind: VersionKind | None = VersionKind.FINGERPRINT
    source: BaseSource = BaseSource.OBSERVED
    guard: Guard = Guard.NONE
    locks: tuple[str, ...] = ()
    clocks: str = "one"
    marked: bool = True
    lost: tuple[int, ...] = ()
    agents: dict[str, str] = field(default_factory=dict)
    verbatim: bool = True
    predicate: str = "predicate"
    step: bool = True
    ttl_ms: int | None = None
    system: str = "redis"
    predicates: tuple[str, ...] = ()
    lease_ms: int | None = None
    owned: bool = True
    session: bool = True
    key: str | None = None
    group: str | None = None
    _now: int = START_NS
    _seq: dict[str, int] = field(default_factory=dict)
    _txn: dict[str, tuple[str, str]] = field(default_factory=dict)
    _path: dict[str, list[int]] = field(default_factory=dict)
    _parent: dict[str, tuple[str, int]] = field(default_factory=dict)
    _held: dict[str, list[str]] = field(default_factory=dict)
    _count: int = 0

    def accesses(self, text: str) -> list[Access]:
        """The accesses of a story."""
        made = list(self._tell(text))
        return [access for number, access in enumerate(made) if number not in self.lost]

    def history(self, text: str) -> History:
        """The history of a story."""
        builder = HistoryBuilder()
        accesses = self.accesses(text)
        for access in accesses:
            builder.add(access, access.name)
        if self.marked:
            for number, process in enumerate({a.process.id: a.process for a in accesses}.values()):
                mark = Mark(process, FRONTIER_END, None, 0, self._now)
                builder.add(mark, (f"{number:032x}", "f" * 16))
        return builder.finish(ended=True)

    def _tell(self, text: str) -> Iterator[Access]:
        together = False
        for token in re.findall(r"\S+", text.replace("(", " ( ").replace(")", " ) ")):
            if token == "|":
                self._now += 10_000_000_000
            elif token == "(":
                together = True
                self._now += STEP_NS
            elif token == ")":
                together = False
                self._now += STEP_NS
            else:
                yield self._word(token, together=together)

    def _word(self, token: str, *, together: bool) -> Access:
        match = WORD.fullmatch(token)
        assert match, f"no word of the language: {token}"
        start = self._now
        if not together:
            self._now += STEP_NS
        access = self._access(match, start, start + (STEP_NS if together else STEP_NS // 2))
        if together:
            self._now += 1000  # a little later, so that the order of calls is told
        return access

    def _access(self, match: re.Match[str], start: int, end: int) -> Access:
        strand, op, flags = match["strand"], match["op"], match["flags"]
        self._seq[strand] = self._seq.get(strand, 0) + 1
        self._count += 1
        access = roomy(
            trace_id=f"{ord(strand):032x}", span_id=f"{self._count:016x}", start_ns=start, end_ns=end,
            process=self._process(strand), op=Op.READ, resource="mem://x", system=self.system,
            outcome=Outcome(match["outcome"] or "ok"), agent=self.agents.get(strand, strand), strand=strand,
            seq=self._seq[strand], run=f"run-{strand}", unit=f"step-{strand}" if self.step else strand,
            unit_kind=UnitKind.STEP if self.step else None, partial="?" in flags, numeric="=" in flags,
            weak="%" in flags,
        )  # fmt: skip
        if match["waits"]:
            access.waits_for = (match["waits"],)
        parent = self._parent.pop(strand, None)
        if parent is not None:
            access.strand_parent, access.strand_parent_seq = parent
        self._in_transaction(access, op, match["rest"])
        self._what(access, op, match)
        return access

    def _process(self, strand: str) -> Process:
        if self.clocks == "one":
            return Process("p0", "clock", 0, "key", "host", "agents", 1, "1")
        if self.clocks == "host":
            return Process(f"p{strand}", None, 0, "key", "host", "agents", ord(strand), "1")
        return Process(f"p{strand}", f"clock{strand}", 0, "key", f"host{strand}", "agents", ord(strand), "1")

    def _in_transaction(self, access: Access, op: str, rest: str) -> None:
        strand = access.strand
        if op == "[":
            self._txn[strand] = (f"txn-{strand}-{access.seq}", ISOLATION[rest])
            self._path[strand] = []
        if strand in self._txn:
            access.txn_id, access.isolation = self._txn[strand]
            access.unit, access.unit_kind = access.txn_id, UnitKind.TXN
            access.savepoint = "/".join(str(number) for number in self._path[strand]) or None
            if access.isolation == "serializable":
                access.guard = Guard.SERIALIZABLE
        if op in "]}":
            self._txn.pop(strand)

    def _what(self, access: Access, op: str, match: re.Match[str]) -> None:
        rest = match["rest"]
        if op == "r":
            self._read(access, rest)
        elif op in "waibdut":
            self._write(access, op, match)
        elif op in "sgkej":
            self._message(access, op, match)
        elif op == "f":
            access.op, access.resource = Op.EFFECT, "effect://mail/send"
            access.effect = Effect(rest, match["base"])
        elif op in "*+":
            access.op = Op.SPAWN if op == "*" else Op.JOIN
            access.strand_other = rest
            access.resource = f"strand://{rest}"
            if op == "*":
                self._parent[rest] = (access.strand, access.seq)
            else:
                access.strand_other_seq = self._seq.get(rest, 0)
        elif op in "ln":
            self._lock(access, op, rest)
        elif op == "q":
            found = re.findall(r"([a-z])(\d*)", rest)
            members = tuple(f"mem://{name}" for name, _ in found)
            versions = tuple(version for _, version in found) if all(version for _, version in found) else ()
            access.op, access.resource, access.version_kind = Op.SCAN, "mem://", self.kind
            access.scan = Scan(self.predicate, resources=members, versions=versions, count=len(found))
        elif op == "m":
            access.op, access.resource = Op.MODEL, "model://fake/thinker"
        elif op in "/\\":
            self._savepoint(access, op)
        else:
            access.op = {"[": Op.BEGIN, "]": Op.COMMIT, "}": Op.ABORT}[op]
            access.resource = "postgresql://db"

    def _lock(self, access: Access, op: str, rest: str) -> None:
        name, token = (rest[0], rest[1:]) if rest and rest[0].isalpha() else ("", rest)
        access.op = Op.LOCK if op == "l" else Op.UNLOCK
        access.resource = f"redis://lock{name}"
        access.lock = Lock(access.strand if self.owned else None, token or None, self.lease_ms)
        held = self._held.setdefault(access.strand, [])
        access.locks = tuple(held) if op == "l" else ()
        if op == "n":
            held[:] = [each for each in held if each.partition("#")[0] != access.resource]
        elif access.outcome is Outcome.OK:
            held.append(f"{access.resource}#{token}" if token else access.resource)

    def _message(self, access: Access, op: str, match: re.Match[str]) -> None:
        access.op = {"s": Op.SEND, "g": Op.RECEIVE, "k": Op.ACK, "e": Op.EFFECT, "j": Op.NACK}[op]
        access.resource = "redis://queue"
        access.message = Message(
            match["rest"],
            group=self.group if op == "g" else None,
            key=self.key,
            seq=int(match["base"]) if match["base"] else None,
            session=access.strand if op == "g" and self.session else None,
            delivery=int(match["over"]) if match["over"] else None,
        )

    def _savepoint(self, access: Access, op: str) -> None:
        path = self._path[access.strand]
        if op == "/":
            path.append(access.seq)
            access.op, access.resource = Op.BEGIN, "postgresql://db"
            access.savepoint = "/".join(str(number) for number in path)
        else:
            access.op, access.resource = Op.ABORT, "postgresql://db"
            access.savepoint = "/".join(str(number) for number in path)
            path.pop()

    def _read(self, access: Access, rest: str) -> None:
        access.resource = f"mem://{rest[0]}"
        access.version_kind, access.verbatim = self.kind, self.verbatim
        access.locks = tuple(self._held.get(access.strand, ()))
        if self.kind is None:
            return
        access.read = self._absent() if rest[1:] == "-" else rest[1:]
        if rest[1:] == "-":
            access.outcome = Outcome.NOT_FOUND

    def _write(self, access: Access, op: str, match: re.Match[str]) -> None:
        rest = match["rest"]
        access.op = {"d": Op.DELETE, "u": Op.UPDATE}.get(op, Op.WRITE)
        access.mode = WriteMode.INCREMENT if op == "u" else MODES.get(op, WriteMode.OVERWRITE)
        access.resource, access.ttl_ms = f"mem://{rest[0]}", self.ttl_ms
        access.version_kind, access.verbatim = self.kind, self.verbatim
        if access.guard is Guard.NONE:
            access.guard = self.guard
        access.locks = self.locks or tuple(self._held.get(access.strand, ()))
        made = rest[1:]
        if op == "i":
            access.predicates = self.predicates
        if op == "t":
            access.message, made = Message(rest[1:]), f"taken{access.strand}"
        if self.kind is None:
            return
        access.written = self._absent() if op == "d" else made or None
        if match["base"]:
            access.base = self._absent() if match["base"] == "absent" else match["base"]
            access.base_source = self.source
        if match["over"]:
            access.overwritten = self._absent() if match["over"] == "absent" else match["over"]
        if access.guard is Guard.VERSION:
            access.expected = access.base
        access.candidates = tuple(each for each in match["candidates"].split("~") if each)

    def _absent(self) -> str:
        return ABSENT_NUMBER if self.kind in (VersionKind.COUNTER, VersionKind.ORDERED) else ABSENT


def judge(text: str, **told_with: object) -> Evaluation:
    """What the analyzer makes of a story."""
    return evaluate(Story(**told_with).history(text))  # type: ignore[arg-type]  # the tests name real fields


def told(text: str, **told_with: object) -> list[str]:
    """The findings of a story as `kind certainty resource strand+strand`, sorted; the strands are those that race."""
    lines = []
    for finding in judge(text, **told_with).findings:
        races = [edge for edge in finding.edges if edge.type == "unordered"]
        by_span = {access.span_id: access.strand for access in finding.accesses}
        named = [access.strand for access in finding.accesses if access.role in ("dirty_read", "intermediate_read")]
        pair = [by_span[races[-1].source], by_span[races[-1].target]] if races else named
        pair = pair or [finding.accesses[-1].strand]
        lines.append(f"{finding.kind} {finding.certainty} {finding.resource[6:]} {'>'.join(pair)}")
    return sorted(lines)
