"""What an access becomes: one span with everything that its hook did not say.

Who acted, in which run, step and unit, who started its strand, where in the code it was: noted at the call as cheaply
as could be, named here, in the drain. A unit is the open transaction, else the pass through the step, else the strand,
which is said by leaving it out.
"""

import os
import random
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry import trace

from noclobber import clock, scope, strands, versions
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import CONTRACT_VERSION, Attr, Op, Outcome, UnitKind
from noclobber.otlp import Span
from noclobber.resources import host_name
from noclobber.settings import Settings
from noclobber.strands import Strand

__all__ = ["Describing"]

MARKS_LIBRARY: Final = "recorder"


class Describing:
    """Makes the spans of one process; used by the drain only."""

    def __init__(self, settings: Settings, ids: random.Random | None = None) -> None:
        self._settings = settings
        self._random = ids or random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311  ids, no secrets
        self._traces: WeakKeyDictionary[Strand, int] = WeakKeyDictionary()
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
        strand = call.strand
        trace_id, parent_id = self._trace(call)
        attributes: dict[str, AttributeValue] = {
            Attr.OP: access.op,
            Attr.RESOURCE: access.resource,
            Attr.SYSTEM: access.system,
            Attr.OUTCOME: access.outcome,
            Attr.AGENT: self._agent(call),
            Attr.STRAND: strand.id,
            Attr.SEQ: seq,
        }
        self._identity(call, seq, access, attributes)
        if access.part:
            attributes[Attr.PART] = access.part[0] if len(access.part) == 1 else access.part
        if call.site is not None:
            code, line = call.site
            attributes[Attr.CODE_FUNCTION] = code.co_qualname
            attributes[Attr.CODE_FILE] = code.co_filename
            attributes[Attr.CODE_LINE] = line
        attributes.update(access.attributes)
        span_id = self._random.getrandbits(64) or 1
        if seq == call.seq:  # an open span and its end are one span
            span_id = call.span_id = call.span_id or span_id
        end_ns = call.end_ns or until_ns
        return Span(
            call.library, f"{access.op} {access.system}", trace_id, span_id, parent_id,
            call.start_ns + clock.OFFSET_NS, end_ns + clock.OFFSET_NS, attributes,
        )  # fmt: skip

    def _identity(self, call: Call, seq: int, access: Access, attributes: dict[str, AttributeValue]) -> None:
        found, strand = call.scope, call.strand
        attributes[Attr.RUN] = (found.run if found else None) or f"run-{strands.process_id()}"
        if found is not None and found.step is not None:
            attributes[Attr.STEP] = found.step
            attributes[Attr.UNIT] = found.unit or f"{attributes[Attr.RUN]}/{found.step}"
            attributes[Attr.UNIT_KIND] = UnitKind.STEP
        txn = access.attributes.get(Attr.TXN_ID)
        if txn is not None:
            attributes[Attr.UNIT], attributes[Attr.UNIT_KIND] = txn, UnitKind.TXN
        # The first that is sent carries it, also where the first is lost, and number 1 too where it ends after others.
        strand.announced = strand.announced or seq
        if strand.parent_id is not None and seq in (1, strand.announced):
            attributes[Attr.STRAND_PARENT] = strand.parent_id
            attributes[Attr.STRAND_PARENT_SEQ] = strand.parent_seq

    def _agent(self, call: Call) -> str:
        found = call.scope
        if found is not None and found.agent:
            return found.agent
        named = getattr(trace.get_current_span(call.context), "attributes", None)
        if named and (agent := named.get("gen_ai.agent.name")):
            return str(agent)
        if self._settings.agent:
            return self._settings.agent
        return scope.deliberate_name(call.strand.name) or self._settings.service

    def _trace(self, call: Call) -> tuple[int, int]:
        parent = trace.get_current_span(call.context).get_span_context()
        if parent.is_valid:
            return parent.trace_id, parent.span_id
        known = self._traces.get(call.strand)
        if known is None:
            known = self._traces[call.strand] = self._random.getrandbits(128) or 1
        return known, 0

    def mark(self, now_ns: int, frontier_ns: int, accesses: int, dropped: int) -> Span:
        """What vouches for all that ended before `frontier_ns` (unix time)."""
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
        trace_id, span_id = self._random.getrandbits(128) or 1, self._random.getrandbits(64) or 1
        return Span(MARKS_LIBRARY, "mark noclobber", trace_id, span_id, 0, now, now, attributes)
