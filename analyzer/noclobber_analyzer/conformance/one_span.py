"""One span against the contract's table: form, names, types, words, and what its operation must carry."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from noclobber.contract import (
    CONTRACT_VERSION,
    Attr,
    BaseSource,
    Guard,
    Op,
    Outcome,
    UnitKind,
    VersionKind,
    WriteMode,
)
from noclobber_analyzer.conformance.rules import Breach, Told
from noclobber_analyzer.conformance.wire import INTERNAL, WireSpan

__all__ = ["breaches_of_one", "is_access", "is_ours"]

OURS: Final = "noclobber."
SCAN_MAX: Final = 64
MARKED: Final = (Attr.FRONTIER_NS, Attr.ACCESSES, Attr.DROPPED)
ALWAYS: Final = (Attr.OP, Attr.RESOURCE, Attr.SYSTEM, Attr.OUTCOME)
OF_ACCESSES: Final = (Attr.AGENT, Attr.STRAND, Attr.SEQ)
OF_RESOURCE: Final[Mapping[str, type]] = {
    Attr.SERVICE_NAME: str, Attr.SERVICE_INSTANCE_ID: str, Attr.HOST_NAME: str, Attr.PROCESS_PID: int,
    Attr.PROCESS: str, Attr.CONTRACT: str,
}  # fmt: skip
WORDS: Final[Mapping[str, frozenset[str]]] = {
    Attr.OP: frozenset(Op),
    Attr.OUTCOME: frozenset(Outcome),
    Attr.UNIT_KIND: frozenset(UnitKind),
    Attr.VERSION_KIND: frozenset(VersionKind),
    Attr.VERSION_BASE_SOURCE: frozenset(BaseSource),
    Attr.WRITE_MODE: frozenset(WriteMode),
    Attr.GUARD: frozenset(Guard),
    Attr.LOCK_MODE: frozenset({"exclusive", "shared"}),
    Attr.TXN_ISOLATION: frozenset(
        {"read_uncommitted", "read_committed", "repeatable_read", "snapshot", "serializable"}
    ),
    Attr.EDGE: frozenset({"message", "handoff", "retry"}),
}
TRUTHS: Final = frozenset({
    Attr.RESOURCE_HASHED, Attr.CANCELLED, Attr.VERSION_WEAK, Attr.VERSION_VERBATIM, Attr.CONTENT_NUMERIC, Attr.CLOSED,
    Attr.SCAN_APPROXIMATE, Attr.OPEN, Attr.PARTIAL,
})  # fmt: skip
NUMBERS: Final = frozenset({
    Attr.SEQ, Attr.STRAND_PARENT_SEQ, Attr.STRAND_OTHER_SEQ, *MARKED, Attr.VERSION_BASE_SEQ, Attr.VERSION_BASE_END_NS,
    Attr.SIZE, Attr.TTL_MS, Attr.SCAN_PART, Attr.SCAN_PARTS, Attr.RESULT_COUNT, Attr.MESSAGE_SEQ,
    Attr.MESSAGE_DELIVERY, Attr.LOCK_TTL_MS, Attr.HLC, Attr.CLOCK_OFFSET_NS,
})  # fmt: skip
LISTS: Final = frozenset({
    Attr.VERSION_CANDIDATES, Attr.LOCKS, Attr.PREDICATES, Attr.RESULT_RESOURCES, Attr.RESULT_VERSIONS, Attr.WAITS_FOR,
})  # fmt: skip
KNOWN: Final = frozenset(
    value for name, value in vars(Attr).items() if not name.startswith("_") and value.startswith(OURS)
)
VERSIONS: Final = (
    Attr.VERSION_READ, Attr.VERSION_BASE, Attr.VERSION_OVERWRITTEN, Attr.VERSION_WRITTEN, Attr.VERSION_EXPECTED,
)  # fmt: skip
CARRIED: Final[Mapping[str, tuple[str, ...]]] = {
    Op.SCAN: (Attr.PREDICATE, Attr.RESULT_RESOURCES),
    Op.UPDATE: (Attr.WRITE_MODE,),
    Op.LOCK: (Attr.LOCK_OWNER,),
    Op.UNLOCK: (Attr.LOCK_OWNER,),
    **dict.fromkeys((Op.SEND, Op.RECEIVE, Op.ACK, Op.NACK), (Attr.MESSAGE_ID,)),
    **dict.fromkeys((Op.BEGIN, Op.COMMIT, Op.ABORT), (Attr.TXN_ID,)),
    Op.EFFECT: (Attr.EFFECT_HASH,),
    Op.SPAWN: (Attr.STRAND_OTHER,),
    Op.JOIN: (Attr.STRAND_OTHER,),
}
REFUSED: Final = frozenset({Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.NOT_FOUND})
NOTHING_CAME: Final = frozenset({Outcome.NOT_FOUND, Outcome.UNKNOWN, Outcome.ERROR})
"""Calls that need not carry what only a reply could have told."""


def is_ours(span: WireSpan) -> bool:
    """Whether it claims to be an access or a mark."""
    return span.scope.startswith(OURS)


def is_access(span: WireSpan) -> bool:
    """Whether it tells of an access; a mark does not."""
    return is_ours(span) and span.attributes.get(Attr.OP) != Op.MARK


def breaches_of_one(span: WireSpan) -> Iterator[Breach]:
    """What is wrong with it, whatever the other spans say."""
    for check in CHECKS if is_ours(span) else (_foreign,):
        for rule, what in check(span):
            yield Breach(rule, span.where, what)


def _foreign(span: WireSpan) -> Told:
    own = sorted(name for name in span.attributes if name.startswith(OURS))
    if own:
        yield "span.scope", f"scope {span.scope!r} has {own[0]}"


def _resource(span: WireSpan) -> Told:
    for name, kind in OF_RESOURCE.items():
        if type(span.resource.get(name)) is not kind:
            yield "resource.required", f"{name} is {span.resource.get(name)!r}"
    contract = span.resource.get(Attr.CONTRACT)
    if isinstance(contract, str) and contract != CONTRACT_VERSION:
        yield "resource.contract", f"{Attr.CONTRACT} is {contract!r}"
    if (Attr.CLOCK in span.resource) != (Attr.CLOCK_OFFSET_NS in span.resource):
        yield "resource.clock", "only one of the two is there"


def _form(span: WireSpan) -> Told:
    for text, digits in ((span.trace_id, 32), (span.span_id, 16)):
        if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", text) or not text.strip("0"):
            yield "span.ids", repr(text)
    still_open = span.attributes.get(Attr.OPEN) is True
    if span.start_ns <= 0 or (span.end_ns < span.start_ns and not still_open):
        yield "span.times", f"from {span.start_ns} to {span.end_ns}"
    name = f"{span.attributes.get(Attr.OP)} {span.attributes.get(Attr.SYSTEM)}"
    if span.name != name:
        yield "span.name", f"{span.name!r} where {name!r} is right"
    if span.kind != INTERNAL:
        yield "span.kind", f"kind {span.kind}"
    if span.scope == OURS:
        yield "span.scope", "no library is named"


def _names(span: WireSpan) -> Told:
    for name in span.twice:
        yield "attribute.once", name
    for name, value in span.attributes.items():
        if not name.startswith(OURS):
            continue
        if name not in KNOWN:
            yield "attribute.known", name
        elif not _typed(name, value):
            yield "attribute.type", f"{name} is {value!r}"
        elif name in WORDS and value not in WORDS[name]:
            yield "attribute.word", f"{name} is {value!r}"


def _typed(name: str, value: object) -> bool:
    if name in TRUTHS:
        return isinstance(value, bool)
    if name in NUMBERS:
        return type(value) is int
    if name == Attr.LOCK_TOKEN:
        return type(value) in (int, str)
    if name in LISTS or (name == Attr.PART and not isinstance(value, str)):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, str)


def _required(span: WireSpan) -> Told:
    own, mark = span.attributes, span.attributes.get(Attr.OP) == Op.MARK
    for name in ALWAYS if mark else (*ALWAYS, *OF_ACCESSES):
        if name not in own:
            yield "attribute.required", f"{name} is missing"
    if mark and not (all(name in own for name in MARKED) and Attr.STRAND not in own and Attr.SEQ not in own):
        yield "mark.counts", ", ".join(sorted(own))
    if "://" not in str(own.get(Attr.RESOURCE, "://")):
        yield "resource.uri", repr(own[Attr.RESOURCE])


def _versions(span: WireSpan) -> Told:
    own = span.attributes
    said, kind = [name for name in VERSIONS if name in own], own.get(Attr.VERSION_KIND)
    if said and kind is None:
        yield "version.kind", f"{said[0]} without {Attr.VERSION_KIND}"
    if own.get(Attr.OP) == Op.READ and own.get(Attr.OUTCOME) == Outcome.OK and kind and Attr.VERSION_READ not in own:
        yield "version.kind", f"{Attr.VERSION_READ} is missing"
    for name in said:
        if kind in (VersionKind.COUNTER, VersionKind.ORDERED) and not str(own[name]).isdigit():
            yield "version.digits", f"{name} is {own[name]!r}"
    if own.get(Attr.OP) == Op.READ and own.get(Attr.OUTCOME) == Outcome.NOT_FOUND and kind in WORDS[Attr.VERSION_KIND]:
        absent = VersionKind(str(kind)).absent
        if own.get(Attr.VERSION_READ) != absent:
            yield "version.absent", f"{own.get(Attr.VERSION_READ)!r} where {absent!r} is right"
    if own.get(Attr.OUTCOME) in REFUSED and Attr.VERSION_OVERWRITTEN in own:
        yield "version.refused", f"outcome {own[Attr.OUTCOME]}"


def _belonging(span: WireSpan) -> Told:
    own = span.attributes
    if Attr.VERSION_BASE in own and Attr.VERSION_BASE_SOURCE not in own:
        yield "base.source", f"{Attr.VERSION_BASE_SOURCE} is missing"
    asked = own.get(Attr.GUARD) == Guard.VERSION and own.get(Attr.OUTCOME) != Outcome.REJECTED
    if asked and Attr.VERSION_EXPECTED not in own:
        yield "guard.expected", f"{Attr.VERSION_EXPECTED} is missing"
    if (Attr.UNIT in own) != (Attr.UNIT_KIND in own):
        yield "unit.kind", "only one of the two is there"
    elif Attr.TXN_ID in own and own.get(Attr.UNIT_KIND) != UnitKind.TXN:
        yield "unit.kind", f"{own.get(Attr.UNIT_KIND)!r} inside a transaction"
    if (Attr.STRAND_PARENT in own) != (Attr.STRAND_PARENT_SEQ in own):
        yield "strand.parent", "only one of the two is there"


def _operation(span: WireSpan) -> Told:
    own = span.attributes
    if own.get(Attr.OUTCOME) not in NOTHING_CAME:
        for name in CARRIED.get(str(own.get(Attr.OP)), ()):
            if name not in own:
                yield "op.carries", f"{own[Attr.OP]} without {name}"
    if own.get(Attr.OP) == Op.UPDATE and Attr.VERSION_BASE in own:
        yield "update.base", f"{Attr.VERSION_BASE} is {own[Attr.VERSION_BASE]!r}"
    resources, versions = own.get(Attr.RESULT_RESOURCES), own.get(Attr.RESULT_VERSIONS)
    counts = {len(each) for each in (resources, versions) if isinstance(each, list)}
    if len(counts) > 1 or max(counts, default=0) > SCAN_MAX:
        yield "scan.results", f"{sorted(counts)} entries"


CHECKS: Final[tuple[Callable[[WireSpan], Told], ...]] = (
    _resource, _form, _names, _required, _versions, _belonging, _operation,
)  # fmt: skip
