"""Ring, drain and marks: nothing is lost in silence, and a mark is true whenever it is sent."""

import itertools
import multiprocessing
import os
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from reachability import touch
from spans_in_file import spans_of

import noclobber
from noclobber import clock, recorder, scope, testing
from noclobber.access import Access, Call
from noclobber.contract import FRONTIER_END, Op
from noclobber.guard import GUARD
from noclobber.otlp import Span
from noclobber.settings import Settings
from noclobber.testing import capture


class Sink(recorder.Sink):
    """Keeps exports; refuses or raises as told."""

    def __init__(self) -> None:
        self.exports: list[list[Span]] = []
        self.answer: Any = True

    def send(self, resource: Any, spans: Any, accesses: int) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            self.exports.append(list(spans))
        return bool(self.answer)


def read(call: Call) -> list[Access]:
    return [Access(Op.READ, "x", "test")]


def holes(accesses: list[dict[str, Any]]) -> int:
    """How many numbers are missing in the strands' sequences."""
    numbers = defaultdict(set)
    for access in accesses:
        numbers[access["noclobber.strand"]].add(access["noclobber.seq"])
    return sum(max(seqs) - len(seqs) for seqs in numbers.values())


def test_a_full_ring_drops_counts_and_leaves_a_hole() -> None:
    """What does not fit is counted in the next mark and missing in `seq`; then all goes on."""
    with capture(ring_max=5) as captured:
        for _ in range(8):
            touch("a")
        assert len(captured.accesses) == 5
        touch("b")
        assert (len(captured.accesses), holes(captured.accesses)) == (6, 3)
        assert (captured.marks[-1]["noclobber.dropped"], captured.marks[-1]["noclobber.accesses"]) == (3, 6)


def test_a_lost_read_makes_no_base() -> None:
    """The read that was dropped may have been the fresh one: the write after it claims nothing."""
    with capture(ring_max=1) as captured:
        with noclobber.access("x://a", "read") as a:
            a.read(version=1)
        with noclobber.access("x://a", "read") as a:
            a.read(version=2)
        assert captured.accesses
        with noclobber.access("x://a", "write") as a:
            a.written(version=3)
        assert "noclobber.version.base" not in captured.accesses[-1]


def test_a_call_that_can_not_be_described_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken description loses one access, none beside it."""

    def broken(call: Call) -> list[Access]:
        raise LookupError("a mistake of ours")

    with capture() as captured:
        monkeypatch.setattr(GUARD, "reraises", False)
        touch("a")
        active = captured.recorder
        active.end(active.begin("test"), broken)
        active.end(active.begin("test"), lambda call: [])
        touch("b")
        assert (len(captured.accesses), holes(captured.accesses)) == (2, 2)
        assert captured.marks[-1]["noclobber.dropped"] == 2


@pytest.mark.parametrize("answer", [False, OSError("disk full")])
def test_what_the_sink_refuses_is_dropped(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """An export that is refused, or a sink that raises, is counted; the next mark says so."""
    monkeypatch.setattr(GUARD, "reraises", False)
    sink = Sink()
    mine = recorder.Recorder(Settings(), sink)
    mine.end(mine.begin("test"), read)
    sink.answer = answer
    mine.flush()
    assert (mine.dropped, mine.accesses) == (1, 0)
    sink.answer = True
    mine.end(mine.begin("test"), read)
    mine.flush()
    assert sink.exports[-1][-1].attributes["noclobber.dropped"] == 1
    assert sink.exports[-1][-1].attributes["noclobber.accesses"] == 1


def test_large_rounds_leave_in_several_exports() -> None:
    """An export holds a bounded number of spans; only the last one carries the mark."""
    with capture() as captured:
        for _ in range(recorder.SPANS_MAX + 5):
            touch("a")
        sizes = [len(export) for export in captured.exports]
        (mark,) = captured.marks
    assert sizes == [recorder.SPANS_MAX, 6]
    assert mark["noclobber.accesses"] == recorder.SPANS_MAX + 5


def test_frontiers_are_true_under_load() -> None:
    """Whatever ended before a mark's frontier came before that mark or with it, and its count is what came."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.0002):
            for _ in range(3):
                touch("a")

    with capture(fixed=False, background=True, flush_interval_s=0.001, ring_max=1 << 20) as captured:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            captured.recorder.flush()
        stop.set()
        for thread in threads:
            thread.join()
        exports = list(captured.exports)
    received, late, marks = 0, 0, 0
    frontier = 0
    for export in exports:
        spans = [span for span in export if span.attributes["noclobber.op"] != "mark"]
        late += sum(span.end_ns < frontier for span in spans)
        received += len(spans)
        for mark in export:
            if mark.attributes["noclobber.op"] == "mark":
                marks += 1
                assert frontier <= mark.attributes["noclobber.frontier_ns"] <= mark.end_ns
                assert mark.attributes["noclobber.accesses"] == received
                frontier = mark.attributes["noclobber.frontier_ns"]
    assert late == 0
    assert (marks > 20, received > 1000) == (True, True)


def test_a_call_between_its_two_instructions_holds_the_frontier_back() -> None:
    """A record without an end stays in the ring, and the mark vouches only for what was before."""
    with capture() as captured:
        touch("a")
        before = captured.marks[-1]["noclobber.frontier_ns"]
        active = captured.recorder
        call = active.begin("test")
        call.build = read
        active._ring.append(call)
        touch("b")
        assert len(captured.accesses) == 1
        active._last_mark = -(1 << 62)
        assert captured.marks[-1]["noclobber.frontier_ns"] == before
        call.end_ns = recorder.now_ns()
        assert len(captured.accesses) == 3
        assert captured.marks[-1]["noclobber.frontier_ns"] > before


def test_an_idle_process_marks_each_second() -> None:
    """Without accesses a mark is due after a second, not before."""
    now = itertools.count(testing.START_NS, 400_000_000)
    with capture(now_ns=lambda: next(now)) as captured:
        for _ in range(12):
            captured.recorder.flush()
        frontiers = [mark["noclobber.frontier_ns"] for mark in captured.marks]
    assert 3 <= len(frontiers) <= 8
    assert min(b - a for a, b in itertools.pairwise(frontiers)) >= recorder.MARK_IDLE_NS


def test_the_last_mark_says_that_nothing_more_will_come() -> None:
    """A process that ends in order says so, once, in its last export."""
    with capture() as captured:
        touch("a")
    frontiers = [m["noclobber.frontier_ns"] for m in captured.marks]
    assert frontiers[-1] == FRONTIER_END
    assert captured.marks[-1]["noclobber.accesses"] == 1


def test_a_mark_has_nothing_but_what_the_contract_says() -> None:
    """No strand, no number; and its resource is the process."""
    with capture(agent="a") as captured:
        touch("a")
        (mark,) = captured.marks
        process = captured.resource
    assert sorted(mark) == [
        "noclobber.accesses", "noclobber.dropped", "noclobber.frontier_ns", "noclobber.op", "noclobber.outcome",
        "noclobber.resource", "noclobber.system",
    ]  # fmt: skip
    assert mark["noclobber.resource"] == "process://test"
    assert {name: type(value) for name, value in process.items()} == {
        "service.name": str, "service.instance.id": str, "host.name": str, "process.pid": int, "noclobber.process": str,
        "noclobber.contract": str, "noclobber.key_id": str, "noclobber.clock": str, "noclobber.clock.offset_ns": int,
    }  # fmt: skip


def test_times_are_wall_times_of_a_monotonic_clock() -> None:
    """A span's times lie where the wall clock says, and frontier and spans share one offset."""
    with capture(fixed=False) as captured:
        before = time.time_ns()
        touch("a")
        after = time.time_ns()
        (span,), (mark,) = captured.spans, captured.marks
    assert before - 50_000_000 <= span.start_ns <= span.end_ns <= after + 50_000_000
    assert span.end_ns < mark["noclobber.frontier_ns"]
    assert captured.resource["noclobber.clock.offset_ns"] == clock.OFFSET_NS


def test_units_are_steps_or_nothing() -> None:
    """With a step known the unit is that pass through it; without one it is left out, which means the strand."""
    with capture() as captured:
        with noclobber.run("r1"):
            touch("a")
            for _ in range(2):
                with noclobber.step("look"):
                    touch("b")
        free, one, two = captured.accesses
    assert "noclobber.unit" not in free
    assert "noclobber.step" not in free
    assert one["noclobber.unit.kind"] == "step"
    assert one["noclobber.unit"] != two["noclobber.unit"]
    assert one["noclobber.step"] != two["noclobber.step"]
    assert {a["noclobber.run"] for a in (free, one, two)} == {"r1"}


def test_agents_by_order_of_precedence() -> None:
    """An explicit name, then the context's, a parent span's, the setting's, a thread's own name, the service."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("test")
    with capture() as captured:
        touch("service")
        with tracer.start_as_current_span("x", attributes={"gen_ai.agent.name": "spans"}) as span:
            touch("span")
            with scope.entered(agent="outer"), noclobber.agent("mine"), scope.entered(agent="framework"):
                touch("explicit")
            with scope.entered(agent="framework"):
                touch("framework")
        thread = threading.Thread(target=touch, args=("thread",), name="night shift")
        thread.start()
        thread.join()
        names = {a["noclobber.resource"][4:]: a["noclobber.agent"] for a in captured.accesses}
        parents = {s.attributes["noclobber.resource"][4:]: (s.trace_id, s.parent_id) for s in captured.spans}
    assert (names["service"], names["span"], names["explicit"]) == ("test", "spans", "mine")
    assert (names["framework"], names["thread"]) == ("framework", "night shift")
    context = span.get_span_context()
    assert parents["explicit"] == (context.trace_id, context.span_id)
    assert parents["service"][1] == 0
    assert trace.get_current_span().get_span_context().is_valid is False


def _in_child(path: Path, how: str) -> None:
    touch("child")
    if how == "fork":
        recorder.stop()
        os._exit(0)


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_forked_child_is_a_process_of_its_own(tmp_path: Path, how: str) -> None:
    """Parent and child send their own accesses once, under their own process ids, each with a last mark."""
    path = tmp_path / "out.jsonl"
    settings = Settings(file=path, send=False, flush_interval_s=0.02)
    before = recorder.swap(None)
    try:
        mine = recorder.start(settings)
        touch("parent before")
        if how == "fork":
            pid = os.fork()
            if pid == 0:
                _in_child(path, how)
            assert os.waitpid(pid, 0)[1] == 0
        else:
            child = multiprocessing.get_context("fork").Process(target=_in_child, args=(path, how))
            child.start()
            child.join(20)
            assert child.exitcode == 0
        touch("parent after")
        assert mine.flush()
        recorder.stop()
    finally:
        recorder.swap(before)
    spans = spans_of(path)
    names = Counter(span["noclobber.resource"] for span in spans if span["noclobber.op"] != "mark")
    assert names == {"x://parent before": 1, "x://child": 1, "x://parent after": 1}
    processes = {span["noclobber.resource"]: span["noclobber.process"] for span in spans}
    assert processes["x://parent before"] == processes["x://parent after"] != processes["x://child"]
    last = [span for span in spans if span.get("noclobber.frontier_ns") == FRONTIER_END]
    ended = {span["noclobber.process"]: span["noclobber.accesses"] for span in last}
    assert ended == {processes["x://child"]: 1, processes["x://parent after"]: 2}
