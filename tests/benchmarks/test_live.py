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
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from processes import Up, wait_until
from traffic import Template, Traffic

from noclobber_analyzer.otlp_protobuf import groups_of_protobuf

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1_800)]

KINDS = ("lost_update", "fork", "dirty_read", "double_claim", "lock_violation", "stale_read")
WORDS = ("--strands", "100", "--resources", "2500", "--seed", "7", "--guarded", "0.1", "--locked", "0.1")
LATENCY_S = 60
SELF_CERTIFYING, NEEDS_FRONTIERS = "lost_update", "double_claim"


@pytest.fixture
def template(tmp_path: Path) -> Callable[..., Template]:
    home = os.environ.get("NOCLOBBER_HISTORIES")
    if not home:
        pytest.skip("NOCLOBBER_HISTORIES does not say where the generator of histories is")

    def made(rate: float, operations: int, races: int = 5) -> Template:
        injected = [word for kind in KINDS for word in ("--inject", f"{kind}={races}")]
        words = ("--ops", str(operations), *WORDS, *injected)
        return Template(tmp_path, Path(home) / "generate.py", words, rate)

    return made


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path / "up") as running:
        running.wait_until_ready()
        yield running


class Costs:
    """CPU seconds of receiver and engine since it was made, and the engine's memory."""

    def __init__(self, up: Up) -> None:
        self._receiver = psutil.Process(up.child("noclobber_collector.receiver"))
        self._engine = psutil.Process(up.child("noclobber_sidecar.engine"))
        self._begun = self._seconds()

    def _seconds(self) -> tuple[float, float]:
        receiver, engine = (process.cpu_times() for process in (self._receiver, self._engine))
        return receiver.user + receiver.system, engine.user + engine.system

    def us(self, accesses: int) -> tuple[float, float]:
        """Microseconds an access, of receiver and engine."""
        receiver, engine = (
            (now - then) / accesses * 1e6 for now, then in zip(self._seconds(), self._begun, strict=True)
        )
        return receiver, engine

    @property
    def megabytes(self) -> int:
        """Of the engine, now."""
        return int(self._engine.memory_info().rss) >> 20


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


def found(up: Up, kind: str = "") -> int:
    sql = "SELECT uniqExact(id) FROM findings WHERE certainty != 'possible' AND {kind:String} IN ('', kind)"
    return int(up.rows(sql, {"kind": kind})[0][0])


def loaded(up: Up) -> bool:
    spool = up.data / "spool"
    return not list(spool.glob("*.seg")) and not list(spool.glob("*.open"))


def test_what_an_access_costs(
    up: Up, template: Callable[..., Template], record_property: Callable[[str, object], None]
) -> None:
    """CPU of receiver and engine for each of half a million accesses, all races found."""
    made = template(25_000, 50_000)
    costs, traffic = Costs(up), Traffic(up.ports[1], made)
    traffic.send(20)
    wait_until(lambda: found(up) >= len(made.races) * len(traffic.begun_ns), 600, "the findings")
    receiver, engine = costs.us(traffic.acknowledged)
    base = baseline_us(made)
    print(f"\n{traffic.acknowledged:,} accesses: receiver {receiver:.1f} us each, engine {engine:.1f} us, all kinds on")
    print(f"{1e6 / (receiver + engine):,.0f} accesses/s per core; {(receiver + engine) / base:.1f} times a plain loop")
    print(f"engine {costs.megabytes} MB; the sender was {traffic.late_s:.1f} s behind at most")
    record_property("us_per_access", receiver + engine)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("rate", "seconds"), [(25_000, 600), (100_000, 30)], ids=["sustained", "burst"])
def test_keeps_up(up: Up, template: Callable[..., Template], rate: int, seconds: int) -> None:
    """The rate is taken, nothing is refused; what is behind is caught up within five minutes; memory is bounded."""
    made = template(rate, rate * 4)
    costs, traffic = Costs(up), Traffic(up.ports[1], made)
    sender = threading.Thread(target=traffic.send, args=(seconds,))
    begun = time.monotonic()
    sender.start()
    memory = []
    while sender.is_alive():
        sender.join(10)
        memory.append(costs.megabytes)
    sent_s = time.monotonic() - begun
    wait_until(lambda: loaded(up), 300, "the load")
    wait_until(lambda: found(up) >= len(made.races) * len(traffic.begun_ns), 300, "the findings")
    caught_up_s = time.monotonic() - begun - sent_s
    print(f"\n{traffic.acknowledged:,} accesses in {sent_s:.0f} s, caught up {caught_up_s:.0f} s later")
    print(f"receiver and engine {sum(costs.us(traffic.acknowledged)):.1f} us an access; engine {memory[::6]} MB")
    assert traffic.refused == 0
    assert traffic.late_s < 5
    assert max(memory[len(memory) // 2 :]) <= 1.3 * max(memory[: len(memory) // 2 + 1])


def test_how_long_a_finding_takes(
    up: Up, template: Callable[..., Template], record_property: Callable[[str, object], None]
) -> None:
    """At 5,000 accesses a second: from the return of a race's last access to its finding in the store, both lanes."""
    made = template(5_000, 20_000, races=10)
    traffic = Traffic(up.ports[1], made)
    traffic.send(LATENCY_S)
    expected = len(made.races) * len(traffic.begun_ns)
    with suppress(AssertionError):
        wait_until(lambda: found(up) >= expected, 90, "the findings")
    print(f"\n{found(up)} of {expected} races found")
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
        record_property(f"{kind}_p99_s", p99)
    assert found(up) >= expected
