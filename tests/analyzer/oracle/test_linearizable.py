"""Linearizability of one register, against a published checker that knows nothing of this code (detangle, from PyPI).

Both get the same calls and returns. Whether any order in time explains them must be one answer: of the bounded search
alone, and of all that the analyzer makes of the record when it is complete and on one clock.
"""

from dataclasses import dataclass, replace

import pytest
from detangle import lin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.length import AT_LENGTH

from noclobber.contract import FRONTIER_END, Op, Outcome, VersionKind
from noclobber_analyzer.access import Mark, Process
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.forms import roomy
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.linearizability import Search

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
FIRST = "i"
"""What stood in the register before anybody wrote; somebody looked."""
OUT_OF_DATE = frozenset({"stale_read", "read_your_writes", "monotonic_reads", "monotonic_writes"})


@dataclass(frozen=True)
class Call:
    """One call: by whom, what it wrote or got, how long the caller slept before it, how long it took."""

    strand: int
    writes: bool
    content: str
    sleep: int
    takes: int
    answered: bool


def _calls(contents: str) -> st.SearchStrategy[tuple[Call, ...]]:
    call = st.builds(
        Call,
        strand=st.integers(0, 3),
        writes=st.booleans(),
        content=st.sampled_from(contents),
        sleep=st.integers(0, 5),
        takes=st.integers(0, 9),
        answered=st.sampled_from((True, True, True, False)),
    )
    return st.lists(call, min_size=2, max_size=8).map(tuple)


def _unlike(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The same with each content written at most once; a read of what nobody wrote got the first content."""
    written: set[str] = set()
    kept = []
    for call in calls:
        if not call.writes or call.content not in written:
            kept.append(call)
            written |= {call.content} if call.writes else set()
    return tuple(kept)


@dataclass(frozen=True)
class Timed:
    """A call with its times, and what it got if it is a read."""

    call: Call
    start: int
    end: int


def _timed(calls: tuple[Call, ...]) -> list[Timed]:
    """Each strand's calls one after the other. What nobody can have written yet is the first content."""
    now = dict.fromkeys(range(4), 2)
    timed = []
    for call in calls:
        start = now[call.strand] + call.sleep
        now[call.strand] = start + call.takes + 1
        timed.append(Timed(call, start, start + call.takes))
    made = [(each.call.content, each.start) for each in timed if each.call.writes]
    return [
        each
        if each.call.writes or any(content == each.call.content and start <= each.end for content, start in made)
        else Timed(replace(each.call, content=FIRST), each.start, each.end)
        for each in timed
    ]


def _theirs(timed: list[Timed]) -> bool:
    """What detangle says: whether some order explains all."""
    operations = [lin.Operation(0, "first", "read", None, 0, 0.0, FIRST, "ok", 1)]
    for index, each in enumerate(timed, start=1):
        call = each.call
        if not call.answered and not call.writes:
            continue
        operations.append(
            lin.Operation(
                index,
                call.strand,
                "write" if call.writes else "read",
                call.content if call.writes else None,
                each.start,
                float(each.start),
                None if call.writes else call.content,
                "ok" if call.answered else "info",
                each.end if call.answered else None,
            )
        )
    return lin.check(operations, lin.Register(FIRST)).ok


def _history(timed: list[Timed], kind: VersionKind = VersionKind.FINGERPRINT) -> History:
    first = Timed(Call(9, writes=False, content=FIRST, sleep=0, takes=0, answered=True), 0, 1)
    builder = HistoryBuilder()
    seqs: dict[int, int] = {}
    for number, each in enumerate([first, *timed], start=1):
        call = each.call
        seqs[call.strand] = seqs.get(call.strand, 0) + 1
        access = roomy(
            trace_id=f"{call.strand + 1:032x}", span_id=f"{number:016x}", start_ns=each.start * 1000,
            end_ns=each.end * 1000, process=Process(f"p{call.strand}", "clock", 0, "key", "host"), op=Op.READ,
            resource="mem://x", system="memory", outcome=Outcome.OK if call.answered else Outcome.UNKNOWN,
            agent=f"a{call.strand}", strand=f"s{call.strand}", seq=seqs[call.strand], unit=f"s{call.strand}",
            version_kind=kind,
        )  # fmt: skip
        if call.writes:
            access.op, access.written = Op.WRITE, call.content
        elif call.answered:
            access.read = call.content
        builder.add(access, access.name)
    for strand in seqs:
        process = Process(f"p{strand}", "clock", 0, "key", "host")
        builder.add(Mark(process, FRONTIER_END, None, 0, 10**9), (f"{strand:032x}", "f" * 16))
    return builder.finish(ended=True)


def _searched(timed: list[Timed]) -> bool:
    """What the search alone says."""
    evidence = Evidence(_history(timed))
    search = Search(evidence.state("mem://x"), evidence)
    assert search.is_possible
    impossible = search.first_impossible()
    assert not search.spent
    return impossible is None


def _said(timed: list[Timed]) -> bool:
    """What the analyzer says: whether nothing was read that fits no order in time."""
    findings = evaluate(_history(timed)).findings
    return not [f for f in findings if OUT_OF_DATE & {f.kind, *f.also} and f.certainty != "possible"]


@given(_calls("pq"))
@settings(max_examples=1000, **PACE)
def test_search_agrees(calls: tuple[Call, ...]) -> None:
    """Contents that come again, and answers that never came: the search says what the published checker says."""
    timed = _timed(calls)
    assert _searched(timed) is _theirs(timed)


@given(st.one_of(_calls("pq"), _calls("pqrstu").map(_unlike)))
@settings(max_examples=400, **PACE)
def test_findings_agree(calls: tuple[Call, ...]) -> None:
    """Whatever detector it is that speaks: something is out of date exactly where no order explains what was read."""
    timed = _timed(calls)
    assert _said(timed) is _theirs(timed)


@pytest.mark.long
@given(st.one_of(_calls("pq"), _calls("pqrstu").map(_unlike)))
@settings(max_examples=AT_LENGTH, **PACE)
def test_all_agree_at_length(calls: tuple[Call, ...]) -> None:
    """The same, for long."""
    timed = _timed(calls)
    theirs = _theirs(timed)
    assert _searched(timed) is theirs
    assert _said(timed) is theirs
