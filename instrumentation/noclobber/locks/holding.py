"""What all locks of one process share: which strand holds which, and the `lock` and `unlock` spans.

A lock stands in `Strand.locks` from the return of the call that took it to the call that gives it back, so an access
names only locks that were surely held. Whoever gives a lock back, it is its holder who no longer holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from noclobber import recorder, strands
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import Attr, Op, Outcome
from noclobber.strands import Strand

__all__ = ["Fact", "begin", "build", "drop", "end", "take", "told"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One `lock` or `unlock`.

    Attributes:
        owner: id of the strand that holds it, or asks for it. token: number of the hold, where holds are counted.
        ttl_ms: its lease, None for ever. shared: whether several may hold it at one time.
    """

    op: Op
    resource: str
    system: str
    owner: str
    outcome: Outcome = Outcome.OK
    token: int | None = None
    ttl_ms: int | None = None
    shared: bool = False


def begin(library: str, op: Op, resource: str, system: str) -> Call | None:
    """Note that a lock is asked for, or given back; None where nothing is recorded."""
    active, strand = recorder.recording(), strands.current()
    if active is None:
        return None
    call = active.begin(library)
    if op is Op.LOCK:
        call.build, call.facts = build, Fact(op, resource, system, strand.id)
        active.waits(call)
    return call


def end(call: Call, fact: Fact, error: BaseException | None = None) -> None:
    """Note how it ended."""
    active = recorder.active()
    if active is not None:
        call.error = error
        active.end(call, build, fact)


def take(strand: Strand, held: str) -> None:
    """`strand` holds the lock `held` (its URI, and `#token` where there is one) from now on."""
    strand.locks = (*strand.locks, held)


def drop(strand: Strand, held: str) -> None:
    """It no longer does."""
    strand.locks = tuple(each for each in strand.locks if each != held)


def build(call: Call) -> Sequence[Access]:
    """The access of one call."""
    return [told(call.facts)]


def told(fact: Fact) -> Access:
    """The access that `fact` is."""
    attributes: dict[str, AttributeValue] = {Attr.LOCK_OWNER: fact.owner}
    if fact.token is not None:
        attributes[Attr.LOCK_TOKEN] = fact.token
    if fact.ttl_ms is not None:
        attributes[Attr.LOCK_TTL_MS] = fact.ttl_ms
    if fact.shared:
        attributes[Attr.LOCK_MODE] = "shared"
    return Access(fact.op, fact.resource, fact.system, fact.outcome, attributes=attributes, remembered=False)
