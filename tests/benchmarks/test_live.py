"""Live analysis under load: what an access costs, how long a finding takes, how much memory is kept.

All kinds are on, ingest and merges included: `noclobber up` gets generated traffic over HTTP, races injected. CPU
seconds of the processes are told beside a fixed, readable per-row baseline of the same run, so that they compare
between machines. Only where a rate is asked for (25,000 accesses a second for ten minutes, 100,000 for thirty seconds)
has the machine to be quiet: that form is marked `exhaustive`, too. Run with `nox -s bench`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from bench_report import Ratio, plain_loop_ms
from processes import Up, ask, counted
from traffic import Template, Traffic

from noclobber_analyzer.otlp_protobuf import groups_of_protobuf
from noclobber_collector.store import ENGINE_PATH, Store, open_store

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1_800)]

KINDS = ("lost_update", "fork", "dirty_read", "double_claim", "lock_violation", "stale_read")
WORDS = ("--strands", "100", "--resources", "2500", "--seed", "7", "--guarded", "0.1", "--locked", "0.1")
OPERATIONS = 100_000
"""Of the history that is sent again and again at the highest rates, each time by other names: making it takes time."""
LATENCY_S = 60
TELL_EVERY_S = 30.0
LOOK_EVERY_S = 1.0
"""Looking costs the engine something, too."""
CATCH_UP_S = 300
SUSTAINED_BEHIND_S = 30
"""A rate is kept up if what is behind after ten minutes is no more than that."""
SELF_CERTIFYING, NEEDS_FRONTIERS = "lost_update", "double_claim"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Template]:
    home = os.environ.get("NOCLOBBER_HISTORIES")
    if not home:
        pytest.skip("NOCLOBBER_HISTORIES does not say where the generator of histories is")

    @cache
    def made(rate: float, operations: int, races: int = 5) -> Template:
        injected = [word for kind in KINDS for word in ("--inject", f"{kind}={races}")]
        words = ("--ops", str(operations), *WORDS, *injected)
        return Template(tmp_path_factory.mktemp("history"), Path(home) / "generate.py", words, rate)

    return made


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path / "up") as running:
        running.wait_until_ready()
        yield running


class Seconds(NamedTuple):
    """CPU of the processes: who takes spans in, who loads and answers, who judges."""

    receiver: float
    engine: float
    analyzer: float


class Costs:
    """CPU seconds of receiver, engine and analyzer since it was made, and the memory of the latter two."""

    def __init__(self, up: Up) -> None:
        self._receiver = psutil.Process(up.child("noclobber_collector.receiver"))
        self._engine = psutil.Process(up.child("noclobber_sidecar.engine"))
        self._begun = self._seconds()

    def _seconds(self) -> Seconds:
        return Seconds(_cpu_s(self._receiver), _cpu_s(self._engine), sum(map(_cpu_s, self._engine.children())))

    def us(self, accesses: int) -> Seconds:
        """Microseconds an access, of each."""
        spent = (now - then for now, then in zip(self._seconds(), self._begun, strict=True))
        return Seconds(*(seconds / accesses * 1e6 for seconds in spent))

    @property
    def megabytes(self) -> int:
        """Of engine and analyzer, now."""
        return sum(int(each.memory_info().rss) for each in (self._engine, *self._engine.children())) >> 20


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def baseline_us(template: Template) -> float:
    """CPU of a plain loop over the same bytes: parse, look at each attribute, count by resource and op."""
    counted: dict[tuple[object, object], int] = {}
    begun, spans = time.process_time(), 0
    for body in template.bodies[:20]:
        for group in groups_of_protobuf(body.data):
            for span in group.spans:
                facts = dict(span.facts)
                name = (facts.get("resource"), facts.get("op"))
                counted[name] = counted.get(name, 0) + 1
                spans += 1
    return (time.process_time() - begun) / spans * 1e6


class Look:
    """How far the pipeline has come, asked of it once a second at most, and told now and then."""

    def __init__(self, up: Up, traffic: Traffic, costs: Costs) -> None:
        self._up, self._traffic, self._costs = up, traffic, costs
        self._store: Store = open_store(f"{up.pages}/{ENGINE_PATH}", prepare=False)
        self._begun_s = self._told_s = time.monotonic()
        self._judged = 0
        self.memory: list[int] = []

    def found(self) -> int:
        """Races found."""
        return int(self._store.rows("SELECT uniqExact(id) FROM findings WHERE certainty != 'possible'")[0][0])

    def tell(self) -> None:
        """Note the memory, and say how far it is if nobody has for half a minute."""
        now_s = time.monotonic()
        self.memory.append(self._costs.megabytes)
        if now_s - self._told_s < TELL_EVERY_S:
            return
        self._told_s, since_s = now_s, self._told_s
        try:
            told = counted(ask(f"{self._up.pages}/metrics").body.decode())
        except OSError as error:
            print(f"{now_s - self._begun_s:4.0f} s: the engine does not answer: {error}", flush=True)
            return
        loaded, judged = (int(told[name]) for name in ("loader_loaded_spans_total", "analyzer_accesses_total"))
        rate, self._judged = (judged - self._judged) / (now_s - since_s), judged
        sent = self._traffic.acknowledged
        print(
            f"{now_s - self._begun_s:4.0f} s: {sent:,} acknowledged, {sent - loaded:,} to load, {loaded - judged:,} to "
            f"judge, {rate:,.0f} judged a second, {self.memory[-1]} MB; late {self._traffic.late_s:.1f} s",
            flush=True,
        )

    def wait_for(self, races: int, timeout_s: float) -> bool:
        """Wait until so many are found; whether they were in time."""
        deadline = time.monotonic() + timeout_s
        while self.found() < races:
            if time.monotonic() >= deadline:
                return False
            self.tell()
            time.sleep(LOOK_EVERY_S)
        return True

    def close(self) -> None:
        """Nobody looks any more."""
        self._store.close()


@pytest.fixture
def look(up: Up) -> Iterator[Callable[[Traffic, Costs], Look]]:
    made: list[Look] = []

    def begin(traffic: Traffic, costs: Costs) -> Look:
        made.append(Look(up, traffic, costs))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def test_what_an_access_costs(
    up: Up,
    template: Callable[..., Template],
    look: Callable[[Traffic, Costs], Look],
    ratio: Ratio,
) -> None:
    """CPU of receiver, engine and analyzer for each of half a million accesses, all races found."""
    made = template(25_000, 50_000)
    costs, traffic = Costs(up), Traffic(up.ports[1], made)
    looking = look(traffic, costs)
    traffic.send(20)
    assert looking.wait_for(len(made.races) * len(traffic.begun_ns), 600)
    us = costs.us(traffic.acknowledged)
    base = baseline_us(made)
    print(f"\n{traffic.acknowledged:,} accesses, all kinds on: {_each(us)}")
    print(f"{1e6 / sum(us):,.0f} accesses/s per core; {sum(us) / base:.1f} times a plain loop")
    print(f"engine and analyzer {costs.megabytes} MB; the sender was {traffic.late_s:.1f} s behind at most")
    ratio("detection", "live, receiver to finding", sum(us), "us of CPU an access", "a plain loop over the same", base)


def _each(us: Seconds) -> str:
    return f"receiver {us.receiver:.1f} us each, engine {us.engine:.1f}, analyzer {us.analyzer:.1f}"


class Load(NamedTuple):
    """How much comes, for how long, and how soon after the end all must be judged."""

    rate: int
    seconds: int
    catch_up_s: float


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "load", [Load(25_000, 600, SUSTAINED_BEHIND_S), Load(100_000, 30, CATCH_UP_S)], ids=["sustained", "burst"]
)
def test_keeps_up(
    up: Up, template: Callable[..., Template], look: Callable[[Traffic, Costs], Look], load: Load
) -> None:
    """The rate is taken, nothing is refused; what is behind is caught up in time; memory is bounded."""
    made = template(load.rate, OPERATIONS)
    costs, traffic = Costs(up), Traffic(up.ports[1], made)
    looking = look(traffic, costs)
    sender = threading.Thread(target=traffic.send, args=(load.seconds,))
    begun = time.monotonic()
    sender.start()
    while sender.is_alive():
        sender.join(LOOK_EVERY_S)
        looking.tell()
    sent = time.monotonic()
    at_end = looking.found()
    races = len(made.races) * len(traffic.begun_ns)
    in_time = looking.wait_for(races, load.catch_up_s)
    ended = time.monotonic()
    print(f"\n{traffic.acknowledged:,} accesses in {sent - begun:.0f} s; {ended - sent:.0f} s later")
    print(f"{looking.found()} of {races} races found, {at_end} when the last was sent")
    print(f"{traffic.acknowledged / (ended - begun):,.0f} accesses/s judged in all")
    memory = looking.memory
    print(
        f"{_each(costs.us(traffic.acknowledged))}; engine and analyzer {memory[::30]} MB; late {traffic.late_s:.1f} s"
    )
    assert in_time
    assert traffic.refused == 0
    assert traffic.late_s < 5
    assert max(memory[len(memory) // 2 :]) <= 1.3 * max(memory[: len(memory) // 2 + 1])


def test_how_long_a_finding_takes(
    up: Up,
    template: Callable[..., Template],
    look: Callable[[Traffic, Costs], Look],
    ratio: Ratio,
) -> None:
    """At 5,000 accesses a second: from the return of a race's last access to its finding in the store, both lanes."""
    made = template(5_000, 20_000, races=10)
    traffic = Traffic(up.ports[1], made)
    looking = look(traffic, Costs(up))
    traffic.send(LATENCY_S)
    expected = len(made.races) * len(traffic.begun_ns)
    all_found = looking.wait_for(expected, 90)
    print(f"\n{looking.found()} of {expected} races found")
    at: dict[tuple[str, str], list[tuple[int, frozenset[str]]]] = {}
    sql = (
        "SELECT kind, resource, min(found_ns), "
        "any(JSONExtract(body, 'accesses', 'Array(Tuple(span_id String))').span_id) "
        "FROM findings WHERE certainty != 'possible' GROUP BY id, kind, resource"
    )
    for kind, resource, found_ns, spans in up.rows(sql):
        at.setdefault((str(kind), str(resource)), []).append((int(found_ns), frozenset(spans)))
    for kind in (SELF_CERTIFYING, NEEDS_FRONTIERS):
        waits = sorted(
            (found_ns - begun_ns - race.last_ns) / 1e9
            for token, begun_ns in traffic.begun_ns.items()
            for race in made.races
            if race.kind == kind
            for found_ns, spans in at.get((kind, f"{race.resource}-{token}"), ())
            if race.spans <= spans
        )
        assert waits
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        print(
            f"\n{kind}: p50 {p50:.2f} s, p99 {p99:.2f} s of {len(waits)}; it was sent up to {traffic.late_s:.2f} s late"
        )
        for name, value in (("p50", p50), ("p99", p99)):
            what = f"{kind}, race to finding, {name}"
            ratio("live latency", what, value * 1e3, "ms", "a loop of plain Python", plain_loop_ms())
    assert all_found
