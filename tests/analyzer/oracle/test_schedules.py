"""Differential tests against the schedule oracle: with counters, what is sure and what is so are one and the same.

The oracle sees what happened and nothing else. In both directions: each finding is true, and each truth is found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.length import AT_LENGTH
from oracle.schedule import Do, Happened, Record, Replicas, Transactions

from noclobber.contract import BaseSource, Certainty, Op, VersionKind
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
STORES = ("dirty", "committed", "snapshot")
NOT_SERIAL = frozenset({
    "lost_update", "dirty_write", "intermediate_read", "non_repeatable_read", "read_skew", "write_skew", "long_fork",
    "circular_information_flow", "serialization_cycle",
})  # fmt: skip
OUT_OF_DATE = frozenset({"stale_read", "read_your_writes", "monotonic_reads"})

programs = st.lists(
    st.builds(Do, line=st.integers(0, 2), writes=st.booleans(), register=st.sampled_from("xy")), min_size=2, max_size=6
)
lagging = st.lists(
    st.builds(Do, line=st.integers(0, 2), writes=st.booleans(), register=st.sampled_from("xxy"), lag=st.integers(0, 2)),
    min_size=2,
    max_size=6,
)


def _at_least(findings: Sequence[Finding], grade: Certainty, *kinds: str) -> list[Finding]:
    return [f for f in findings if f.certainty.rank >= grade.rank and (not kinds or {f.kind, *f.also} & set(kinds))]


def _spans(findings: Sequence[Finding], *roles: str) -> set[str]:
    """The last access in one of these roles of each finding."""
    return {[a.span_id for a in f.accesses if not roles or a.role in roles][-1] for f in findings}


# One write at a time, reads from replicas that lag


def _lost(world: Replicas | Transactions, writes: dict[str, list[Happened]]) -> set[str]:
    """Writes that came after another's which their line had not seen when it last looked."""
    lost = set()
    for write in (each for each in world.happened if each.do.writes and each in writes[each.register]):
        before = [e for e in world.happened if (e.line, e.register) == (write.line, write.register) and e.at < write.at]
        if before:
            own, looked = writes[write.register], before[-1] if before[-1].do.writes else before[-1].saw
            if looked is not None and looked not in own:
                continue
            since = own[own.index(looked) + 1 if looked is not None else 0 : own.index(write)]
            if any(other.line != write.line for other in since):
                lost.add(write.access.span_id)
    return lost


def _behind(world: Replicas) -> dict[str, set[str]]:
    """Reads that saw an older state than the newest, than one of their line's own, or than their line had seen."""
    found: dict[str, set[str]] = {}
    for read in (each for each in world.happened if not each.do.writes):
        before = [e for e in world.happened if e.register == read.register and e.at < read.at]
        own = [e for e in before if e.line == read.line]
        writes = world.writes[read.register]
        newer = {
            "stale_read": [writes.index(e) + 1 for e in before if e.do.writes],
            "read_your_writes": [writes.index(e) + 1 for e in own if e.do.writes],
            "monotonic_reads": [world.age(e) for e in own if not e.do.writes],
        }
        kinds = {kind for kind, ages in newer.items() if max(ages, default=0) > world.age(read)}
        if kinds:
            found[read.access.span_id] = kinds
    return found


@given(lagging)
@settings(max_examples=800, **PACE)
def test_replicas(program: list[Do]) -> None:
    """Lost updates, stale reads and broken session guarantees: certain exactly where they are so."""
    _check_replicas(Replicas(program))


def _check_replicas(world: Replicas) -> None:
    findings = evaluate(world.history()).findings
    assert _spans(_at_least(findings, Certainty.CERTAIN, "lost_update")) == _lost(world, world.writes)
    behind = _behind(world)
    late = _at_least(findings, Certainty.CERTAIN, *OUT_OF_DATE)
    assert _spans(late, "stale_read") == behind.keys()
    for finding in late:
        assert {finding.kind, *finding.also} & OUT_OF_DATE <= behind[finding.accesses[-1].span_id]
    assert not [f for f in _at_least(findings, Certainty.LIKELY) if f.kind in NOT_SERIAL - {"lost_update"}]


# Two replicas that both take writes, and one that applies them late


def _split(program: Sequence[Do]) -> tuple[list[Happened], History]:
    """Each line looks at one of two replicas and writes to the one that it has looked at; they never meet."""
    record, happened = Record(), list[Happened]()
    numbers, looked = {"x": 1, "y": 1}, dict[int, Happened]()
    for do in program:
        if do.writes and do.line not in looked:
            continue
        access = record.add(do.line, Op.WRITE if do.writes else Op.READ, "mem://r")
        access.version_kind = VersionKind.COUNTER
        here = Happened(do, len(happened), access)
        happened.append(here)
        if not do.writes:
            access.read, looked[do.line] = str(numbers[do.register]), here
            continue
        last = looked[do.line]
        here.do = replace(do, register=last.register)
        numbers[last.register] += 1
        access.base, access.base_source = last.access.read or last.access.written, BaseSource.OBSERVED
        access.base_strand, access.base_seq = last.access.strand, last.access.seq
        access.written, looked[do.line] = str(numbers[last.register]), here
    return happened, record.history()


@given(st.lists(st.builds(Do, st.integers(0, 2), st.booleans(), st.sampled_from("xy")), min_size=3, max_size=7))
@settings(max_examples=400, **PACE)
def test_split_brain(program: list[Do]) -> None:
    """Two replicas count on from one state: a fork, unless its author had looked after the other wrote."""
    happened, history = _split(program)
    writes = [each for each in happened if each.do.writes]
    forked = set()
    for write in writes:
        twins = [w for w in writes if w.at < write.at and w.access.written == write.access.written]
        own = [e for e in happened if e.line == write.line and e.at < write.at]
        if twins and twins[0].line != write.line and own[-1].at < twins[0].at:
            forked.add(write.access.span_id)
    findings = evaluate(history).findings
    assert _spans(_at_least(findings, Certainty.CERTAIN, "fork"), "child") == forked


@given(st.lists(st.builds(Do, st.integers(0, 2), st.just(value=True), lag=st.integers(0, 4)), min_size=2, max_size=6))
@settings(max_examples=300, **PACE)
def test_late_writes(program: list[Do]) -> None:
    """A store that applies late: a line's write is out of order exactly if an earlier one was applied after it."""
    record = Record()
    accesses = [record.add(do.line, Op.WRITE, "mem://x") for do in program]
    applied = sorted(range(len(program)), key=lambda at: (at + program[at].lag, at))
    for access in accesses:
        access.version_kind = VersionKind.COUNTER
    for number, at in enumerate(applied, start=2):
        accesses[at].written = str(number)
    inverted = {
        accesses[at].span_id
        for at, do in enumerate(program)
        if any(program[e].line == do.line and applied.index(e) > applied.index(at) for e in range(at))
    }
    findings = evaluate(record.history()).findings
    assert _spans(_at_least(findings, Certainty.CERTAIN, "monotonic_writes"), "later_write") == inverted


# Transactions


def _dirty(world: Transactions) -> Iterator[tuple[str, Happened]]:
    """Reads that saw what had not been committed, and reads of what its own transaction replaced."""
    for read in world.happened:
        made = read.saw
        if read.do.writes or made is None or made.line == read.line:
            continue
        if any(e.do.writes and (e.line, e.register) == (made.line, made.register) and e.at > made.at
               for e in world.happened):  # fmt: skip
            yield "intermediate_read", read
        elif world.ended_at[made.line] > read.at:
            yield "dirty_read", read


def _unrepeatable(world: Transactions) -> Iterator[Happened]:
    """Second reads that saw another state, with nothing of the line's own between them."""
    for read in world.happened:
        own = [e for e in world.happened if (e.line, e.register) == (read.line, read.register) and e.at < read.at]
        if not read.do.writes and own and not own[-1].do.writes and own[-1].saw is not read.saw:
            yield read


def _cured(world: Transactions, read: Happened) -> bool:
    """Whether the line wrote from the newer of the two: it had looked again before it wrote."""
    later = [e for e in world.happened if (e.line, e.register) == (read.line, read.register) and e.at > read.at]
    return any(each.do.writes for each in later)


def _superseded(world: Transactions, write: Happened) -> bool:
    """Whether a write's line had read something else that another had changed and committed before the write."""
    for read in world.happened:
        if read.line == write.line and not read.do.writes and read.at < write.at and read.register != write.register:
            own = world.installed[read.register]
            later = own[own.index(read.saw) + 1 if read.saw is not None else 0 :]
            if any(e.line != write.line and world.ended_at[e.line] < write.at for e in later):
                return True
    return False


def _check_transactions(world: Transactions) -> None:
    findings = evaluate(world.history()).findings
    strong = _at_least(findings, Certainty.LIKELY)
    by_span = {each.access.span_id: each for each in world.happened}

    assert {f.kind for f in strong} <= NOT_SERIAL | {"dirty_read", "stale_write", "blind_overwrite"}
    certain_lost = [f for f in _at_least(findings, Certainty.CERTAIN) if f.kind == "lost_update"]
    assert _spans(certain_lost) <= _lost(world, world.installed)
    named = {
        a.span_id for f in _at_least(findings, Certainty.CERTAIN, "lost_update", "dirty_write") for a in f.accesses
    }
    assert _lost(world, world.installed) <= named

    dirty = list(_dirty(world))
    for kind in ("dirty_read", "intermediate_read"):
        assert _spans([f for f in strong if f.kind == kind], kind) == {r.access.span_id for k, r in dirty if k == kind}
    unrepeatable = {(read.line, read.register) for read in _unrepeatable(world)}
    for finding in strong:
        if finding.kind == "non_repeatable_read":
            read = by_span[finding.accesses[-1].span_id]
            assert (read.line, read.register) in unrepeatable
        if finding.kind == "stale_write":
            assert _superseded(world, by_span[finding.accesses[-1].span_id])
    told_once = {
        (by_span[a.span_id].line, by_span[a.span_id].register)
        for f in strong
        if "non_repeatable_read" in (f.kind, *f.also)
        for a in f.accesses
        if a.span_id in by_span
    }  # of one unit and register the first is told; another kind may have taken it in
    for read in _unrepeatable(world):
        told_ = any(read.access.span_id in {a.span_id for a in f.accesses} for f in strong)
        assert told_ or (read.line, read.register) in told_once or _cured(world, read)

    broken = [f for f in strong if NOT_SERIAL & {f.kind, *f.also}]
    assert not (broken and world.is_serial), [(f.kind, f.certainty, f.explanation) for f in broken]
    if not world.is_serial and not any(_cured(world, read) for read in _unrepeatable(world)):
        _assert_told(world, [*broken, *_at_least(strong, Certainty.LIKELY, "stale_write", "dirty_read")])


def _assert_told(world: Transactions, strong: Sequence[Finding]) -> None:
    """What no serial order explains is told, and where nobody saw what was not committed, for certain.

    A write skew whose one half is a write decided from what another had changed is that stale write, and a dependency
    that a dirty read explains is that. Only isolation that promised nothing leaves a read that could not be repeated
    likely.
    """
    assert strong
    if world.store != "dirty" and not list(_unrepeatable(world)):
        assert any(f.certainty is Certainty.CERTAIN for f in strong)


@given(programs, st.sampled_from(STORES))
@settings(max_examples=1000, **PACE)
def test_transactions(program: list[Do], store: str) -> None:
    """Of transactions whose effects no serial order explains something is found; of others nothing."""
    _check_transactions(Transactions(program, store))


@given(programs, st.sampled_from(STORES[1:]), st.frozensets(st.integers(0, 2), max_size=2))
@settings(max_examples=300, **PACE)
def test_transactions_that_abort(program: list[Do], store: str, aborts: frozenset[int]) -> None:
    """The same where some take all back; nobody saw it."""
    world = Transactions(program, store, aborts)
    findings = _at_least(evaluate(world.history()).findings, Certainty.LIKELY)
    broken = [f for f in findings if NOT_SERIAL & {f.kind, *f.also} and not _is_of(f, aborts)]
    assert not (broken and world.is_serial)
    if not world.is_serial and not any(_cured(world, read) for read in _unrepeatable(world)):
        _assert_told(world, [*broken, *_at_least(findings, Certainty.LIKELY, "stale_write")])


def _is_of(finding: Finding, lines: frozenset[int]) -> bool:
    """Whether a finding is about a read of a transaction that took all back: nobody used what it saw."""
    return finding.kind == "non_repeatable_read" and finding.accesses[-1].strand in {f"s{line}" for line in lines}


@pytest.mark.long
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_every_interleaving(store: str, length: int) -> None:
    """All programs of two transactions with so many accesses to two registers, in all their interleavings."""
    every = [Do(line, writes, register) for line in (0, 1) for writes in (False, True) for register in "xy"]
    for program in product(every, repeat=length):
        _check_transactions(Transactions(program, store))


@pytest.mark.long
@given(programs, st.sampled_from(STORES))
@settings(max_examples=AT_LENGTH, **PACE)
def test_transactions_at_length(program: list[Do], store: str) -> None:
    """Three transactions, for long."""
    _check_transactions(Transactions(program, store))


@pytest.mark.long
@given(lagging)
@settings(max_examples=AT_LENGTH, **PACE)
def test_replicas_at_length(program: list[Do]) -> None:
    """Replicas, for long."""
    _check_replicas(Replicas(program))
