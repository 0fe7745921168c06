"""Monotone evidence: who knows less is never surer, and what is told twice, elsewhere named or late changes nothing."""

import random
from collections.abc import Callable, Sequence

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.strategies import complete_plans, plans
from oracle.truth import TRUE
from oracle.world import NUMBERS, Plan, World

from noclobber.contract import FRONTIER_END, Guard, Op, Outcome
from noclobber_analyzer.access import Access, Mark
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import access_of, changed
from noclobber_analyzer.history import HistoryBuilder

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
LIKELY = 1
HOUR_NS = 3600 * 10**9


def _judge(accesses: Sequence[Access], *, marked: bool = True) -> Evaluation:
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(changed(access), access.name)
    if marked:
        for number, process in enumerate({a.process.id: a.process for a in accesses}.values()):
            builder.add(Mark(process, FRONTIER_END, None, 0, 10**15), (f"{number:032x}", "f" * 16))
    return evaluate(builder.finish(ended=True))


def _certain(evaluation: Evaluation) -> set[str]:
    return {finding.id for finding in evaluation.findings if finding.certainty == "certain"}


WITHOUT: dict[str, Callable[[Access], Access]] = {
    "overwritten": lambda a: changed(a, overwritten=None),
    "clock": lambda a: changed(a, process=msgspec.structs.replace(a.process, clock=None, host=None, id=a.process.id)),
    "source": lambda a: changed(a, base_source="remembered" if a.base_source else None),
    "verbatim": lambda a: changed(a, verbatim=False),
    "whole": lambda a: changed(a, partial=True),
}


@given(plans(), st.sampled_from(sorted(WITHOUT)))
@settings(max_examples=800, **PACE)
def test_less_told_is_no_new_certainty(plan: Plan, what: str) -> None:
    """An attribute that is not recorded makes nothing certain that was not."""
    world = World(plan)
    if plan.kind in NUMBERS and world.unseen_deletion:
        return  # the contract takes the numbers' word that there was one life
    accesses = world.recorded
    with_all = _judge(accesses)
    less = _judge([WITHOUT[what](access) for access in accesses])
    assert _certain(less) <= _certain(with_all), what


@given(complete_plans(), st.data())
@settings(max_examples=800, **PACE)
def test_lost_span_is_no_new_certainty(plan: Plan, data: st.DataObject) -> None:
    """A span that is lost makes nothing certain that was not, unless it was the deletion between two lives."""
    accesses = World(plan).recorded
    kept = [a for a in accesses if a.op not in (Op.DELETE, Op.ABORT, Op.COMMIT)]
    if not kept:
        return
    gone = data.draw(st.sampled_from(range(len(kept))))
    fewer = [a for a in accesses if a is not kept[gone]]
    sure = [f for f in _judge(accesses).findings if f.certainty.rank >= LIKELY]
    known = {a.span_id for f in sure for a in f.accesses}
    caused = {(f.resource, kind) for f in sure for kind in f.also}  # told as consequences, without their accesses
    findings = [f for f in _judge(fewer).findings if f.kind in TRUE and (f.resource, f.kind) not in caused]
    new = [f for f in findings if f.certainty == "certain" and f.accesses[-1].span_id not in known]
    assert not new


@given(plans())
@settings(max_examples=500, **PACE)
def test_no_marks_make_nothing_surer(plan: Plan) -> None:
    """Marks that never come make nothing certain."""
    accesses = World(plan).recorded
    assert _certain(_judge(accesses, marked=False)) <= _certain(_judge(accesses))


@given(plans(), st.integers(0, 2))
@settings(max_examples=600, **PACE)
def test_clock_an_hour_off(plan: Plan, strand: int) -> None:
    """One machine's clock, an hour off, makes nothing more certain, and nothing likely that was not."""
    accesses = World(plan).recorded
    if plan.clocks != "apart":
        return

    def shifted(a: Access) -> Access:
        off = HOUR_NS if a.strand == f"s{strand}" else 0
        end = a.base_end_ns + off if a.base_end_ns is not None else None
        return changed(a, start_ns=a.start_ns + off, end_ns=a.end_ns + off, base_end_ns=end)

    def sure(evaluation: Evaluation) -> int:
        return sum(finding.certainty == "certain" for finding in evaluation.findings)

    assert sure(_judge([shifted(a) for a in accesses])) == sure(_judge(accesses))


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=500, **PACE)
def test_arrival_and_repetition(plan: Plan, chance: random.Random) -> None:
    """Any order of arrival, and everything three times: the same, ids and all."""
    accesses = World(plan).recorded
    if not accesses:
        return
    arrived = accesses * 3
    chance.shuffle(arrived)
    assert _judge(arrived) == _judge(accesses)


@given(plans())
@settings(max_examples=500, **PACE)
def test_names_mean_nothing(plan: Plan) -> None:
    """Other names of strands and agents change names only."""
    accesses = World(plan).recorded

    def renamed(a: Access) -> Access:
        other = f"z{a.strand_other}" if a.strand_other else None
        base = f"z{a.base_strand}" if a.base_strand else None
        return changed(a, strand=f"z{a.strand}", agent=f"z{a.agent}", strand_other=other, base_strand=base)

    def shape(evaluation: Evaluation) -> list[tuple[object, ...]]:
        return sorted((f.kind, f.certainty, tuple(a.span_id for a in f.accesses)) for f in evaluation.findings)

    assert shape(_judge([renamed(a) for a in accesses])) == shape(_judge(accesses))


@given(complete_plans(), st.data())
@settings(max_examples=600, **PACE)
def test_join_accuses_nobody(plan: Plan, data: st.DataObject) -> None:
    """A join between two accesses of a strand, of what had ended before, makes no finding and none surer."""
    accesses = World(plan).recorded
    if not accesses:
        return
    at = data.draw(st.integers(0, len(accesses) - 1))
    waiter = accesses[at]
    ended = [a for a in accesses if a.strand != waiter.strand and a.end_ns < waiter.start_ns]
    if not ended:
        return
    other = max(ended, key=lambda a: a.seq)
    last = max(a.seq for a in ended if a.strand == other.strand)
    moved = [
        changed(
            a,
            seq=a.seq + (a.strand == waiter.strand and a.seq >= waiter.seq),
            base_seq=a.base_seq + (a.base_strand == waiter.strand and a.base_seq >= waiter.seq)
            if a.base_seq is not None
            else None,
            strand_other_seq=a.strand_other_seq + (a.strand_other == waiter.strand and a.strand_other_seq >= waiter.seq)
            if a.strand_other_seq is not None
            else None,
        )
        for a in accesses
    ]
    join = access_of(
        trace_id=waiter.trace_id, span_id="e" * 16, start_ns=waiter.start_ns, end_ns=waiter.start_ns,
        process=waiter.process, op=Op.JOIN, resource="strand://other", system="memory", outcome=Outcome.OK,
        agent=waiter.agent, strand=waiter.strand, seq=waiter.seq, unit=waiter.unit, strand_other=other.strand,
        strand_other_seq=last,
    )  # fmt: skip
    before, after = _judge(accesses), _judge([*moved, join])
    told = {(kind, a.span_id) for f in before.findings for kind in (f.kind, *f.also) for a in f.accesses}
    accused = [f for f in after.findings if f.certainty.rank >= LIKELY and f.kind in TRUE]
    assert [f for f in accused if not any((f.kind, a.span_id) in told for a in f.accesses)] == []


def _accused(evaluation: Evaluation) -> set[tuple[str, str]]:
    """What is likely at least of the kinds that the oracle knows, with each access that it is told of."""
    findings = (f for f in evaluation.findings if f.certainty.rank >= LIKELY and f.kind in TRUE)
    return {(kind, a.span_id) for f in findings for kind in (f.kind, *f.also) for a in f.accesses}


@given(complete_plans(), st.data())
@settings(max_examples=400, **PACE)
def test_guard_accuses_nobody(plan: Plan, data: st.DataObject) -> None:
    """A guard by which the store compared a write's base makes no finding and none surer."""
    accesses = World(plan).recorded
    based = [a for a in accesses if a.op is Op.WRITE and a.base is not None and a.guard is Guard.NONE]
    if not based:
        return
    chosen = data.draw(st.sampled_from(based))
    guarded = [changed(a, guard=Guard.VERSION, expected=a.base) if a is chosen else a for a in accesses]
    assert _accused(_judge(guarded)) <= _accused(_judge(accesses))


@given(complete_plans())
@settings(max_examples=400, **PACE)
def test_lock_accuses_nobody(plan: Plan) -> None:
    """A lock that everybody holds makes no finding and none surer."""
    accesses = World(plan).recorded
    locked = [changed(a, locks=("redis://lock",)) for a in accesses]
    assert _accused(_judge(locked)) <= _accused(_judge(accesses))
