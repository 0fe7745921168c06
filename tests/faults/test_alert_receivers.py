"""Fault test 17: receivers that fail in every way, and a sender that is killed; nothing is lost, nothing sent twice.

What an endpoint does to its own messages is shown with a clock that jumps to what is due, since the schedule takes
days. What it does to the others' is shown by the real sender in real time, in the long form.
"""

import json
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks.webhooks
from certificates import Authority
from made_findings import HandClock
from receivers import Answer, Receiver, arriving_s, receiving, wait_until
from results import write_result
from told import a_row

from noclobber_analyzer.alerts import Sender
from noclobber_analyzer.alerts.dead import dead_letters
from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.post import post
from noclobber_analyzer.alerts.route_log import enable_row, resend_row
from noclobber_analyzer.alerts.routes import Route
from noclobber_analyzer.alerts.schedule import ATTEMPTS_MAX
from noclobber_analyzer.alerts.sender import Lane
from noclobber_analyzer.clock import SECOND_NS, SYSTEM
from noclobber_analyzer.tables import Store, append_transitions, read_deliveries
from noclobber_collector.store import open_store

ROOT = Path(__file__).parent.parent
PROGRAM = Path(__file__).with_name("alert_sender.py")
SIZES = [pytest.param(100, id="100"), pytest.param(1_000, id="1000", marks=pytest.mark.long)]


@pytest.fixture
def make() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers, each with a rule."""
    with receiving() as started:
        yield started


@pytest.fixture
def at_the_messages_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier's clock is the message's, since the sender's jumps; its five minutes are shown in `test_sender`."""

    class Arriving(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Arriving":
            return cls.fromtimestamp(arriving_s[0], tz=tz)

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Arriving)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"chdb://{tmp_path}/store")
    yield made
    made.close()


def half(seed: int) -> Callable[[str], Answer]:
    """One in four answers 503 and asks for a second, one in four connections is cut; seeded."""
    dice = random.Random(seed)

    def rule(_: str) -> Answer:
        return dice.choice([Answer(503, {"retry-after": "1"}), Answer(cut=True), Answer(204), Answer(204)])

    return rule


@pytest.mark.timeout(2_400)
@pytest.mark.parametrize("alerts", SIZES)
def test_nothing_is_lost_on_a_receiver_that_fails_half_the_time_though_the_sender_is_killed(
    alerts: int, make: Callable[..., Receiver], tmp_path: Path, at_the_messages_time: None
) -> None:
    """Every id arrives, has one 2xx in the log, is verified; kill -9 at any moment repeats the same id and body."""
    receiver = make(half(17))
    table = {"name": "r", "url": f"http://127.0.0.1:{receiver.port}/", "secret": receiver.secret,
             "allow": "127.0.0.0/8"}  # fmt: skip
    dice, now_ns, written, kills = random.Random(4), HandClock().now_ns(), 0, 0
    url = f"chdb://{tmp_path}/store"
    while True:
        process = _sender(url, table, 0 if written else alerts, now_ns)
        written, lives = 1, dice.randint(alerts // 2, alerts * 2 // 3)
        last = ""
        for line in process.stdout or ():
            last, lives = line.strip(), lives - 1
            now_ns = now_ns if last == "done" else int(last)
            if lives == 0:
                time.sleep(dice.random() * 0.01)  # anywhere between two attempts, or in one
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
        process.communicate()
        if last == "done":
            break
        now_ns += 20 * SECOND_NS  # the next one is not there at once
    bodies = {(request["id"], request["body"]) for request in receiver.requests}
    assert len(bodies) == len({name for name, _ in bodies}) == alerts
    assert set(receiver.taken) == {name for name, _ in bodies}
    assert receiver.unverified == 0
    assert receiver.in_flight_max <= 2  # who is killed may leave one under way, and the next sender sends its own
    assert kills >= 2
    again = len(receiver.taken) - alerts
    assert again <= kills
    store = open_store(url)
    oks = Counter(row.id for row in read_deliveries(store) if row.ok)
    store.close()
    assert len(oks) == alerts
    assert set(oks.values()) == {1}
    print(f"\n{alerts} alerts, {len(receiver.requests)} attempts, {kills} kills, {again} taken twice by the receiver")
    if alerts > 100:
        write_result("alerts-kill", {"alerts": alerts, "attempts": len(receiver.requests), "kills": kills,
                                     "taken_twice": again, "lost": 0, "unverified": 0})  # fmt: skip


def _sender(url: str, table: dict[str, str], alerts: int, now_ns: int) -> "subprocess.Popen[str]":
    folders = [str(ROOT / "analyzer"), str(ROOT / "analyzer" / "alerts")]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), url, json.dumps(table), str(alerts), str(now_ns)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def broken(make: Callable[..., Receiver], folder: Path, held: threading.Event) -> dict[str, Receiver]:
    """A receiver for each way to fail."""
    pair = Authority(folder, "nobody's").issue("endpoint")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    flaps = iter(range(10**9))
    return {
        "500": make(lambda _: Answer(500)),
        "hang": make(lambda _: Answer(hold=held)),
        "reset": make(lambda _: Answer(cut=True)),
        "3xx": make(lambda _: Answer(307, {"location": "http://127.0.0.1:9/"})),
        "410": make(lambda _: Answer(410)),
        "drip": make(lambda _: Answer(drip=True)),
        "huge": make(lambda _: Answer(200, body=b"x" * 5_000_000)),
        "flapping": make(lambda _: Answer(500) if next(flaps) % 4 < 2 else Answer(204)),
        "bad tls": make(None, tls),
    }


ARRIVES = frozenset({"huge", "flapping"})
OUTLIVING = frozenset({"hang", "drip"})
"""Receivers that do not notice that the sender gave up: how many attempts are under way, only the log can say."""


PATIENCE_S = 15.0


class Lanes:
    """One lane for each receiver, over a clock that jumps to what is due first."""

    def __init__(self, store: Store, receivers: dict[str, Receiver]) -> None:
        self.store, self.clock = store, HandClock()
        self.routes: dict[str, Route] = {name: each.route(name=name) for name, each in receivers.items()}
        self.outbox = Outbox(store, list(self.routes.values()), self.clock)
        self.outbox.open()
        send = partial(_hasty, timeout_s=0.1)
        self.lanes = [Lane(store, self.outbox, route, self.clock, send=send) for route in self.routes.values()]

    def tell(self, count: int) -> None:
        self.clock.move(0.001)
        append_transitions(self.store, [a_row(f"t{number}", self.clock.now_ns()) for number in range(count)])

    def run(self) -> None:
        while True:
            self.outbox.refresh()
            dues = [due_ns for lane in self.lanes if (due_ns := lane.turn()) is not None]
            if not dues:
                return
            self.clock.move(max(0.001, (min(dues) - self.clock.now_ns()) / SECOND_NS))


def _hasty(route: Route, body: bytes, headers: dict[str, str], now_ns: int, timeout_s: float) -> Any:
    """Little patience with those that never answer; all there is with the others, however busy the machine."""
    return post(route, body, headers, now_ns, timeout_s if route.name in OUTLIVING else PATIENCE_S)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("alerts", [pytest.param(1, id="1"), pytest.param(12, id="12", marks=pytest.mark.long)])
def test_each_way_to_fail_ends_in_an_arrival_or_a_dead_letter_that_can_be_sent_again(
    alerts: int, make: Callable[..., Receiver], store: Store, tmp_path: Path, at_the_messages_time: None
) -> None:
    """500, hang, reset, 3xx, 410, drip, huge, flapping, bad TLS: ten attempts each, then listed; mended, all arrive."""
    held = threading.Event()
    receivers = broken(make, tmp_path, held)
    lanes = Lanes(store, receivers)
    lanes.tell(alerts)
    lanes.run()
    held.set()
    for name in ARRIVES:
        assert len(set(receivers[name].taken)) == len(receivers[name].taken) == alerts, name
    assert lanes.outbox.disabled() == ["410"]
    assert len(receivers["410"].requests) == 1
    dead = dead_letters(store)
    failing = {name for name in receivers if name not in ARRIVES | {"410"}}
    assert Counter(row.endpoint for row in dead) == dict.fromkeys(failing, alerts) | {"410": 1}
    assert {row.attempt for row in dead if row.endpoint in failing} == {ATTEMPTS_MAX}
    for receiver in receivers.values():
        receiver.rule = None
    lanes.clock.move(60)
    now_ns = lanes.clock.now_ns()
    append_transitions(store, [enable_row("410", "ann", now_ns)])
    append_transitions(store, [resend_row(row.endpoint, row.transition, "ann", now_ns) for row in dead])
    lanes.run()
    left = dead_letters(store)
    assert {row.endpoint for row in left} == {"bad tls"}  # its certificate is nobody's still
    for name, receiver in receivers.items():
        assert name in OUTLIVING or receiver.in_flight_max <= 1, name
        assert receiver.unverified == 0, name
        assert name == "bad tls" or len(set(receiver.taken)) == alerts, name
    oks = Counter(row.id for row in read_deliveries(store) if row.ok)
    assert set(oks.values()) == {1}
    assert len(oks) == alerts * (len(receivers) - 1)


ROUNDS = 2
TIMES, TIMES_ALONE, SLACK_S = 2.0, 3.0, 0.25
"""What a busy machine adds to a p99 from one run to the next."""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_other_endpoints_do_not_notice(make: Callable[..., Receiver], store: Store, tmp_path: Path) -> None:
    """A good endpoint's p99 beside nine broken ones, by the real sender, is what it is beside nine that work, or alone.

    In turns, and of each the better round: what else the machine does falls on all. Alone it shares the store with
    nobody, whose rows of the log are most of what a message costs.
    """
    held, good = threading.Event(), make(None)
    found: dict[str, list[list[float]]] = {"alone": [], "working": [], "broken": []}
    routes: list[Route] = []
    for turn in range(ROUNDS):
        folder = tmp_path / str(turn)
        folder.mkdir()
        beside = broken(make, folder, held)
        found["alone"].append(_waits(store, good, [good.route(name="good")], f"alone{turn}"))
        for kind, others in (("working", {name: make(None) for name in beside}), ("broken", beside)):
            named = [each.route(name=f"{kind} {turn} {name}") for name, each in others.items()]
            routes += named
            found[kind].append(_waits(store, good, [good.route(name="good"), *named], f"{kind}{turn}"))
    held.set()
    p99 = {kind: min(waits[int(len(waits) * 0.99)] for waits in rounds) for kind, rounds in found.items()}
    p50 = {kind: min(waits[len(waits) // 2] for waits in rounds) for kind, rounds in found.items()}
    told = ", ".join(f"{kind} p50 {p50[kind]:.3f} s, p99 {p99[kind]:.3f} s" for kind in found)
    print(f"\na good endpoint alone, beside nine that work, beside nine that are broken: {told}")
    write_result("alerts-others", {"alerts": 100, "rounds": ROUNDS, "p50_s": p50, "p99_s": p99})
    for route in routes:
        phases = [row.phase for row in read_deliveries(store) if row.endpoint == route.name]
        assert phases == ["begun", "done"] * (len(phases) // 2), route.name
    assert good.unverified == 0
    assert p99["broken"] <= max(TIMES * p99["working"], p99["working"] + SLACK_S)
    assert p99["broken"] <= max(TIMES_ALONE * p99["alone"], p99["alone"] + SLACK_S)


def _waits(store: Store, good: Receiver, routes: list[Route], name: str) -> list[float]:
    """From each of a hundred rows to its arrival at the good endpoint, in order of length."""
    sender = Sender(store, routes)
    sender.start()
    wrote: dict[str, float] = {}
    for number in range(100):
        row = a_row(f"{name}{number}", SYSTEM.now_ns())
        wrote[f"issue-{name}{number}"] = time.time()
        append_transitions(store, [row])
        sender.wake()
        time.sleep(0.1)  # ten a second, as they might come
    wait_until(lambda: sum(r["json"]["data"]["issue"] in wrote for r in good.requests) >= 100, 240)
    assert sender.stop(60)
    return sorted(
        request["at"] - wrote[request["json"]["data"]["issue"]]
        for request in good.requests
        if request["json"]["data"]["issue"] in wrote
    )
