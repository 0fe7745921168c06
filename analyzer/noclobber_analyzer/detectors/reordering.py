"""Effects and writes of one run that were applied against the order in which they were decided.

An agent decides one thing, then another, and carries out both beside each other (two tool calls, each a strand of its
own). What was decided last was applied first, so the older decision won, and nobody else took part. What an access was
decided by is the model call that it names (`model.span`), else the call that started its strand; two decisions are
in order if one strand made both, one after the other. Calls that were made to wait for each other were applied as the
program meant it.

Writes of one resource without a base conflict, so that is `likely` where both name their model calls. Two effects of
one tool need not concern each other: `possible`, unless both are of one ordering key; nor need the order in which a
program starts strands be that of a decision.

Source: contract 3.1 (`out_of_order`), detection.md 3.6 and 8 (tool-effect reordering).
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Guard, Kind, Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.detectors.basis import is_overwrite
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.order import Answer
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["reordered"]

BACK_MAX: Final = 16
"""The newest decisions of one run and resource that a later call is compared with."""


class _Decided(NamedTuple):
    """A call, and the access of another strand that it was decided by; `named`: it says so itself."""

    seq: int
    name: tuple[str, str]
    act: Access
    by: Access
    named: bool


def reordered(evidence: Evidence) -> Iterator[Candidate]:
    """Calls that were applied after what had been decided later; each late call is at most one."""
    if not evidence.history.of(Op.SPAWN, Op.MODEL):
        return
    places: dict[tuple[str, str, str, str], list[_Decided]] = defaultdict(list)
    for access in evidence.history.of(Op.EFFECT, Op.WRITE):
        decided = _decided(access, evidence) if _is_act(access, evidence) else None
        if decided is not None and access.run is not None:
            key = access.message.key or "" if access.message is not None else ""
            places[access.run, access.resource, key, decided.by.strand].append(decided)
    for of_place in places.values():
        yield from _late(of_place, evidence)


def _is_act(access: Access, evidence: Evidence) -> bool:
    if access.op is Op.EFFECT:
        return evidence.fates.of(access) is Fate.APPLIED
    blind = access.op is Op.WRITE and is_overwrite(access) and access.base is None and access.guard is Guard.NONE
    return blind and not access.locks and evidence.fates.of(access) is Fate.APPLIED


def _decided(access: Access, evidence: Evidence) -> _Decided | None:
    model = evidence.history.by_name.get((access.trace_id, access.model_span or ""))
    if model is not None and model.op is Op.MODEL and model.strand != access.strand:
        return _Decided(model.seq, access.name, access, model, named=True)
    first = evidence.history.captured(access.strand)[0]
    started = evidence.history.at(first.strand_parent, first.strand_parent_seq)
    if started is None or started.op is not Op.SPAWN:
        return None
    return _Decided(started.seq, access.name, access, started, named=False)


def _late(decided: list[_Decided], evidence: Evidence) -> Iterator[Candidate]:
    """Compare each call with those before it whose decisions were the newest."""
    newest: list[_Decided] = []
    for each in sorted(decided, key=lambda d: (local_ns(d.act.process, d.act.start_ns), d.act.span_id)):
        for other in reversed(newest):
            if other.seq <= each.seq:
                break
            if _is_reversed(other, each, evidence):
                yield _candidate(other, each)
                break
        insort(newest, each, key=lambda d: (d.seq, d.name))
        del newest[:-BACK_MAX]


def _is_reversed(newer: _Decided, late: _Decided, evidence: Evidence) -> bool:
    one, other = newer.act, late.act
    if one.strand == other.strand or newer.named != late.named:
        return False
    if other.op is Op.WRITE and evidence.state(other.resource).same_content(one, other):
        return False
    if evidence.took_effect_before(one, other) is None:
        return False
    return evidence.order.path(one, other) is Answer.NO


def _candidate(newer: _Decided, late: _Decided) -> Candidate:
    grade = Grade().at_most(Certainty.LIKELY, "positions (`noclobber.message.seq`) in the order of deciding")
    if not late.named:
        missing = "the model calls that decided the two (`noclobber.model.span`)"
        grade = grade.at_most(Certainty.POSSIBLE, missing)
    if late.act.op is Op.EFFECT and (late.act.message is None or late.act.message.key is None):
        grade = grade.at_most(Certainty.POSSIBLE, "whether the two concern one thing (`noclobber.message.key`)")
    return Candidate(
        kind=Kind.OUT_OF_ORDER,
        resource=late.act.resource,
        anchors=(late.act,),
        roles=((late.by, "context"), (newer.by, "context"), (newer.act, "newer"), (late.act, "applied")),
        links=(
            Link(late.by, newer.by, "program", "it was decided first"),
            Link(newer.act, late.act, "unordered", "it was applied first, though it was decided later"),
        ),
        grade=partial(grade, (newer.act, late.act)),
        words={"how": "decided"},
    )
