"""The kinds in one table: what each is called elsewhere, its source, how its findings are named, how bad it is.

Everything that is a fact about a kind and not about a history stands here once; detectors, precedence, severity,
documentation and the dashboard read it. Order is precedence.

Source: contract 3 and 3.1, analysis.md 5.
"""

from dataclasses import dataclass
from typing import Final

from noclobber.contract import Kind

__all__ = ["KINDS", "KindFacts", "permits"]

_WEAKEST: Final = frozenset({"read_uncommitted"})
_WEAK: Final = _WEAKEST | {"", "read_committed"}
_PERMITTED: Final[dict[Kind, frozenset[str]]] = {
    Kind.DIRTY_READ: _WEAKEST,
    Kind.INTERMEDIATE_READ: _WEAKEST,
    Kind.NON_REPEATABLE_READ: _WEAK,
    Kind.PHANTOM_READ: _WEAK | {"repeatable_read"},
    Kind.READ_SKEW: _WEAK,
    Kind.LONG_FORK: _WEAK,
    Kind.WRITE_SKEW: _WEAK | {"repeatable_read", "snapshot"},
    Kind.SERIALIZATION_CYCLE: _WEAK | {"repeatable_read", "snapshot"},
}
"""Isolation levels that allow a kind; "" is what most databases begin with where nobody says."""


def permits(isolation: str | None, kind: Kind) -> bool:
    """Whether a transaction of this level was never promised that the kind would not happen to it."""
    return (isolation or "") in _PERMITTED.get(kind, frozenset())


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What is known of a kind.

    Attributes:
        title: what a person calls it. definition: one sentence.
        source: where the definition comes from.
        shown_from_store: whether a real store has produced it in a test; else it is experimental.
    """

    title: str
    definition: str
    source: str
    shown_from_store: bool = False


KINDS: Final[dict[Kind, KindFacts]] = {
    Kind.DIRTY_READ: KindFacts(
        "dirty read",
        "A version was read that its transaction took back, or had not committed yet.",
        "Adya 1999 (G1a); Berenson et al. 1995 (P1)",
        shown_from_store=True,
    ),
    Kind.INTERMEDIATE_READ: KindFacts(
        "intermediate read",
        "A version was read that its own transaction replaced later: half of a change.",
        "Adya 1999 (G1b)",
        shown_from_store=True,
    ),
    Kind.DIRTY_WRITE: KindFacts(
        "dirty write",
        "A transaction wrote over what another one had not committed yet.",
        "Berenson et al. 1995 (P0); Adya 1999 (G0)",
    ),
    Kind.DOUBLE_CLAIM: KindFacts(
        "double claim",
        "Two workers took one task, and neither had given it back.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.DUPLICATE_DELIVERY: KindFacts(
        "duplicate delivery",
        "A message was handed out twice, and both handlers applied it.",
        "Jepsen's Kafka checker (duplicate)",
        shown_from_store=True,
    ),
    Kind.DUPLICATE_EFFECT: KindFacts(
        "duplicate effect",
        "Something that can't be taken back was done twice, and nothing told the other side that it was one call.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.LOCK_VIOLATION: KindFacts(
        "lock violation",
        "Something was done that a lock was to prevent: without it, after it was lost, or by undoing another's.",
        "Savage et al. 1997 (Eraser); Kleppmann 2016 (fencing tokens)",
        shown_from_store=True,
    ),
    Kind.DEADLOCK: KindFacts(
        "deadlock",
        "Each of several agents waited for the next, and the last for the first.",
        "Holt 1972 (wait-for graphs)",
        shown_from_store=True,
    ),
    Kind.LOST_UPDATE: KindFacts(
        "lost update",
        "A write computed from one version replaced another one that its author had never seen.",
        "Berenson et al. 1995 (P4); Elle (arXiv 2003.10554)",
        shown_from_store=True,
    ),
    Kind.FORK: KindFacts(
        "fork",
        "Two writes continued one version, and only one of them will be continued.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.STALE_WRITE: KindFacts(
        "stale write",
        "What was written was decided from a superseded version, though nothing of another's was replaced.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.INTERLEAVED_WRITES: KindFacts(
        "interleaved writes",
        "The appends of two units alternate in one ordered resource, where each meant one piece.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.READ_YOUR_WRITES: KindFacts(
        "read your writes violated",
        "An agent read an older state than it had itself written.",
        "Terry et al. 1994",
        shown_from_store=True,
    ),
    Kind.MONOTONIC_READS: KindFacts(
        "monotonic reads violated",
        "An agent read an older state than it had read before.",
        "Terry et al. 1994",
        shown_from_store=True,
    ),
    Kind.MONOTONIC_WRITES: KindFacts(
        "monotonic writes violated",
        "Two writes of one agent were applied against their order.",
        "Terry et al. 1994",
    ),
    Kind.WRITES_FOLLOW_READS: KindFacts(
        "writes follow reads violated",
        "A consequence was visible before the state that it came from.",
        "Terry et al. 1994",
    ),
    Kind.CAUSAL_VIOLATION: KindFacts(
        "causal violation",
        "An agent read an older state than it could know of by way of others.",
        "AWDIT (arXiv 2504.06975)",
    ),
    Kind.STALE_READ: KindFacts(
        "stale read",
        "A read got an older state than one whose write had returned before.",
        "Herlihy and Wing 1990 (real-time order)",
        shown_from_store=True,
    ),
    Kind.CIRCULAR_INFORMATION_FLOW: KindFacts(
        "circular information flow",
        "Units knew of each other before they were done.",
        "Adya 1999 (G1c)",
    ),
    Kind.NON_REPEATABLE_READ: KindFacts(
        "non-repeatable read",
        "One unit read one resource twice and got two versions, neither of them its own doing.",
        "Berenson et al. 1995 (P2)",
        shown_from_store=True,
    ),
    Kind.PHANTOM_READ: KindFacts(
        "phantom read",
        "One unit asked the same predicate twice and got other members, neither of it its own doing.",
        "Berenson et al. 1995 (P3)",
        shown_from_store=True,
    ),
    Kind.READ_SKEW: KindFacts(
        "read skew",
        "One unit read a part of another's changes, and other things as they were before.",
        "Adya 1999 (G-single); Berenson et al. 1995 (A5A)",
        shown_from_store=True,
    ),
    Kind.LONG_FORK: KindFacts(
        "long fork",
        "Two readers saw two independent writes in opposite orders.",
        "Adya 1999 (G-nonadjacent); Elle (arXiv 2003.10554)",
        shown_from_store=True,
    ),
    Kind.WRITE_SKEW: KindFacts(
        "write skew",
        "Two units each decided from what the other was changing.",
        "Adya 1999 (G2-item); Berenson et al. 1995 (A5B)",
        shown_from_store=True,
    ),
    Kind.CHECK_THEN_ACT: KindFacts(
        "check then act",
        "What was done rested on a check that another had overtaken before it was done.",
        "Bishop and Dilger 1996 (TOCTOU)",
        shown_from_store=True,
    ),
    Kind.SERIALIZATION_CYCLE: KindFacts(
        "serialization cycle",
        "No order of the units explains what they read and wrote.",
        "Adya 1999 (G2)",
        shown_from_store=True,
    ),
    Kind.GARBAGE_READ: KindFacts(
        "garbage read",
        "A state was read that nobody wrote, though every writer is captured.",
        "Elle (arXiv 2003.10554)",
        shown_from_store=True,
    ),
    Kind.LOST_MESSAGE: KindFacts(
        "lost message",
        "A message was sent, and its consumer passed it or acknowledged it without its ever having been applied.",
        "Jepsen's Kafka checker (lost-write, poll-skip)",
        shown_from_store=True,
    ),
    Kind.OUT_OF_ORDER: KindFacts(
        "out of order",
        "A message was applied after one that had been sent later.",
        "Jepsen's Kafka checker (nonmonotonic-poll)",
    ),
    Kind.UNKNOWN_WRITER: KindFacts(
        "unknown writer",
        "A state that no captured write made: a writer is not instrumented.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.BLIND_OVERWRITE: KindFacts(
        "blind overwrite",
        "A write without a base replaced what another had made, unread.",
        "noclobber",
        shown_from_store=True,
    ),
    Kind.INVARIANT_VIOLATION: KindFacts(
        "invariant violation",
        "What its owners declared of a resource does not hold.",
        "noclobber",
        shown_from_store=True,
    ),
}
"""The kinds that this version detects, in order of precedence."""
