"""The words that every part agrees on: attribute names, operations, outcomes, kinds.

The noclobber contract fixes what an agent sends and what the analyzer answers; this module is its only copy in
the house. Agents write spans with these names, the collector types columns after them, the analyzer reads them
back. It imports nothing but the standard library, so that any part may import it for free.

It decides no meaning: what makes a finding stands in the analyzer's detectors.
"""

from enum import StrEnum
from typing import Final

__all__ = [
    "CONTRACT_VERSION",
    "FRONTIER_END",
    "PRECEDENCE",
    "Attr",
    "BaseSource",
    "Certainty",
    "Defence",
    "Guard",
    "IssueState",
    "Kind",
    "Op",
    "Outcome",
    "Severity",
    "UnitKind",
    "VersionKind",
    "WriteMode",
]

CONTRACT_VERSION: Final = "1"
FRONTIER_END: Final = 2**63 - 1
"""The frontier of a process that ended in order: nothing more will come."""
ABSENT: Final = "absent"
"""The state of nothing there under `chain` and `fingerprint`."""
ABSENT_NUMBER: Final = "0"
"""The state of nothing there under `counter` and `ordered`."""


class Attr:
    """Names of the attributes, in the order of the contract's table (section 2)."""

    # resource attributes
    PROCESS: Final = "noclobber.process"
    CONTRACT: Final = "noclobber.contract"
    CLOCK: Final = "noclobber.clock"
    CLOCK_OFFSET_NS: Final = "noclobber.clock.offset_ns"
    KEY_ID: Final = "noclobber.key_id"
    SERVICE_NAME: Final = "service.name"
    SERVICE_INSTANCE_ID: Final = "service.instance.id"
    HOST_NAME: Final = "host.name"
    PROCESS_PID: Final = "process.pid"
    # what was done, to what, by whom
    OP: Final = "noclobber.op"
    RESOURCE: Final = "noclobber.resource"
    RESOURCE_HASHED: Final = "noclobber.resource.hashed"
    SYSTEM: Final = "noclobber.system"
    PART: Final = "noclobber.part"
    OUTCOME: Final = "noclobber.outcome"
    CANCELLED: Final = "noclobber.cancelled"
    AGENT: Final = "noclobber.agent"
    STRAND: Final = "noclobber.strand"
    RUN: Final = "noclobber.run"
    STEP: Final = "noclobber.step"
    SEQ: Final = "noclobber.seq"
    STRAND_PARENT: Final = "noclobber.strand.parent"
    STRAND_PARENT_SEQ: Final = "noclobber.strand.parent.seq"
    STRAND_OTHER: Final = "noclobber.strand.other"
    STRAND_OTHER_SEQ: Final = "noclobber.strand.other.seq"
    FRONTIER_NS: Final = "noclobber.frontier_ns"
    ACCESSES: Final = "noclobber.accesses"
    DROPPED: Final = "noclobber.dropped"
    UNIT: Final = "noclobber.unit"
    UNIT_KIND: Final = "noclobber.unit.kind"
    # versions
    VERSION_KIND: Final = "noclobber.version.kind"
    VERSION_READ: Final = "noclobber.version.read"
    VERSION_BASE: Final = "noclobber.version.base"
    VERSION_BASE_SOURCE: Final = "noclobber.version.base.source"
    VERSION_CANDIDATES: Final = "noclobber.version.candidates"
    VERSION_BASE_STRAND: Final = "noclobber.version.base.strand"
    VERSION_BASE_SEQ: Final = "noclobber.version.base.seq"
    VERSION_BASE_END_NS: Final = "noclobber.version.base.end_ns"
    VERSION_OVERWRITTEN: Final = "noclobber.version.overwritten"
    VERSION_WRITTEN: Final = "noclobber.version.written"
    VERSION_WEAK: Final = "noclobber.version.weak"
    VERSION_VERBATIM: Final = "noclobber.version.verbatim"
    VERSION_EXPECTED: Final = "noclobber.version.expected"
    CONTENT_READ: Final = "noclobber.content.read"
    CONTENT_WRITTEN: Final = "noclobber.content.written"
    CONTENT_NUMERIC: Final = "noclobber.content.numeric"
    SIZE: Final = "noclobber.size"
    TTL_MS: Final = "noclobber.ttl_ms"
    CLOSED: Final = "noclobber.closed"
    BRANCH: Final = "noclobber.branch"
    # guards, locks, transactions
    WRITE_MODE: Final = "noclobber.write.mode"
    GUARD: Final = "noclobber.guard"
    LOCKS: Final = "noclobber.locks"
    TXN_ID: Final = "noclobber.txn.id"
    TXN_ISOLATION: Final = "noclobber.txn.isolation"
    TXN_SAVEPOINT: Final = "noclobber.txn.savepoint"
    PREDICATE: Final = "noclobber.predicate"
    PREDICATES: Final = "noclobber.predicates"
    SCAN_ID: Final = "noclobber.scan.id"
    SCAN_PART: Final = "noclobber.scan.part"
    SCAN_PARTS: Final = "noclobber.scan.parts"
    SCAN_APPROXIMATE: Final = "noclobber.scan.approximate"
    RESULT_RESOURCES: Final = "noclobber.result.resources"
    RESULT_VERSIONS: Final = "noclobber.result.versions"
    RESULT_COUNT: Final = "noclobber.result.count"
    LOCK_TOKEN: Final = "noclobber.lock.token"  # noqa: S105  a name, not a secret
    LOCK_TTL_MS: Final = "noclobber.lock.ttl_ms"
    LOCK_OWNER: Final = "noclobber.lock.owner"
    LOCK_MODE: Final = "noclobber.lock.mode"
    WAITS_FOR: Final = "noclobber.waits.for"
    # messages and effects
    MESSAGE_ID: Final = "noclobber.message.id"
    MESSAGE_KEY: Final = "noclobber.message.key"
    MESSAGE_SEQ: Final = "noclobber.message.seq"
    MESSAGE_DELIVERY: Final = "noclobber.message.delivery"
    MESSAGE_GROUP: Final = "noclobber.message.group"
    MESSAGE_SESSION: Final = "noclobber.message.session"
    EFFECT_KEY: Final = "noclobber.effect.key"
    EFFECT_HASH: Final = "noclobber.effect.hash"
    MODEL_SPAN: Final = "noclobber.model.span"
    # the rest
    OPEN: Final = "noclobber.open"
    HLC: Final = "noclobber.hlc"
    PARTIAL: Final = "noclobber.partial"
    EDGE: Final = "noclobber.edge"
    CODE_FUNCTION: Final = "code.function.name"
    CODE_FILE: Final = "code.file.path"
    CODE_LINE: Final = "code.line.number"
    PEER_ADDRESS: Final = "network.peer.address"


class Op(StrEnum):
    """What an access does (contract 2.1)."""

    READ = "read"
    SCAN = "scan"
    WRITE = "write"
    DELETE = "delete"
    UPDATE = "update"
    LOCK = "lock"
    UNLOCK = "unlock"
    SEND = "send"
    RECEIVE = "receive"
    ACK = "ack"
    NACK = "nack"
    BEGIN = "begin"
    COMMIT = "commit"
    ABORT = "abort"
    EFFECT = "effect"
    MODEL = "model"
    SPAWN = "spawn"
    JOIN = "join"
    MARK = "mark"


class Outcome(StrEnum):
    """How a call ended, as far as its caller can know."""

    OK = "ok"
    REJECTED = "rejected"
    NO_EFFECT = "no_effect"
    NOT_FOUND = "not_found"
    ERROR = "error"
    UNKNOWN = "unknown"


class UnitKind(StrEnum):
    """What makes accesses belong together."""

    TXN = "txn"
    STEP = "step"
    MESSAGE = "message"
    LOCK = "lock"


class VersionKind(StrEnum):
    """What a version can prove; versions compare only within one kind."""

    COUNTER = "counter"
    ORDERED = "ordered"
    CHAIN = "chain"
    FINGERPRINT = "fingerprint"

    @property
    def absent(self) -> str:
        """The version that stands for nothing there."""
        return ABSENT_NUMBER if self in (VersionKind.COUNTER, VersionKind.ORDERED) else ABSENT


class BaseSource(StrEnum):
    """Where a write's base comes from, strongest first."""

    EXPLICIT = "explicit"
    OBSERVED = "observed"
    RECALLED = "recalled"
    REMEMBERED = "remembered"


class WriteMode(StrEnum):
    """How a write changes what is there; `overwrite` where nothing is said."""

    OVERWRITE = "overwrite"
    MERGE = "merge"
    INCREMENT = "increment"
    APPEND = "append"
    INSERT = "insert"


class Guard(StrEnum):
    """What the store checks before it applies a write; `none` where nothing is said."""

    NONE = "none"
    VERSION = "version"
    LOCK = "lock"
    SERIALIZABLE = "serializable"
    UNIQUE = "unique"


class Certainty(StrEnum):
    """How sure a finding is; a `certain` one holds in every world that fits the recorded versions."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"

    @property
    def rank(self) -> int:
        """2 for certain, 1 for likely, 0 for possible."""
        return {"certain": 2, "likely": 1, "possible": 0}[self.value]


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """3 for critical down to 0 for low."""
        return {"critical": 3, "high": 2, "medium": 1, "low": 0}[self.value]


class Kind(StrEnum):
    """The kinds of finding (contract 3.1), in their order of precedence: the first that fits names the finding."""

    DIRTY_READ = "dirty_read"
    INTERMEDIATE_READ = "intermediate_read"
    DIRTY_WRITE = "dirty_write"
    DOUBLE_CLAIM = "double_claim"
    DUPLICATE_DELIVERY = "duplicate_delivery"
    DUPLICATE_EFFECT = "duplicate_effect"
    LOCK_VIOLATION = "lock_violation"
    DEADLOCK = "deadlock"
    LOST_UPDATE = "lost_update"
    FORK = "fork"
    STALE_WRITE = "stale_write"
    INTERLEAVED_WRITES = "interleaved_writes"
    READ_YOUR_WRITES = "read_your_writes"
    MONOTONIC_READS = "monotonic_reads"
    MONOTONIC_WRITES = "monotonic_writes"
    WRITES_FOLLOW_READS = "writes_follow_reads"
    CAUSAL_VIOLATION = "causal_violation"
    STALE_READ = "stale_read"
    CIRCULAR_INFORMATION_FLOW = "circular_information_flow"
    NON_REPEATABLE_READ = "non_repeatable_read"
    PHANTOM_READ = "phantom_read"
    READ_SKEW = "read_skew"
    LONG_FORK = "long_fork"
    WRITE_SKEW = "write_skew"
    CHECK_THEN_ACT = "check_then_act"
    SERIALIZATION_CYCLE = "serialization_cycle"
    GARBAGE_READ = "garbage_read"
    LOST_MESSAGE = "lost_message"
    OUT_OF_ORDER = "out_of_order"
    UNKNOWN_WRITER = "unknown_writer"
    BLIND_OVERWRITE = "blind_overwrite"
    INVARIANT_VIOLATION = "invariant_violation"


PRECEDENCE: Final = {kind: rank for rank, kind in enumerate(Kind)}
"""Rank of each kind, 0 first: where several fit the same accesses the lowest names the finding."""


class Defence(StrEnum):
    """Why an access that raced did no harm: counted and shown, never a finding."""

    REJECTED = "rejected"
    SERIALIZABLE = "serializable"
    LOCK = "lock"
    ATOMIC = "atomic"
    DEDUPLICATED = "deduplicated"
    EQUAL_VALUE = "equal_value"
    UNIQUE = "unique"
    NO_EFFECT = "no_effect"
    DECLARED = "declared"


class IssueState(StrEnum):
    """What people and time have made of an issue."""

    NEW = "new"
    ONGOING = "ongoing"
    ACKNOWLEDGED = "acknowledged"
    ACCEPTED = "accepted"
    SILENCED = "silenced"
    RESOLVED = "resolved"
    REGRESSED = "regressed"
    RETRACTED = "retracted"
