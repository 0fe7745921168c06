"""What a hook hands over: a `Call` as it happened, and the `Access`es that it turns out to be.

A hook in an agent's thread does as little as it can: `Recorder.begin` notes clock, strand, sequence number and
context in a `Call`; the hook stashes raw facts; `Recorder.end` puts the call into the ring. All that costs time
(resource names, keyed prints, attributes) happens later in the drain thread, where the hook's `build` function
turns the call into `Access`es: one for each resource that it touched, in the order of its sequence numbers.

This module decides nothing: bases are found by `noclobber.bases`, bytes are made by `noclobber.otlp`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from noclobber.contract import Attr, Op, Outcome
from noclobber.scope import Scope, current

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from noclobber.otlp import Shared
    from noclobber.strands import Strand
    from noclobber.within import Within

__all__ = ["UNREAD", "Access", "AttributeValue", "Build", "Call", "Member"]

AttributeValue = str | bool | int | float | Sequence[str]
"""What the contract's attributes hold: text, truth, a number, or a list of texts."""


@dataclass(slots=True)
class Member:
    """One resource that a scan found: what its author knows of it from then on; never changed.

    Attributes:
        version, part, part_versions: as a read of that resource alone would say them.
    """

    resource: str
    version: str
    part: tuple[str, ...] = ()
    part_versions: dict[str, str] | None = None


@dataclass(slots=True)
class Access:
    """One operation on one resource: one span.

    Attributes:
        op: what was done.
        resource: canonical URI of what it was done to.
        system: the semantic conventions' name of the store.
        outcome: how the call ended.
        part: fields, columns or JSON paths touched, sorted; empty: the whole.
        attributes: everything else, by the contract's names (`noclobber.contract.Attr`). What stands here is
            sent as it is; agent, strand, run, step, unit, seq, locks and code site are added by the recorder
            where the hook has not said them, and a base where `finds_base`.
        part_versions: prints of the single parts, where the store gave several at once (a row's columns). Not
            sent: a later write of some of these parts finds its base here.
        members: what a scan found. Not sent as such: later writes find their bases here.
        finds_base: whether a base is to be looked for among what was got or made before (writes and deletes).
        remembered: whether what this access got or made may become somebody's base.
        unseen: whether its author got what nobody saw here (rows of a server's cursor): perhaps a newer state of this
            resource, or of any below it, than the one that is remembered. A later write from an older memory is
            partial then. A name: of the container whose rows they are, where it is another than the resource.
        within: the transaction that it is part of, where its hook tells that so rather than in `attributes`.
        common: what stands beside `attributes` in many accesses alike, the part among it where there is one.
        held: of a `receive`: whether the message stays in hand until it is acknowledged or given back; None: until
            the next receipt, since nobody will acknowledge it; False: it was only looked at.
    """

    op: Op
    resource: str
    system: str
    outcome: Outcome = Outcome.OK
    part: tuple[str, ...] = ()
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    part_versions: dict[str, str] | None = None
    members: tuple[Member, ...] = ()
    finds_base: bool = False
    remembered: bool = True
    held: bool | None = True
    unseen: bool | str = False
    within: "Within | None" = None
    common: "Shared | None" = None

    @property
    def txn(self) -> str | None:
        """Id of its transaction, None outside of one."""
        if self.within is not None:
            return self.within.txn
        found = self.attributes.get(Attr.TXN_ID)
        return found if isinstance(found, str) else None

    @property
    def savepoint(self) -> str:
        """Path of the savepoint in it, empty where there is none."""
        if self.within is not None:
            return self.within.savepoint
        found = self.attributes.get(Attr.TXN_SAVEPOINT)
        return found if isinstance(found, str) else ""


UNREAD: Final = object()
"""A scope that was not read out of its context yet."""


class Call:
    """One call of a client library, from its start in the agent's thread to its drain.

    Attributes:
        start_ns, end_ns: `CLOCK_MONOTONIC` nanoseconds; `end_ns` is 0 while the call is under way.
        strand: who calls. seq: the first of its `count` sequence numbers; `more` holds further ones.
        scope: agent, run and step at the call: read out of `context` when first asked for, mostly in the drain.
        context: OpenTelemetry's context at the call, the span's parent.
        site: code object of the first frame outside libraries and offset in it, None where not looked for.
        locks: locks that the strand held at the call.
        error: what the call raised, else None.
        facts: whatever the hook stashed for its `build`.
        build: turns the call into accesses, in the drain thread; must return as many as it took numbers.
        library: the client library, for the span's scope `noclobber.{library}`.
        span_id: fixed when the call is first sent, so that an open span and its end are one span.
    """

    __slots__ = (
        "_scope", "build", "context", "count", "end_ns", "error", "facts", "library", "locks", "more",
        "seq", "site", "span_id", "start_ns", "strand",
    )  # fmt: skip

    start_ns: int
    end_ns: int
    strand: "Strand"
    seq: int
    count: int
    more: tuple[int, ...]
    _scope: Any
    context: "Context | None"
    site: tuple[CodeType, int] | None
    locks: tuple[str, ...]
    error: BaseException | None
    facts: Any
    build: "Build | None"
    library: str
    span_id: int

    @property
    def scope(self) -> Scope | None:
        """Who acts; None where nobody said."""
        found: Scope | None = self._scope
        if found is UNREAD:  # as `begin` leaves it
            found = self._scope = current(self.context)
        return found

    @scope.setter
    def scope(self, scope: Scope | None) -> None:
        self._scope = scope

    @property
    def first_seq(self) -> int:
        """The first of its sequence numbers."""
        return self.seq if self.count else self.more[0]

    @property
    def seqs(self) -> tuple[int, ...]:
        """All sequence numbers of this call, ascending."""
        if self.count == 1 and not self.more:
            return (self.seq,)
        return (*range(self.seq, self.seq + self.count), *self.more)


Build = Callable[[Call], Sequence[Access]]
