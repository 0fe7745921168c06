"""What a call becomes: its accesses, and for each one span with everything that its hook did not say.

Who acted, in which run, step and unit, who started its strand, where in the code it was: noted at the call as cheaply
as could be, named here, in the drain. A unit is the open transaction, else the pass through the step, else the strand,
which is said by leaving it out.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Final

from opentelemetry import trace

from noclobber import clock, scope, strands, versions
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import CONTRACT_VERSION, Attr, Op, Outcome, UnitKind
from noclobber.declarations import Declarations
from noclobber.otlp import Shared, Span
from noclobber.resources import host_name
from noclobber.scope import Scope
from noclobber.settings import Settings
from noclobber.strands import Strand

__all__ = ["Describing", "accesses_of"]

MARKS_LIBRARY: Final = "recorder"
GROUPS_MAX: Final = 16_384
"""Groups of attributes, such as the places in the program, that are kept for the spans that have them in common."""
_SAID_HERE: Final = frozenset(
    {
        Attr.OP, Attr.SYSTEM, Attr.OUTCOME, Attr.AGENT, Attr.STRAND, Attr.RUN, Attr.STEP,
        Attr.CODE_FUNCTION, Attr.CODE_FILE, Attr.CODE_LINE,
    }
)  # fmt: skip
"""What stands in groups unless a hook says it."""


def accesses_of(call: Call, declared: Declarations) -> Sequence[Access]:
    """What a call was, by its hook, under the names that owners declared.

    Raises:
        ValueError: the hook tells of more or fewer accesses than it took numbers for.
    """
    assert call.build is not None
    accesses = call.build(call)
    if len(accesses) != call.count + len(call.more):
        raise ValueError(f"{call.library}: {len(accesses)} accesses for {len(call.seqs)} numbers")
    if call.locks:
        locks = tuple(map(declared.named, call.locks))
        for access in accesses:
            access.attributes.setdefault(Attr.LOCKS, locks)
    return [declared.applied(access) for access in accesses] if declared else accesses


class _What(Shared):
    """What was done, to what kind of store, and how it ended.

    Attributes:
        name: of the span.
    """

    __slots__ = ("name",)

    def __init__(self, op: Op, system: str, outcome: Outcome) -> None:
        super().__init__({Attr.OP: op, Attr.SYSTEM: system, Attr.OUTCOME: outcome})
        self.name = f"{op} {system}"


@dataclass(slots=True)
class _Kept:
    """What is kept with a strand.

    Attributes:
        trace_id: of its accesses outside of any trace. agent: who acts where nobody else is said to.
        last: scope, agent, whether the access tells its unit itself, and the group that these are.
    """

    trace_id: int
    agent: str
    last: tuple[Scope | None, str, bool, Shared] | None = None


class Describing:
    """Makes the spans of one process; used by the drain only."""

    def __init__(self, settings: Settings, ids: random.Random | None = None) -> None:
        self._settings = settings
        self._random = ids or random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311  ids, no secrets
        self._whats: dict[tuple[Op, str, Outcome], _What] = {}
        self._wheres: dict[tuple[int, int], tuple[CodeType, Shared]] = {}
        self._resource: dict[str, AttributeValue] | None = None

    @property
    def process(self) -> dict[str, AttributeValue]:
        """The resource attributes of this process."""
        if self._resource is None:
            found: dict[str, AttributeValue] = {
                Attr.SERVICE_NAME: self._settings.service,
                Attr.SERVICE_INSTANCE_ID: strands.process_id(),
                Attr.HOST_NAME: host_name(),
                Attr.PROCESS_PID: os.getpid(),
                **self._settings.resource_attributes,
                Attr.PROCESS: strands.process_id(),
                Attr.CONTRACT: CONTRACT_VERSION,
                Attr.KEY_ID: versions.key_identity(),
            }
            identity = clock.clock_id()
            if identity is not None:
                found[Attr.CLOCK] = identity
                found[Attr.CLOCK_OFFSET_NS] = clock.OFFSET_NS
            self._resource = found
        return self._resource

    def span(self, call: Call, seq: int, access: Access, until_ns: int = 0) -> Span:
        """The span of `access`, which is number `seq` of its strand; until now where the call still waits."""
        strand, told = call.strand, access.attributes
        kept = strand.kept.get(self) or self._strand(strand)
        within, common = access.within, access.common
        own_unit = within is not None or Attr.TXN_ID in told or Attr.UNIT_KIND in told or Attr.UNIT in told
        trace_id, parent_id, who = self._who(call, kept, own_unit=own_unit)
        what = self._what(access)
        shared: tuple[Shared, ...] = (what, who)
        if call.site is not None:
            shared = (what, who, self._where(*call.site))
        if within is not None:
            shared = (*shared, within)
        if common is not None:
            shared = (*shared, common)
        own: dict[str, AttributeValue] = {Attr.RESOURCE: access.resource, Attr.SEQ: seq, **told}
        if strand.parent_id is not None or (access.part and common is None) or (own_unit and within is None):
            self._rarer(call, seq, access, own)
        if not _SAID_HERE.isdisjoint(told):  # the hook knows better
            own = {name: value for each in shared for name, value in each.attributes.items()} | own
            shared = ()
        strand.announced = strand.announced or seq
        span_id = self._random.getrandbits(64) or 1
        if seq == call.seq:  # an open span and its end are one span
            span_id = call.span_id = call.span_id or span_id
        offset_ns = clock.OFFSET_NS
        return Span(
            call.library, what.name, trace_id, span_id, parent_id, call.start_ns + offset_ns,
            (call.end_ns or until_ns) + offset_ns, own, shared,
        )  # fmt: skip

    def _rarer(self, call: Call, seq: int, access: Access, own: dict[str, AttributeValue]) -> None:
        """What few accesses have, where their hooks have not said it."""
        strand, found = call.strand, call.scope
        # The first that is sent carries it, also where the first is lost, and number 1 too where it ends after others.
        if strand.parent_id is not None and (not strand.announced or seq in (1, strand.announced)):
            own.setdefault(Attr.STRAND_PARENT, strand.parent_id)
            own.setdefault(Attr.STRAND_PARENT_SEQ, strand.parent_seq)
        if access.part and access.common is None:
            own.setdefault(Attr.PART, access.part[0] if len(access.part) == 1 else access.part)
        if Attr.TXN_ID in own:
            own.setdefault(Attr.UNIT, own[Attr.TXN_ID])
            own.setdefault(Attr.UNIT_KIND, UnitKind.TXN)
        elif found is not None and found.step is not None and (Attr.UNIT in own or Attr.UNIT_KIND in own):
            own.setdefault(Attr.UNIT, _unit(found))
            own.setdefault(Attr.UNIT_KIND, UnitKind.STEP)

    def _strand(self, strand: Strand) -> "_Kept":
        agent = self._settings.agent or scope.deliberate_name(strand.name) or self._settings.service
        kept = strand.kept[self] = _Kept(self._random.getrandbits(128) or 1, agent)
        return kept

    def _what(self, access: Access) -> "_What":
        key = access.op, access.system, access.outcome
        known = self._whats.get(key)
        if known is None:
            if len(self._whats) >= GROUPS_MAX:
                self._whats.clear()
            known = self._whats[key] = _What(*key)
        return known

    def _who(self, call: Call, kept: "_Kept", *, own_unit: bool) -> tuple[int, int, Shared]:
        """Trace, parent, and who acted in what: made anew for a strand only where it is another than the last time."""
        found, agent = call.scope, kept.agent
        trace_id, parent_id = kept.trace_id, 0
        if call.context:
            current = trace.get_current_span(call.context)
            parent = current.get_span_context()
            if parent.is_valid:
                trace_id, parent_id = parent.trace_id, parent.span_id
            agent = _agent(found, current) or agent
        last = kept.last
        if last is not None and last[0] is found and last[1] == agent and last[2] is own_unit:
            return trace_id, parent_id, last[3]
        made = Shared(_identity(found, agent, call.strand.id, own_unit=own_unit))
        kept.last = found, agent, own_unit, made
        return trace_id, parent_id, made

    def _where(self, code: CodeType, offset: int) -> Shared:
        """The place in the program at which `code` stood at the instruction at `offset`."""
        key = id(code), offset
        known = self._wheres.get(key)
        if known is None:
            line = next((at for start, end, at in code.co_lines() if start <= offset < end and at), code.co_firstlineno)
            if len(self._wheres) >= GROUPS_MAX:
                self._wheres.clear()
            place: dict[str, AttributeValue] = {
                Attr.CODE_FUNCTION: code.co_qualname, Attr.CODE_FILE: code.co_filename, Attr.CODE_LINE: line,
            }  # fmt: skip
            known = self._wheres[key] = code, Shared(place)  # with the code kept, its id stays its own
        return known[1]

    def mark(self, now_ns: int, frontier_ns: int, accesses: int, dropped: int, *, partial: bool) -> Span:
        """What vouches for all that ended before `frontier_ns` (unix time); partial where nothing more is recorded."""
        now = now_ns + clock.OFFSET_NS
        attributes: dict[str, AttributeValue] = {
            Attr.OP: Op.MARK,
            Attr.RESOURCE: f"process://{strands.process_id()}",
            Attr.SYSTEM: "noclobber",
            Attr.OUTCOME: Outcome.OK,
            Attr.FRONTIER_NS: frontier_ns,
            Attr.ACCESSES: accesses,
            Attr.DROPPED: dropped,
        }
        if partial:
            attributes[Attr.PARTIAL] = True
        trace_id, span_id = self._random.getrandbits(128) or 1, self._random.getrandbits(64) or 1
        return Span(MARKS_LIBRARY, "mark noclobber", trace_id, span_id, 0, now, now, attributes)


def _agent(found: Scope | None, current: trace.Span) -> str | None:
    """Who acts, as far as somebody said it."""
    if found is not None and found.agent:
        return found.agent
    named = getattr(current, "attributes", None)
    agent = named.get("gen_ai.agent.name") if named else None
    return str(agent) if agent else None


def _identity(found: Scope | None, agent: str, strand: str, *, own_unit: bool) -> dict[str, AttributeValue]:
    run = _run(found)
    attributes: dict[str, AttributeValue] = {Attr.AGENT: agent, Attr.STRAND: strand, Attr.RUN: run}
    if found is not None and found.step is not None:
        attributes[Attr.STEP] = found.step
        if not own_unit:
            attributes[Attr.UNIT] = _unit(found)
            attributes[Attr.UNIT_KIND] = UnitKind.STEP
    return attributes


def _run(found: Scope | None) -> str:
    return (found.run if found else None) or f"run-{strands.process_id()}"


def _unit(found: Scope) -> str:
    return found.unit or f"{_run(found)}/{found.step}"
