"""Bounded time: what is far out of the ordinary in size costs in proportion, and where a limit ends it, it is said.

Each shape is something that a search over it must not square: a resource that everybody touches, a strand that never
ends, thousands of strands or clocks, content that comes again, a message that comes again and again, a ring of waits or
of transactions. Cost is CPU time of one evaluation; four times as much may take up to nine times as long (a square
takes sixteen times).
"""

import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from noclobber.contract import BaseSource, Op, Outcome, UnitKind, VersionKind, WriteMode
from noclobber_analyzer import affected
from noclobber_analyzer.access import Access, Lock, Mark, Message, Process
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import roomy
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.witness import NODES_MAX

SMALL, LARGE = 400, 1600
PRINT, CHAIN, COUNTER = VersionKind.FINGERPRINT, VersionKind.CHAIN, VersionKind.COUNTER
STEP_NS = 1_000_000
FAR = "what lies far from a write of mem://x: only the writes nearest in time were looked at"


class Run:
    """Makes accesses, one after the other."""

    def __init__(self) -> None:
        self.accesses: list[Access] = []
        self._seqs: dict[str, int] = {}

    def add(self, strand: str, op: Op, resource: str = "mem://x", *, clock: str = "clock", **known: object) -> Access:
        self._seqs[strand] = self._seqs.get(strand, 0) + 1
        number = len(self.accesses) + 1
        access: Access = roomy(
            trace_id=f"{abs(hash(strand)):032x}", span_id=f"{number:016x}", start_ns=number * STEP_NS,
            end_ns=number * STEP_NS + STEP_NS // 2, process=Process(f"p{clock}", clock, 0, "key", clock), op=op,
            resource=resource, system="memory", outcome=Outcome.OK, agent=strand, strand=strand,
            seq=self._seqs[strand], unit=strand,
        )  # fmt: skip
        for name, value in known.items():
            setattr(access, name, value)
        self.accesses.append(access)
        return access

    def read(self, strand: str, version: str, kind: VersionKind = PRINT, **known: object) -> Access:
        return self.add(strand, Op.READ, version_kind=kind, read=version, **known)

    def write(self, strand: str, version: str, kind: VersionKind = PRINT, **known: object) -> Access:
        return self.add(strand, Op.WRITE, version_kind=kind, written=version, **known)

    def change(self, strand: str, base: str, version: str, kind: VersionKind = PRINT, **known: object) -> None:
        """A read, and a write that was computed from it."""
        seq = self.read(strand, base, kind, **known).seq
        known |= {"base": base, "base_source": BaseSource.OBSERVED, "base_strand": strand, "base_seq": seq}
        self.write(strand, version, kind, **known)

    def history(self) -> History:
        builder = HistoryBuilder()
        for access in self.accesses:
            builder.add(access, access.name)
        return builder.finish(ended=True)


def old_bases(run: Run) -> Iterator[None]:
    """Twenty strands change one resource from what stood there ten changes ago: each loses somebody's work."""
    for n in count(1):
        run.change(f"s{n % 20}", f"v{max(0, n - 10)}", f"v{n}")
        yield


def the_oldest_base(run: Run) -> Iterator[None]:
    """Twenty strands number their changes, all computed from the first state."""
    for n in count(1):
        run.change(f"s{n % 20}", "1", str(n + 1), COUNTER)
        yield


def one_endless_strand(run: Run) -> Iterator[None]:
    """One strand, one step that never ends: reads, changes and blind writes; another one looks now and then."""
    for n in count(1):
        run.change("endless", f"v{n - 1}", f"v{n}", unit="step", unit_kind=UnitKind.STEP, step="step")
        if n % 9 == 0:
            run.read("other", f"v{max(0, n - 5)}")
        yield


def own_old_base(run: Run) -> Iterator[None]:
    """One strand goes on writing from what it read at the very beginning; another writes between."""
    seq = run.read("endless", "v0", CHAIN).seq
    for n in count(1):
        run.write("endless", f"v{n}", CHAIN, base="v0", base_source=BaseSource.EXPLICIT, base_strand="endless",
                  base_seq=seq)  # fmt: skip
        if n % 5 == 0:
            run.write("other", f"w{n}", CHAIN)
        yield


def many_clocks(run: Run) -> Iterator[None]:
    """Each strand on a machine of its own, no two clocks comparable."""
    for n in count(1):
        run.change(f"s{n // 3}", f"v{n - 1 - n % 3}", f"v{n}", clock=f"clock{n // 3}")
        yield


def few_contents(run: Run) -> Iterator[None]:
    """Five contents come again and again: none names a write."""
    for n in count(1):
        run.write(f"s{n % 20}", f"v{n % 5}")
        run.read(f"s{n * 7 % 20}", f"v{n * 3 % 5}")
        yield


def backward_sessions(run: Run) -> Iterator[None]:
    """One strand looks at thousands of states, some of them older than what it had seen."""
    for n in count(1):
        run.write("writer", f"v{n}", base=f"v{n - 1}", base_source=BaseSource.EXPLICIT)
        run.read("reader", f"v{max(1, n - 3 * (n % 3))}")
        yield


def refusals(run: Run) -> Iterator[None]:
    """A guard refuses one write after the other."""
    run.write("s0", "v0")
    for n in count(1):
        run.read(f"s{n % 4}", "v0")
        run.write(f"s{n % 4}", f"v{n}", outcome=Outcome.REJECTED)
        yield


def dirty_reads(run: Run) -> Iterator[None]:
    """Each second read sees what was not committed, or never was."""
    for n in count(1):
        inside = {"txn_id": f"t{n}", "unit": f"t{n}", "unit_kind": UnitKind.TXN}
        run.write("w", f"v{n % 7}-{n // 7}", PRINT if n % 2 else CHAIN, **inside)
        run.read("r", f"v{n % 7}-{n // 7}", PRINT if n % 2 else CHAIN)
        run.add("w", Op.COMMIT if n % 3 else Op.ABORT, "mem://", **inside)
        yield


def endless_transaction(run: Run) -> Iterator[None]:
    """One transaction writes, looks, sets savepoints and takes them back, and never ends."""
    for n in count(1):
        inside = {"txn_id": "t", "unit": "t", "unit_kind": UnitKind.TXN}
        run.add("s", Op.BEGIN, "mem://", savepoint=f"{n}", **inside)
        run.write("s", f"v{n}", CHAIN, savepoint=f"{n}", **inside)
        run.read("s", f"v{n}", CHAIN, savepoint=f"{n}", **inside)
        run.read("o", f"v{max(1, n - 2)}", CHAIN)
        run.add("s", Op.ABORT, "mem://", savepoint=f"{n}", **inside)
        yield


def children(run: Run) -> Iterator[None]:
    """One strand starts thousands and waits for each; half of them work from an old state."""
    for n in count(1):
        parent = run.add("main", Op.SPAWN, f"strand://c{n}", strand_other=f"c{n}")
        run.change(f"c{n}", f"v{n - 1 - n % 2}", f"v{n}", strand_parent="main", strand_parent_seq=parent.seq)
        run.add("main", Op.JOIN, f"strand://c{n}", strand_other=f"c{n}", strand_other_seq=2)
        yield


def one_lock(run: Run) -> Iterator[None]:
    """One lock with fencing tokens is handed on thousands of times."""
    for n in count(1):
        strand, held = f"s{n % 20}", {"locks": (f"redis://lock#{n}",)}
        run.add(strand, Op.LOCK, "redis://lock", lock=Lock(strand, str(n)))
        run.change(strand, f"v{n - 1}", f"v{n}", **held)
        run.add(strand, Op.UNLOCK, "redis://lock", lock=Lock(strand, str(n)))
        yield


def one_task(run: Run) -> Iterator[None]:
    """Thousands of workers take one task."""
    for n in count(1):
        run.read(f"s{n}", "free")
        run.write(f"s{n}", f"taken{n}", message=Message("task"))
        yield


def one_message(run: Run) -> Iterator[None]:
    """A queue hands one message out again and again."""
    for n in count(1):
        run.add("s", Op.RECEIVE, "redis://queue", system="redis", message=Message("m", delivery=n))
        run.add("s", Op.ACK, "redis://queue", system="redis", message=Message("m"))
        yield


def two_consumers(run: Run) -> Iterator[None]:
    """Two workers that never end are given each message, and give some back."""
    for n in count(1):
        for strand in ("s1", "s2"):
            message = Message(f"m{n}", seq=n, session=strand)
            run.add(strand, Op.RECEIVE, "redis://queue", system="redis", message=message)
            run.add(strand, Op.NACK if n % 4 == 0 else Op.ACK, "redis://queue", system="redis", message=message)
        yield


def long_and_short_pieces(run: Run) -> Iterator[None]:
    """One unit's appends run through those of thousands of short ones."""
    for n in count(1):
        for unit in ("long", f"u{n // 3}", f"u{n // 3}"):
            at = str(len(run.accesses) + 1)
            run.write(unit, at, COUNTER, mode=WriteMode.APPEND, unit=unit, unit_kind=UnitKind.STEP)
        yield


def holes(run: Run) -> Iterator[None]:
    """Every strand loses spans all the time, and everything that is said rests on that nobody else wrote."""
    for n in count(1):
        strand = f"s{n % 20}"
        run._seqs[strand] = run._seqs.get(strand, 0) + n % 2
        run.change(strand, f"v{max(0, n - 2)}", f"v{n}")
        yield


def unversioned(run: Run, kind: UnitKind | None = None) -> Iterator[None]:
    """One strand that never ends writes what nobody gave versions to, and loses a span now and then."""
    for n in count(1):
        run._seqs["endless"] = run._seqs.get("endless", 0) + (n % 50 == 0)
        run.add("endless", Op.WRITE, f"mem://x{n % 100}", unit_kind=kind)
        if n % 100 == 0:
            run.add("other", Op.WRITE, "mem://x0")
        yield


def unversioned_step(run: Run) -> Iterator[None]:
    """The same within one step that never ends: each lost span may have been the read before a write."""
    return unversioned(run, UnitKind.STEP)


CHEAP: list[Callable[[Run], Iterator[None]]] = [
    one_endless_strand, few_contents, backward_sessions, refusals, dirty_reads, endless_transaction, children, one_lock,
    one_message, two_consumers, long_and_short_pieces, unversioned, unversioned_step,
]  # fmt: skip
DEAR: list[Callable[[Run], Iterator[None]]] = [
    old_bases, the_oldest_base, own_old_base, many_clocks, one_task, holes,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small_aftermath(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came of each finding grows with the history up to a limit of its own: it is out of the way here."""
    monkeypatch.setattr(affected, "ALL_MAX", 500)


def made(shape: Callable[[Run], Iterator[None]], number: int) -> Run:
    run = Run()
    for _ in shape(run):
        if len(run.accesses) >= number:
            return run
    raise AssertionError


def seconds(shape: Callable[[Run], Iterator[None]], number: int, rounds: int) -> float:
    best = math.inf
    for _ in range(rounds):  # the least: the collector and a cold start are no part of it
        history = made(shape, number).history()
        gc.disable()
        start = time.process_time()
        evaluate(history)
        best = min(best, time.process_time() - start)
        gc.enable()
    return best


@pytest.mark.parametrize("shape", CHEAP, ids=lambda shape: shape.__name__)
def test_no_square_time(shape: Callable[[Run], Iterator[None]]) -> None:
    """Four times as much takes far less than sixteen times as long."""
    assert seconds(shape, LARGE, 2) < 9 * max(seconds(shape, SMALL, 3), 0.004)


@pytest.mark.parametrize("number", [30_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_long_strand(number: int) -> None:
    """A write of it costs as much as one of a short strand: nobody looks back through all of it."""
    short, long = seconds(unversioned_step, 3_000, 1), seconds(unversioned_step, number, 1)
    assert math.log(long / short, number / 3_000) < 1.5  # a busy machine's caches are part of it; a square is near two


@pytest.mark.long
@pytest.mark.parametrize("shape", [*CHEAP, *DEAR], ids=lambda shape: shape.__name__)
@pytest.mark.timeout(600)
def test_no_square_time_at_length(shape: Callable[[Run], Iterator[None]]) -> None:
    """The same from three to thirty thousand accesses, those that are dear at once too: the exponent is near one."""
    short, long = seconds(shape, 3_000, 2), seconds(shape, 30_000, 1)
    assert math.log10(long / short) < 1.2


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kind", [COUNTER, CHAIN, PRINT], ids=str)
def test_a_million_on_one_resource_by_ten_thousand_strands(kind: VersionKind) -> None:
    """The one update that was lost among them is the one finding, for as much an access as among a tenth of them."""
    before, fewer = _of_one_resource(kind, 100_000)
    after, many = _of_one_resource(kind, 1_000_000)
    for found in (fewer, many):
        (lost,) = [finding for finding in found.findings if finding.certainty != "possible"]
        assert (lost.kind, lost.accesses[-1].strand) == ("lost_update", "late")
        left = [text for text in found.unknown if "frontier" not in text]
        assert left == ([FAR] if kind is PRINT else [])  # contents have no number by which what lies between is known
    assert math.log10(after / before) < 1.2


def _of_one_resource(kind: VersionKind, number: int) -> tuple[float, Evaluation]:
    """CPU seconds of the evaluation, and it: strands read and write in turn; one writes what is old."""
    run = Run()
    pairs = number // 2
    for n in range(pairs):
        if n == pairs // 2:
            seq = run.read("late", str(n), kind).seq
        run.change(f"s{n % 10_000}", str(n), str(n + 1), kind)
    old = {"base": str(pairs // 2), "base_source": BaseSource.OBSERVED, "base_strand": "late", "base_seq": seq}
    run.write("late", str(pairs + 1), kind, **old)
    history = run.history()
    gc.collect()
    gc.disable()
    start = time.process_time()
    found = evaluate(history)
    spent = time.process_time() - start
    gc.enable()
    return spent, found


def _ring(number: int) -> Run:
    """Transactions that all read before any writes, each what the next one overwrites: one cycle through all."""
    run = Run()
    for n in range(number):
        inside = {"txn_id": f"t{n:05}", "unit": f"t{n:05}", "unit_kind": UnitKind.TXN, "version_kind": COUNTER}
        run.add(f"s{n}", Op.READ, f"mem://x{n}", read="1", **inside)
    for n in range(number):
        inside = {"txn_id": f"t{n:05}", "unit": f"t{n:05}", "unit_kind": UnitKind.TXN}
        run.add(f"s{n}", Op.WRITE, f"mem://x{(n + 1) % number}", version_kind=COUNTER, written="2", **inside)
    for n in range(number):
        inside = {"txn_id": f"t{n:05}", "unit": f"t{n:05}", "unit_kind": UnitKind.TXN}
        run.add(f"s{n}", Op.COMMIT, "mem://", **inside)
    return run


def test_a_cycle_through_a_thousand_units() -> None:
    """It is found whole, is certain, and says that not all of its edges are drawn; nothing else is left open."""
    found = evaluate(_ring(1000).history())
    (finding,) = [f for f in found.findings if f.kind == "serialization_cycle"]
    assert finding.certainty == "certain"
    assert len({access.strand for access in finding.accesses}) == 1000
    assert 0 < len(finding.edges) <= 2 * NODES_MAX
    assert [text for text in found.unknown if "frontier" not in text] == [
        f"the edges of 1 findings: each has more than {NODES_MAX} accesses"
    ]


def test_a_ring_of_a_thousand_waits() -> None:
    """A cycle of waits that is longer than those that are followed is not called none: it is unknown."""
    assert _told_of_waits(10)[0] == ["deadlock"]
    kinds, unknown = _told_of_waits(1000)
    assert kinds == []
    assert [text for text in unknown if text.startswith("whether calls waited for each other")]


def _told_of_waits(number: int) -> tuple[list[str], list[str]]:
    run = Run()
    for n in range(number):
        run.add(f"s{n}", Op.LOCK, f"redis://l{n}", lock=Lock(f"s{n}"))
    for n in range(number):
        wait = run.add(f"s{n}", Op.LOCK, f"redis://l{(n + 1) % number}", lock=Lock(f"s{n}"), outcome=Outcome.ERROR)
        wait.waits_for, wait.end_ns = (f"s{(n + 1) % number}",), 10**12
    found = evaluate(run.history())
    return [str(f.kind) for f in found.findings], found.unknown


def _judged(run: Run, frontier_ns: int, quiet: str) -> Evaluation:
    """With a process that said nothing after a time."""
    builder = HistoryBuilder()
    for access in run.accesses:
        builder.add(access, access.name)
    for number, process in enumerate({a.process.id: a.process for a in run.accesses}.values()):
        until = frontier_ns if process.id == quiet else (1 << 63) - 1
        builder.add(Mark(process, until, None, 0, 10**15), (f"{number:032x}", "f" * 16))
    return evaluate(builder.finish(ended=True))


def test_a_process_that_falls_silent() -> None:
    """What rests on that it did nothing more names it as missing, and is a grade lower."""
    run = Run()
    run.write("a", "v1", clock="one")
    run.read("b", "v1", clock="one")
    run.write("a", "v2", clock="one", base="v1", base_source=BaseSource.EXPLICIT)
    run.read("b", "v2", clock="one")
    run.read("b", "v1", clock="one")
    run.accesses[1].process = Process("p-silent", "one", 0, "key", "one", "mailer", 7)
    heard = _judged(run, (1 << 63) - 1, "p-silent").findings[0]
    silent = _judged(run, 3 * STEP_NS, "p-silent").findings[0]
    assert (heard.kind, heard.certainty, silent.certainty) == ("monotonic_reads", "likely", "possible")
    assert "the rest of mailer (pid 7): its record ends before this write" in silent.missing


def test_far_writes_are_said_to_be_left_out() -> None:
    """Where a search by time did not reach the base, the evaluation says so, once, with the names."""
    run = Run()
    seq = run.read("old", "v0").seq
    for n in range(1, 90):
        run.change("other", f"v{n - 1}", f"v{n}")
    run.write("old", "late", base="v0", base_source=BaseSource.OBSERVED, base_strand="old", base_seq=seq)
    found = evaluate(run.history())
    assert [f.certainty for f in found.findings if f.kind == "lost_update"] == ["likely"]
    assert [text for text in found.unknown if "nearest in time" in text] == [FAR]


def test_a_long_register_of_few_contents_is_unknown() -> None:
    """Whether all its reads fit an order is not searched, and that is no "yes"."""
    run = Run()
    for n in range(2100):
        run.write(f"s{n % 20}", f"v{n % 5}")
    run.read("s0", "v4")
    unknown = evaluate(run.history()).unknown
    assert "whether all reads of mem://x fit one order in time: the search is too long" in unknown


FOLDER = os.environ.get("NOCLOBBER_HISTORIES")


@pytest.mark.skipif(not FOLDER, reason="NOCLOBBER_HISTORIES names no folder with the generator")
def test_hot_is_flat_in_the_number_of_strands(tmp_path: Path) -> None:
    """One register, all strands overlapping: the one stale read is named at 5 as at 200 strands, at the same cost."""
    cost: dict[int, float] = {}
    for strands in (5, 12, 50, 200):
        base = tmp_path / f"h{strands}"
        subprocess.run(
            [sys.executable, str(Path(str(FOLDER)) / "generate.py"), "--out", str(base), "--hot", "--seed", "7",
             "--ops", "1200", "--strands", str(strands)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        history = read_otlp([f"{base}.otlp.jsonl"])
        start = time.process_time()
        found = evaluate(history)
        cost[strands] = (time.process_time() - start) / len(history.accesses)
        (label,) = [json.loads(line) for line in Path(f"{base}.labels.jsonl").read_text().splitlines()]
        strong = [f for f in found.findings if f.certainty != "possible"]
        assert [str(f.kind) for f in strong] == ["stale_read"]
        assert set(label["spans"]) & {access.span_id for access in strong[0].accesses}
        assert [text for text in found.unknown if not text.startswith(("no frontier", "how far clocks"))] == []
    assert max(cost.values()) < 4 * max(cost[5], 10e-6)
