"""Properties that hold for any history: what is serial is clean, and names, arrival and repetition change nothing."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import BaseSource, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import changed, roomy
from noclobber_analyzer.history import HistoryBuilder

PROCESS = Process("p0", "clock", 0, "key", "host", "agents", 1, "1")


def _judge(accesses: Sequence[Access]) -> Evaluation:
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(changed(access), access.name)
    return builder_judged(builder)


def builder_judged(builder: HistoryBuilder) -> Evaluation:
    return evaluate(builder.finish(ended=True))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[tuple[int, str]], int]:
    """Interleaved read-modify-writes: (agent, step) in order of time; each agent reads, then writes, some twice."""
    agents = draw(st.integers(2, 4))
    steps = [(agent, step) for agent in range(agents) for step in ("read", "write") * draw(st.integers(1, 2))]
    order = draw(st.permutations(range(len(steps))))
    waiting = {agent: [step for who, step in steps if who == agent] for agent in range(agents)}
    told = []
    for index in order:
        agent = steps[index][0]
        told.append((agent, waiting[agent].pop(0)))
    return told, agents


def _run(schedule: list[tuple[int, str]], kind: VersionKind) -> tuple[list[Access], set[str]]:
    """The accesses of a schedule on one register, and the span ids of the writes that lost somebody's work.

    The oracle knows the true state only: a write loses work if the state that it replaces was made by another agent
    after this one had read. Nothing of versions or of the analyzer's terms is used for it.
    """
    state, owner, made_at = "1", -1, -1
    seen: dict[int, tuple[str, int, int]] = {}
    accesses, lost, seqs = [], set(), dict.fromkeys(range(10), 0)
    for now, (agent, step) in enumerate(schedule):
        seqs[agent] += 1
        access = roomy(
            trace_id=f"{agent + 1:032x}", span_id=f"{now + 1:016x}", start_ns=now * 1000, end_ns=now * 1000 + 500,
            process=PROCESS, op=Op.READ if step == "read" else Op.WRITE, resource="mem://x", system="memory",
            outcome=Outcome.OK, agent=f"agent-{agent}", strand=f"s{agent}", seq=seqs[agent], unit=f"s{agent}",
            version_kind=kind,
        )  # fmt: skip
        if step == "read":
            access.read = state
            seen[agent] = (state, now, seqs[agent])
        else:
            base, read_at, seq = seen[agent]
            access.base, access.base_source, access.base_strand, access.base_seq = (
                base, BaseSource.OBSERVED, f"s{agent}", seq
            )  # fmt: skip
            if owner not in (agent, -1) and made_at > read_at:
                lost.add(access.span_id)
            state = str(int(state) + 1) if kind is VersionKind.COUNTER else f"v{now}"
            access.written, owner, made_at = state, agent, now
            seen[agent] = (state, now, seqs[agent])
        accesses.append(access)
    return accesses, lost


@given(schedules())
@settings(max_examples=400, deadline=None)
def test_schedule_oracle(told: tuple[list[tuple[int, str]], int]) -> None:
    """With counters, `certain` lost updates are exactly the writes that the true schedule says lost work."""
    accesses, lost = _run(told[0], VersionKind.COUNTER)
    findings = _judge(accesses).findings
    certain = {f.accesses[-1].span_id for f in findings if f.kind == "lost_update" and f.certainty == "certain"}
    assert certain == lost


@given(schedules())
@settings(max_examples=400, deadline=None)
def test_schedule_oracle_by_prints(told: tuple[list[tuple[int, str]], int]) -> None:
    """With prints and one clock, `likely` ones are exactly the same."""
    accesses, lost = _run(told[0], VersionKind.FINGERPRINT)
    findings = _judge(accesses).findings
    assert not [f for f in findings if f.certainty == "certain"]
    likely = {f.accesses[-1].span_id for f in findings if f.kind == "lost_update" and f.certainty == "likely"}
    assert likely == lost


@given(schedules(), st.randoms(use_true_random=False), st.sampled_from(list(VersionKind)[:1] + list(VersionKind)[3:]))
@settings(max_examples=100, deadline=None)
def test_arrival_and_repetition(
    told: tuple[list[tuple[int, str]], int], chance: random.Random, kind: VersionKind
) -> None:
    """Order of arrival and spans that come three times change nothing, ids and all."""
    accesses, _ = _run(told[0], kind)
    arrived = accesses * 3
    chance.shuffle(arrived)
    assert _judge(arrived) == _judge(accesses)


@given(schedules())
@settings(max_examples=100, deadline=None)
def test_names_mean_nothing(told: tuple[list[tuple[int, str]], int]) -> None:
    """Renaming agents and resources changes names only: kinds, certainty and accesses stay."""
    accesses, _ = _run(told[0], VersionKind.FINGERPRINT)
    renamed = [changed(a, agent=f"other-{a.agent}", resource="redis://h:6379/0/k:1") for a in accesses]

    def shape(evaluation: Evaluation) -> list[tuple[object, ...]]:
        return sorted((f.kind, f.certainty, tuple(a.span_id for a in f.accesses)) for f in evaluation.findings)

    assert shape(_judge(renamed)) == shape(_judge(accesses))


@given(schedules())
@settings(max_examples=100, deadline=None)
def test_unrelated_access_changes_nothing(told: tuple[list[tuple[int, str]], int]) -> None:
    """An access of somebody else to something else is nobody's business."""
    accesses, _ = _run(told[0], VersionKind.COUNTER)
    other = changed(accesses[0], span_id="e" * 16, strand="elsewhere", seq=1, resource="mem://elsewhere", base=None)
    assert _judge([*accesses, other]).findings == _judge(accesses).findings


@given(schedules(), st.data())
@settings(max_examples=200, deadline=None)
def test_less_evidence_is_never_surer(told: tuple[list[tuple[int, str]], int], data: st.DataObject) -> None:
    """Taking a span away, or the clock's name, never makes any finding surer."""
    accesses, _ = _run(told[0], VersionKind.FINGERPRINT)
    gone = data.draw(st.integers(0, len(accesses) - 1))
    fewer = [access for number, access in enumerate(accesses) if number != gone]
    before = {f.id: f.certainty.rank for f in _judge(accesses).findings}
    for finding in _judge(fewer).findings:
        assert finding.certainty.rank <= max(before.get(finding.id, 1), 1)
