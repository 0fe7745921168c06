"""The sieve in front of live judgements: what it passes over, the evaluator would have found nothing in."""

import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from intake import generated
from oracle.moments import Stage
from oracle.programs import worlds
from oracle.strategies import plans
from oracle.world import Plan, World

from noclobber.contract import BaseSource, Op, Outcome, UnitKind, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Effect, Lock, Message, Process, Scan
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.forms import access_of, roomy, told
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.otlp_json import groups_of_json
from noclobber_analyzer.sieve import Sieve
from noclobber_analyzer.views import view_of
from noclobber_analyzer.window import Window

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
MS = 1_000_000
CLOCKS: dict[str, tuple[tuple[str | None, str], ...]] = {
    "one": (("c", "h"), ("c", "h"), ("c", "h")),
    "host": ((None, "h1"), (None, "h1"), (None, "h1")),
    "apart": (("c1", "h1"), ("c2", "h2"), ("c1", "h1")),
}


VERBS = (
    *["read", "write"] * 6, "update", "update", "effect", "effect", "send", "send", "receive", "ack", "scan", "insert",
    *["lock", "unlock"] * 3,
)  # fmt: skip
CALM = (*["read", "write"] * 4, "update", "effect", "send", "receive", "ack", *["lock", "unlock"] * 4)
"""Without what is never passed over."""


class _Lock:
    """A lock as its store has it; now and then it is given to two, or taken over without a word."""

    def __init__(self) -> None:
        self.token = 0
        self.held: dict[str, int] = {}

    def take(self, strand: str, *, breaks: bool) -> int | None:
        if self.held and not breaks:
            return None
        self.token += 1
        self.held = {strand: self.token}
        return self.token


class _Queue:
    """A queue as its broker has it: each message is handed out once, most of the time."""

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.had: dict[str, str] = {}


class _Register:
    """One resource as its store has it: what was made, the newest last."""

    def __init__(self, name: str, kind: VersionKind) -> None:
        self.name, self.kind = name, kind
        self.made = [kind.absent]
        self.seen: dict[str, str] = {}

    def next(self) -> str:
        self.made.append(str(len(self.made)) if self.kind is VersionKind.COUNTER else f"v{len(self.made)}")
        return self.made[-1]


@st.composite
def steps(draw: st.DrawFn) -> list[Access]:
    """Three strands take steps over up to three resources, nearly in turn: a few calls overlap or see what is old."""
    kind = draw(st.sampled_from((VersionKind.COUNTER, VersionKind.FINGERPRINT, VersionKind.CHAIN)))
    stores = {name: _Register(f"x://{name}", kind) for name in "xyz"}
    lock, queue, verbs = _Lock(), _Queue(), draw(st.sampled_from((VERBS, CALM, CALM)))
    breaks = draw(st.booleans())
    processes = [
        Process(id=f"p{at}", clock=clock, host=host)
        for at, (clock, host) in enumerate(CLOCKS[draw(st.sampled_from(("one", "one", "host", "apart")))])
    ]
    tells, late = draw(st.booleans()), draw(st.integers(0, 3))
    units, seqs = [0, 0, 0], [0, 0, 0]
    accesses: list[Access] = []
    for at in range(draw(st.integers(3, 12))):
        who, name = draw(st.integers(0, 2)), draw(st.sampled_from("xxyz"))
        units[who] += draw(st.integers(0, 3)) == 0
        seqs[who] += 1
        start = (at + 1) * 10 * MS
        took = draw(st.sampled_from((1, 1, 1, 1, 15, 35))) if late else 1
        said: dict[str, Any] = {
            "trace_id": f"{at:032x}", "span_id": f"{at:016x}", "start_ns": start, "end_ns": start + took * MS,
            "process": processes[who], "system": "x", "agent": f"a{who}", "strand": f"s{who}", "seq": seqs[who],
            "unit": f"u{who}.{units[who]}", "unit_kind": UnitKind.STEP,
        }  # fmt: skip
        verb = draw(st.sampled_from(verbs))
        broken = breaks and draw(st.integers(0, 4)) == 0
        accesses.append(
            _meeting(draw, verb, said, lock, queue, broken=broken)
            or _step(draw, verb, stores[name], _locked(said, lock, broken=broken), tells=tells, old=late == 1)
        )
    return accesses


def _locked(said: dict[str, Any], lock: _Lock, *, broken: bool) -> dict[str, Any]:
    token = lock.held.get(said["strand"])
    return said if token is None or broken else {**said, "locks": (f"x://lock#{token}",)}


def _meeting(
    draw: st.DrawFn, verb: str, said: dict[str, Any], lock: _Lock, queue: _Queue, *, broken: bool
) -> Access | None:
    """What strands do where they meet; None: it is something else, or nothing can be done."""
    strand = said["strand"]
    match verb:
        case "lock":
            token = lock.take(strand, breaks=broken)
            ttl_ms = draw(st.sampled_from((None, None, 5, 1000)))
            outcome = Outcome.OK if token is not None else Outcome.REJECTED
            hold = Lock(owner=strand, token=None if token is None else str(token), ttl_ms=ttl_ms)
            return roomy(op=Op.LOCK, resource="x://lock", lock=hold, outcome=outcome, **said)
        case "unlock" if strand in lock.held or broken:
            given = lock.held.pop(strand, lock.token)
            return roomy(op=Op.UNLOCK, resource="x://lock", lock=Lock(owner=strand, token=str(given)), **said)
        case "send":
            queue.sent += not broken
            return roomy(op=Op.SEND, resource="q://q", message=_message(draw, queue.sent), **said)
        case "receive" if queue.received < queue.sent:
            queue.received += not broken
            queue.had[strand] = f"m{queue.received or 1}"
            return roomy(op=Op.RECEIVE, resource="q://q", message=_message(draw, queue.received or 1), **said)
        case "ack" if strand in queue.had:
            failed = Outcome.ERROR if broken else Outcome.OK
            return roomy(op=Op.ACK, resource="q://q", message=Message(id=queue.had[strand]), outcome=failed, **said)
        case "effect":
            known = draw(st.sampled_from((f"h{said['span_id']}", "h", "h" if broken else "k")))
            key = draw(st.sampled_from((None, "k", "k", "k")))
            said["run"] = draw(st.sampled_from(("r", None)))
            return roomy(op=Op.EFFECT, resource="effect://pay", effect=Effect(hash=known, key=key), **said)
    return None


def _message(draw: st.DrawFn, number: int) -> Message:
    placed = draw(st.booleans())
    more = {"seq": number, "session": "s"} if placed else {}
    return Message(id=f"m{number}", key=draw(st.sampled_from((None, None, None, "k"))), **more)


def _step(draw: st.DrawFn, verb: str, store: _Register, said: dict[str, Any], *, tells: bool, old: bool) -> Access:
    stands = store.made[-2] if old and len(store.made) > 1 and draw(st.integers(0, 3)) == 0 else store.made[-1]
    versions: dict[str, Any] = {"resource": store.name, "version_kind": store.kind}
    match verb:
        case "scan":
            found = Scan(predicate="p", resources=(store.name,), versions=(stands,))
            return roomy(op=Op.SCAN, **{**versions, "resource": "x://"}, scan=found, **said)
        case "read":
            store.seen[said["strand"]] = stands
            return roomy(op=Op.READ, read=stands, outcome=Outcome.OK, **versions, **said)
        case "update":
            task = _task(said) if draw(st.integers(0, 3)) == 0 else None
            return roomy(op=Op.UPDATE, written=store.next(), mode=WriteMode.INCREMENT, message=task, **versions, **said)
        case _:
            over = store.made[-1]
            mode = WriteMode.INSERT if verb == "insert" else WriteMode.OVERWRITE
            base = draw(st.sampled_from((store.seen.get(said["strand"], over), over, over)))
            told = {"overwritten": over} if tells else {}
            made = store.seen[said["strand"]] = store.next()
            return roomy(
                op=Op.WRITE, written=made, base=base, base_source=BaseSource.OBSERVED, mode=mode,
                **told, **versions, **said,
            )  # fmt: skip


def _task(said: dict[str, Any]) -> Message:
    return Message(id=f"m{said['unit'][-1]}", group="g")


def _history(accesses: Iterable[Access]) -> History:
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(msgspec.structs.replace(access), access.name)
    return builder.finish(ended=True)


def _sieved(accesses: Iterable[Access]) -> tuple[Sieve, Window]:
    window = Window(10_000)
    sieve = Sieve(window)
    for access in accesses:
        again = window.get(access.name) is not None
        if window.add(access):
            sieve.add(access, again=again)
    sieve.settle()
    return sieve, window


def assert_nothing_lost(accesses: list[Access]) -> int:
    """On what is passed over there is no finding and nothing to wait for, and what was defended is told."""
    sieve, window = _sieved(msgspec.structs.replace(access) for access in accesses)
    passed = frozenset(name for name in window.resources if not sieve.needs_judgement(name))
    judged = evaluate(_history(accesses), resources=passed, filtered=False)
    assert judged.findings == []
    assert judged.waiting == {}
    defended = {(access.span_id, reason) for name in passed for access, reason in sieve.defended(name)}
    assert defended == {(each.span_id, each.reason) for each in judged.defended if each.resource in passed}
    return len(passed)


@given(steps(), st.randoms(use_true_random=False))
@settings(max_examples=500, **PACE)
def test_nothing_is_lost(accesses: list[Access], rng: random.Random) -> None:
    """Steps over several resources, in whatever order they arrive."""
    if rng.random() < 0.5:
        rng.shuffle(accesses)
    event(f"{min(3, assert_nothing_lost(accesses))} passed over")


@given(steps(), st.randoms(use_true_random=False))
@settings(max_examples=200, **PACE)
def test_nothing_is_lost_of_large_units(accesses: list[Access], rng: random.Random) -> None:
    """Where three accesses are many already: what a large unit touched is remembered instead of looked for."""
    rng.shuffle(accesses)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("noclobber_analyzer.sieve.COMPANY_MAX", 2)
        assert_nothing_lost(accesses)


def _cost_of_one_unit(count: int) -> float:
    """CPU seconds for each access of a unit that has so many, on three resources whose versions are not told."""
    process = Process(id="p", clock="c", host="h")
    said = {"process": process, "system": "x", "agent": "a", "strand": "s", "unit": "s"}
    accesses = [
        roomy(op=Op.WRITE, resource=f"x://{at % 3}", trace_id=f"{at:032x}", span_id=f"{at:016x}", start_ns=at * MS,
              end_ns=at * MS + 1, seq=at, **said)
        for at in range(1, count + 1)
    ]  # fmt: skip
    window = Window(100)
    sieve = Sieve(window)
    begun = time.process_time()
    for access in accesses:
        window.add(access)
        sieve.add(access)
    view_of(window, {"x://0"}, whole_max=0)
    return (time.process_time() - begun) / count


def test_an_access_of_a_large_unit_costs_no_more() -> None:
    """A strand that names no units is one, however long it lives."""
    _cost_of_one_unit(500)
    assert _cost_of_one_unit(16_000) <= 4 * _cost_of_one_unit(2_000)


@pytest.mark.long
@given(steps(), st.randoms(use_true_random=False))
@settings(max_examples=200_000, **PACE)
def test_nothing_is_lost_at_length(accesses: list[Access], rng: random.Random) -> None:
    """The same, for long."""
    if rng.random() < 0.5:
        rng.shuffle(accesses)
    assert_nothing_lost(accesses)


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=300, **PACE)
def test_nothing_is_lost_in_any_world(plan: Plan, rng: random.Random) -> None:
    """Stories of all sorts, poorly recorded."""
    accesses = World(plan).history().accesses
    rng.shuffle(accesses)
    assert_nothing_lost(accesses)


@given(worlds, st.randoms(use_true_random=False))
@settings(max_examples=800, **PACE)
def test_nothing_is_lost_of_queues_locks_and_effects(world: Stage, rng: random.Random) -> None:
    """Small schedules of messages, locks, waits and calls."""
    accesses = list(world.history().accesses)
    if rng.random() < 0.5:
        rng.shuffle(accesses)
    assert_nothing_lost(accesses)


@given(steps(), st.randoms(use_true_random=False))
@settings(max_examples=300, **PACE)
def test_what_a_new_access_stirs_up_is_dirty(accesses: list[Access], rng: random.Random) -> None:
    """Judged in portions, only what is dirty and not passed over: whatever is found without the sieve is found."""
    if rng.random() < 0.5:
        rng.shuffle(accesses)
    cuts = {rng.randrange(len(accesses)) for _ in range(3)} | {len(accesses) - 1}
    assert _in_portions(accesses, cuts, sifts=False) <= _in_portions(accesses, cuts, sifts=True)


def _in_portions(accesses: list[Access], cuts: set[int], *, sifts: bool) -> set[str]:
    window = Window(10_000)
    sieve, found, dirty = Sieve(window), dict[str, set[str]](), set[str]()
    for at, access in enumerate(accesses):
        own = msgspec.structs.replace(access)
        dirty |= window.add(own)
        sieve.add(own)
        if at in cuts:
            stirred = sieve.settle()
            dirty |= stirred if sifts else set()
            judged = frozenset(name for name in dirty if not sifts or found.get(name) or sieve.needs_judgement(name))
            sieve.judged(judged)
            found |= {name: set() for name in dirty}
            for finding in evaluate(_history(accesses[: at + 1]), resources=judged).findings:
                found.setdefault(finding.resource, set()).add(finding.id)
            dirty.clear()
    return set().union(*found.values())


@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("hosts", ["1", "2"])
def test_most_of_a_history_is_passed_over(tmp_path: Path, mode: str, hosts: str) -> None:
    """In a generated history nothing is lost; where one clock compares all, most resources need no judgement."""
    words = ("--ops", "3000", "--hosts", hosts, "--mode", mode, "--strands", "10", "--resources", "300")
    injected = ("--inject", "lost_update=5", "--inject", "stale_read=5", "--inject", "write_skew=5")
    builder = HistoryBuilder()
    for request in generated(tmp_path, *words, *injected):
        for group in groups_of_json(msgspec.json.encode(request)):
            builder.add_group(group)
    accesses = builder.finish(ended=True).accesses
    passed = assert_nothing_lost(accesses)
    if mode == "single" and hosts == "1":
        assert passed > 100


@pytest.mark.parametrize(
    ("kind", "returned_ms", "passed"),
    [
        (VersionKind.COUNTER, 35, 1),  # the read overlaps the write, and its number tells that it came after it
        (VersionKind.COUNTER, 28, 0),  # it had returned before what it got was to be made
        (VersionKind.CHAIN, 35, 0),  # only numbers tell an order by themselves
    ],
)
def test_calls_that_overlap(kind: VersionKind, returned_ms: int, passed: int) -> None:
    """A read that waits inside the store for a write that was called after it, as its number tells, is in turn."""
    absent, process = kind.absent, Process(id="p", clock="c")
    facts = {"process": process, "system": "x", "agent": "a", "resource": "x://x", "version_kind": kind, "seq": 1}
    said: list[dict[str, Any]] = [
        {"op": Op.READ, "read": absent, "start_ns": 10 * MS, "end_ns": 15 * MS, "strand": "one", "unit": "one"},
        {"op": Op.READ, "read": "1", "start_ns": 20 * MS, "end_ns": returned_ms * MS, "strand": "two", "unit": "two"},
        {"op": Op.UPDATE, "written": "1", "start_ns": 30 * MS, "end_ns": 40 * MS, "strand": "three", "unit": "three"},
    ]
    accesses = [
        access_of(trace_id=f"{at:032x}", span_id=f"{at:016x}", **facts, **each) for at, each in enumerate(said, 1)
    ]
    assert _passed_over(accesses) == passed


def _passed_over(accesses: list[Access]) -> int:
    sieve, window = _sieved(accesses)
    passed = frozenset(name for name in window.resources if not sieve.needs_judgement(name))
    assert evaluate(_history(roomy(**told(access)) for access in accesses), resources=passed).findings == []
    return len(passed)
