"""What one agent did to one resource, decoded: the only form in which accesses travel inside the analyzer.

Outside data (OTLP files, rows of the store) is decoded once, at the seam, into these types; no dictionary of
attributes travels further. Facts that few accesses have stand in records of their own (scans, messages, locks,
effects); how an access keeps those that it has is decided in `forms`.

Times are nanoseconds as the process recorded them: its monotonic clock plus the process's constant `clock_offset_ns`;
`noclobber_analyzer.clocks` says which of them compare.

Source: the noclobber contract, sections 1 and 2. Nothing is judged here.
"""

from typing import Final

import msgspec

from noclobber.contract import BaseSource, Guard, Op, Outcome, UnitKind, VersionKind, WriteMode

__all__ = [
    "Access",
    "Effect",
    "Lock",
    "Mark",
    "Message",
    "Process",
    "Scan",
    "Version",
    "ids_of",
    "key_of",
]  # fmt: skip

KEY_BYTES: Final = 24
"""Bytes of a key: eight of the span's id, sixteen of the trace's."""
SPAN_DIGITS: Final = 16
"""Digits of a span's id."""

Version = str
"""A version: names one state of one resource; always text."""


class Process(msgspec.Struct, frozen=True, gc=False):
    """The process that sent an access: one boot or one fork of one program.

    Attributes:
        id: random id of this boot or fork.
        clock: names the machine's clock; None where it was not recorded.
        clock_offset_ns: constant added to the monotonic clock; (time - offset) compares exactly under one clock.
        key_id: names the key of its fingerprints; None where it was not recorded.
        host, service, pid: who it is for people.
        contract: version of the contract that it speaks.
    """

    id: str
    clock: str | None = None
    clock_offset_ns: int = 0
    key_id: str | None = None
    host: str | None = None
    service: str | None = None
    pid: int | None = None
    contract: str | None = None


class Scan(msgspec.Struct, frozen=True, gc=False):
    """What a predicate or vector query asked and got.

    Attributes:
        predicate: keyed hash of the normalised predicate; `*`: everything below the resource.
        id, part, parts: a scan of more than 64 results comes in several spans of one id.
        approximate: missing members prove nothing (vector search).
        resources, versions: members and what each was seen at, parallel; versions may be empty.
        count: rows returned, where known.
    """

    predicate: str | None = None
    id: str | None = None
    part: int | None = None
    parts: int | None = None
    approximate: bool = False
    resources: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    count: int | None = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """The message or task that an access sends, takes or works on.

    Attributes:
        id: what producer and consumer both know.
        group: consumer group; None where unknown, or where the system has none.
        key, seq, session, delivery: ordering key, position, assignment, number of the delivery from 1.
    """

    id: str
    group: str | None = None
    key: str | None = None
    seq: int | None = None
    session: str | None = None
    delivery: int | None = None


class Lock(msgspec.Struct, frozen=True, gc=False):
    """What a `lock` or `unlock` says of the lock.

    Attributes:
        owner: who holds it.
        token: fencing token (digits) or the holder's secret's print; None where there is none.
        ttl_ms: lease, None: for ever.
        shared: whether several may hold it.
    """

    owner: str | None = None
    token: str | None = None
    ttl_ms: int | None = None
    shared: bool = False


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Something outside that can't be taken back.

    Attributes:
        hash: keyed hash of tool and arguments.
        key: idempotency key, if there is one.
    """

    hash: str
    key: str | None = None


class Access:
    """One operation on one resource by one strand; made by `access_of`.

    What an access does not say is its class's: each fact's default stands here, and takes no room.

    Attributes:
        key: what names it, its span's and its trace's id (`key_of`); it sorts as they do in hex.
        start_ns, end_ns: call and return, as recorded (see `clocks`).
        op, resource, system, outcome: what was done, to what, how it ended.
        part: fields touched, sorted; empty: the whole.
        agent, strand, seq: who, on which line of execution, as its how manieth call (from 1).
        run, step, unit, unit_kind: what it belongs to; `unit` is never empty: it falls back to step, then strand.
        version_kind: what its versions can prove; None: nothing.
        read, base, overwritten, written: versions, None where not recorded.
        base_source, base_strand, base_seq, base_end_ns: where the base came from.
        weak: its print is too common to name one state. verbatim: the store returns just what it is sent.
        mode, guard, locks: how it writes, what protects it, lock URIs held (with `#token` where there is one).
        txn_id: its transaction.
        partial, open: as in the contract.
        size: bytes.
        code_function, code_file, code_line: first frame outside libraries.
        candidates, expected: as in the contract.
        content_read, content_written, numeric: content prints beside another version kind; the value is a number.
        isolation, savepoint: of its transaction; savepoint is a path such as `1/2`.
        predicates: on a write: predicates known to cover it.
        ttl_ms, closed, branch, cancelled: as in the contract.
        strand_parent, strand_parent_seq: on a strand's first span: who started it.
        strand_other, strand_other_seq: whom a spawn starts or a join has waited for.
        waits_for: strands or owners in the way.
        model_span: the model call whose answer led to this access.
        peer: the network address that answered.
        result_count: rows returned or affected.
        links: (trace id, span id, value of `noclobber.edge`) of its span links.
    """

    __slots__ = ()

    key: bytes
    start_ns: int
    end_ns: int
    process: Process
    op: Op
    resource: str
    system: str
    outcome: Outcome = Outcome.OK
    part: tuple[str, ...] = ()
    agent: str
    strand: str
    seq: int
    run: str | None = None
    step: str | None = None
    unit: str
    unit_kind: UnitKind | None = None
    version_kind: VersionKind | None = None
    read: Version | None = None
    base: Version | None = None
    base_source: BaseSource | None = None
    base_strand: str | None = None
    base_seq: int | None = None
    base_end_ns: int | None = None
    overwritten: Version | None = None
    written: Version | None = None
    weak: bool = False
    verbatim: bool = True
    mode: WriteMode = WriteMode.OVERWRITE
    guard: Guard = Guard.NONE
    locks: tuple[str, ...] = ()
    txn_id: str | None = None
    partial: bool = False
    open: bool = False
    size: int | None = None
    code_function: str | None = None
    code_file: str | None = None
    code_line: int | None = None
    scan: Scan | None = None
    message: Message | None = None
    lock: Lock | None = None
    effect: Effect | None = None
    candidates: tuple[Version, ...] = ()
    expected: Version | None = None
    content_read: str | None = None
    content_written: str | None = None
    numeric: bool = False
    isolation: str | None = None
    savepoint: str | None = None
    predicates: tuple[str, ...] = ()
    ttl_ms: int | None = None
    closed: bool = False
    branch: str | None = None
    cancelled: bool = False
    strand_parent: str | None = None
    strand_parent_seq: int | None = None
    strand_other: str | None = None
    strand_other_seq: int | None = None
    waits_for: tuple[str, ...] = ()
    model_span: str | None = None
    peer: str | None = None
    result_count: int | None = None
    links: tuple[tuple[str, str, str], ...] = ()

    @property
    def trace_id(self) -> str:
        """Its trace's id in hex."""
        return ids_of(self.key)[0]

    @property
    def span_id(self) -> str:
        """Its span's id in hex."""
        return ids_of(self.key)[1]

    @property
    def name(self) -> tuple[str, str]:
        """Trace and span id: names the access for ever."""
        return ids_of(self.key)

    @property
    def code(self) -> str | None:
        """Where in the agent's program it was called, for people: `bank.py:31 in withdraw`."""
        place = ":".join(str(part) for part in (self.code_file, self.code_line) if part is not None)
        if self.code_function and place:
            return f"{place} in {self.code_function}"
        return self.code_function or place or None


def key_of(trace_id: str, span_id: str) -> bytes:
    """A key of 24 bytes from a span's ids in lower-case hex; of ids that are none a key as long as they need."""
    ids = span_id + trace_id
    if len(span_id) == SPAN_DIGITS and len(ids) == 2 * KEY_BYTES:
        try:
            key = bytes.fromhex(ids)
        except ValueError:
            pass
        else:
            if key.hex() == ids:  # it takes capitals and spaces, too
                return key
    key = f"{len(span_id)}:{ids}".encode("utf-8", "surrogatepass")
    return key if len(key) != KEY_BYTES else b"0" + key


def ids_of(key: bytes) -> tuple[str, str]:
    """Trace and span id of a key."""
    if len(key) == KEY_BYTES:
        ids = key.hex()
        return ids[SPAN_DIGITS:], ids[:SPAN_DIGITS]
    digits, _, ids = key.decode("utf-8", "surrogatepass").partition(":")
    return ids[int(digits) :], ids[: int(digits)]


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A process's word on how far its record is complete.

    Attributes:
        process: who says it.
        frontier_ns: every access of the process that ended before is in what was sent; `FRONTIER_END` at its end.
        accesses: how many these are in all; None where not said.
        dropped: accesses that the process had to drop so far.
        time_ns: when the mark was made.
    """

    process: Process
    frontier_ns: int
    accesses: int | None
    dropped: int
    time_ns: int
