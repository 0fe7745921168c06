"""All spans of a record against one another: strands without holes, transactions in order, marks that count right."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from noclobber.contract import FRONTIER_END, Attr, Op, VersionKind
from noclobber_analyzer.conformance.one_span import breaches_of_one, is_access, is_ours
from noclobber_analyzer.conformance.rules import RULES, Breach
from noclobber_analyzer.conformance.wire import WireSpan

__all__ = ["breaches_of"]

Spans = Sequence[WireSpan]
ENDS: Final = (Op.COMMIT, Op.ABORT)


def breaches_of(spans: Iterable[WireSpan], planted: Sequence[str] = ()) -> list[Breach]:
    """All that is wrong with a record, and after it what makes findings less sure.

    Args:
        spans: as they were written.
        planted: texts that the instrumented program worked with, and that must be nowhere.
    """
    everything = list(spans)
    found = [breach for span in everything for breach in breaches_of_one(span)]
    found += [breach for span in everything for breach in _planted(span, planted)]
    ours = _once([span for span in everything if is_ours(span)])
    accesses = [span for span in ours if is_access(span)]
    for rules in (_strands, _parents, _bases, _transactions):
        found += rules(accesses)
    found += _processes(ours)
    found += _worth(accesses)
    order = {name: place for place, name in enumerate(RULES)}
    return sorted(found, key=lambda breach: order[breach.rule])


def _planted(span: WireSpan, planted: Sequence[str]) -> Iterator[Breach]:
    said = {"the name": span.name, **span.resource, **span.attributes}
    for name, value in said.items():
        if any(text in str(value) for text in planted):
            yield Breach("secret.sent", span.where, f"{name} holds what was planted")


def _once(spans: Spans) -> list[WireSpan]:
    """Each span once, as it was at last: what was sent open is replaced, what was sent again is the same."""
    last: dict[tuple[str, str], WireSpan] = {}
    for span in spans:
        before = last.get((span.trace_id, span.span_id))
        if before is None or span.end_ns >= before.end_ns:
            last[span.trace_id, span.span_id] = span
    return list(last.values())


def _by(name: str, spans: Spans) -> dict[str, list[WireSpan]]:
    """Those that have an attribute, by its value."""
    groups: dict[str, list[WireSpan]] = defaultdict(list)
    for span in spans:
        if isinstance(value := span.attributes.get(name), str):
            groups[value].append(span)
    return groups


def _seq(span: WireSpan) -> int:
    seq = span.attributes.get(Attr.SEQ)
    return seq if isinstance(seq, int) else 0


def _strands(accesses: Spans) -> Iterator[Breach]:
    for strand, group in _by(Attr.STRAND, accesses).items():
        line = sorted(group, key=_seq)
        for wanted, span in enumerate(line, 1):
            if _seq(span) != wanted:
                yield Breach("seq.whole", span.where, f"{strand} has {_seq(span)} where {wanted} is next")
                break
        for before, after in pairwise(line):
            if after.start_ns < before.start_ns:
                yield Breach("seq.order", after.where, f"{strand}: {_seq(after)} began before {_seq(before)}")


def _parents(accesses: Spans) -> Iterator[Breach]:
    reached = {strand: max(map(_seq, group)) for strand, group in _by(Attr.STRAND, accesses).items()}
    for span in accesses:
        parent, seq = span.attributes.get(Attr.STRAND_PARENT), span.attributes.get(Attr.STRAND_PARENT_SEQ)
        if isinstance(parent, str) and isinstance(seq, int) and seq > reached.get(parent, seq):
            yield Breach("strand.parent", span.where, f"{parent} has not got to {seq}")


def _bases(accesses: Spans) -> Iterator[Breach]:
    known: dict[tuple[object, object], Mapping[str, object]] = {
        (span.attributes.get(Attr.STRAND), _seq(span)): span.attributes for span in accesses
    }
    for span in accesses:
        own = span.attributes
        source = known.get((own.get(Attr.VERSION_BASE_STRAND), own.get(Attr.VERSION_BASE_SEQ)))
        if source is None or own.get(Attr.VERSION_BASE) is None:
            continue
        results = source.get(Attr.RESULT_VERSIONS)
        got = {source.get(Attr.VERSION_READ), source.get(Attr.VERSION_WRITTEN)}
        if own[Attr.VERSION_BASE] not in got | set(results if isinstance(results, list) else ()):
            yield Breach("base.access", span.where, f"{own[Attr.VERSION_BASE]!r} is not among {sorted(map(str, got))}")


def _transactions(accesses: Spans) -> Iterator[Breach]:
    for name, group in _by(Attr.TXN_ID, accesses).items():
        line = sorted(group, key=lambda span: (span.start_ns, _seq(span)))
        ops = [span.attributes.get(Attr.OP) for span in line]
        begins = sum(
            op == Op.BEGIN and Attr.TXN_SAVEPOINT not in span.attributes for op, span in zip(ops, line, strict=True)
        )
        if ops[0] != Op.BEGIN or begins != 1:
            yield Breach("txn.begin", line[0].where, f"{name} begins with {ops[0]}, {begins} begins")
        for span, after in pairwise(line):
            if span.attributes.get(Attr.OP) in ENDS and Attr.TXN_SAVEPOINT not in span.attributes:
                yield Breach("txn.begin", after.where, f"{name} goes on after its end")
                break


def _processes(ours: Spans) -> Iterator[Breach]:
    """What marks say, by process."""
    of: dict[object, list[WireSpan]] = defaultdict(list)
    for span in ours:
        of[span.resource.get(Attr.PROCESS)].append(span)
    for process, group in of.items():
        marks = [span.attributes for span in group if not is_access(span)]
        sent = sum(map(is_access, group))
        if not marks:
            yield Breach("mark.some", group[0].where, f"{process} sends none")
            continue
        counted = max((n for mark in marks if isinstance(n := mark.get(Attr.ACCESSES), int)), default=0)
        if sent < counted:
            yield Breach("mark.accesses", group[0].where, f"{process} counts {counted} and has sent {sent}")
        if all(mark.get(Attr.FRONTIER_NS) != FRONTIER_END for mark in marks):
            yield Breach("mark.end", group[0].where, f"{process} sends no last one")
        if Attr.CLOCK not in group[0].resource:
            yield Breach("clock.some", group[0].where, f"{process} names no clock")


def _worth(accesses: Spans) -> Iterator[Breach]:
    """What would make findings surer, or say more."""
    printed = [span for span in accesses if span.attributes.get(Attr.VERSION_KIND) == VersionKind.FINGERPRINT]
    keys = {span.resource.get(Attr.KEY_ID) for span in printed}
    if printed and keys & {None, ""}:
        yield Breach("key.some", printed[0].where, "no key is named")
    if len(keys) > 1:
        yield Breach("key.one", printed[0].where, f"{len(keys)} keys")
    if accesses and not any(Attr.CODE_LINE in span.attributes for span in accesses):
        yield Breach("code.some", accesses[0].where, "no access says its line")
