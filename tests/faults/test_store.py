"""Fault tests 4 to 7: the store is down, slow, refuses, or the collector dies between an insert and its note.

The collector over a server, both real processes. Short forms run always; the figures are those of the long ones.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger import compare
from load import Load
from processes import metrics_of, wait_until
from results import write_result
from server import Between, Collector, Server, end_quietly

from noclobber_collector.segments import closed_segments

DRAINED_S = 120.0
MEMORY = 64 << 20
AFTER_LOAD_S = 10.0
ACK_S = 0.05


class Place:
    """A server, what stands before it, and a collector; each replaced when it is started anew."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.server = Server(folder / "server")
        self.between = Between(self.server.port)
        self.collector = Collector(folder / "collector", self.between.url, *options)

    def close(self) -> None:
        """End all; whatever was stored stays."""
        self.between.close()
        end_quietly(self.collector, self.server)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests that leave it as it was."""
    place = Place(tmp_path_factory.mktemp("place"))
    yield place
    place.close()


def assert_all_there(place: Place, load: Load, within_s: float = DRAINED_S) -> float:
    """Everything acknowledged is stored once; returns how long the spool took to empty."""
    took_s = place.collector.wait_until_loaded(within_s)
    ledger = compare(lambda sql: place.server.rows(sql.replace("LIKE 'client-%'", f"LIKE '{load.strand}%'")), load)
    assert ledger.is_clean, ledger
    assert ledger.acknowledged > 0
    return took_s


def down_for(place: Place, seconds: float) -> dict[str, float]:
    """The server is killed, and comes back later; returns what was found."""
    with Load(place.collector.ports[1], 4, spans=20, pause_s=0.06) as load:
        load.wait_for(200)
        wait_until(lambda: list(place.collector.spool.glob("*.done")), 60, "a first load")
        before = place.collector.rss()
        place.server.kill()
        down_at = time.monotonic()
        while time.monotonic() - down_at < seconds:
            load.wait_for(20)
        during = place.collector.rss()
        place.server = place.server.again()
        load.wait_for(200)
    assert not load.refused
    assert load.cut == 0
    took_s = assert_all_there(place, load)
    grown = max(during, place.collector.rss()) - before
    assert grown < MEMORY
    return {
        "seconds": seconds,
        "spans": len(load.acknowledged),
        "drained_s": round(took_s, 1),
        "grown_mib": grown >> 20,
    }


LONG, EXHAUSTIVE = pytest.mark.long, pytest.mark.exhaustive


@pytest.mark.parametrize(
    "seconds",
    [
        3,
        pytest.param(30, marks=[LONG, pytest.mark.timeout(300)]),
        # as long as the usual collector waits before it gives up
        pytest.param(300, marks=[LONG, EXHAUSTIVE, pytest.mark.timeout(900)]),
    ],
)
def test_a_store_that_is_down_costs_nothing(place: Place, seconds: int) -> None:
    """The spool keeps what arrives; memory stays; the backlog is loaded afterwards."""
    found = down_for(place, seconds)
    if seconds >= 300:
        write_result("store-outage", found)


def test_a_store_that_refuses_seven_inserts_of_ten(place: Place) -> None:
    """Sent is stored, exactly once, soon after the load."""
    place.between.refuse = 0.7
    try:
        with Load(place.collector.ports[1], 4, pause_s=0.05) as load:
            wait_until(lambda: place.between.refused >= 3, 60, "some refusals")
            load.wait_for(100)
    finally:
        place.between.refuse = 0.0
    assert not load.refused
    took_s = assert_all_there(place, load)
    assert took_s <= AFTER_LOAD_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # of its share of the machine


def die_between(place: Place, times: int) -> None:
    """Kill the collector when the server has stored a load and the collector does not know it yet."""
    with Load(place.collector.ports[1], 2, pause_s=0.05) as load:
        for _ in range(times):
            load.wait_for(30)
            place.between.stored.clear()
            place.between.release.clear()
            place.between.hold.set()
            assert place.between.stored.wait(60), "no load came"
            time.sleep(random.uniform(0, 0.02))
            os.kill(place.collector.popen.pid, signal.SIGKILL)
            place.collector.popen.wait()
            place.between.hold.clear()
            place.between.release.set()
            place.collector = place.collector.again()
    assert_all_there(place, load)


@pytest.mark.parametrize(
    "times",
    [
        2,
        pytest.param(20, marks=[LONG, pytest.mark.timeout(600)]),
        pytest.param(100, marks=[LONG, EXHAUSTIVE, pytest.mark.timeout(1_800)]),
    ],
)
def test_a_crash_between_insert_and_note_doubles_nothing(place: Place, times: int) -> None:
    """The next start counts before it loads."""
    die_between(place, times)
    if times >= 100:
        write_result("crash-between-insert-and-note", {"times": times, "lost": 0, "visible_twice": 0})


@pytest.mark.long
def test_a_crash_of_the_server_that_costs_it_what_it_had_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector lives on, and brings back what is not there any more before it gives up its own copy."""
    monkeypatch.setenv("NOCLOBBER_KEEP_LOADED_S", "25")
    place = Place(tmp_path)
    try:
        with Load(place.collector.ports[1], 2, pause_s=0.05) as load:
            load.wait_for(100)
        place.collector.wait_until_loaded(DRAINED_S)
        parts = place.server.rows("SELECT path, rows FROM system.parts WHERE active AND table = 'accesses'")
        path, rows = max(parts, key=lambda part: part[1])
        place.server.kill()
        shutil.rmtree(path)
        place.server = place.server.again()
        kept = sum(segment.spans for segment in closed_segments(place.collector.spool, loaded=True))
        assert kept >= sum(each for _, each in parts), "the test was too slow: files went before the crash"
        assert place.server.rows("SELECT sum(rows) FROM system.parts WHERE active AND table = 'accesses'") == [
            (sum(each for _, each in parts) - rows,)
        ]
        wait_until(
            lambda: metrics_of(place.collector.http).get("loader_reloaded_spans_total", 0) >= rows, 90, "a reload"
        )
        assert_all_there(place, load)
        wait_until(lambda: len(list(place.collector.spool.glob("*.done"))) == 1, 90, "the removal of files")
        assert_all_there(place, load)
        assert place.collector.popen.poll() is None
    finally:
        place.close()


def test_a_receiver_that_is_killed_is_started_again(place: Place) -> None:
    """Within seconds, by the collector itself."""
    with Load(place.collector.ports[1], 2, pause_s=0.05) as load:
        load.wait_for(50)
        place.collector.kill_receiver()
        load.wait_for(100)
    assert load.cut > 0
    assert_all_there(place, load)


@pytest.mark.long
def test_a_slow_store_is_felt_only_when_the_spool_is_full(tmp_path: Path) -> None:
    """Then clients are told to come again; before, acknowledgements take as long as ever."""
    place = Place(tmp_path, "--spool-bytes-max", "400000")
    try:
        with Load(place.collector.ports[1], 2, spans=20, pause_s=0.05) as fast:
            fast.wait_for(1_000)
        place.collector.wait_until_loaded(60)
        place.between.delay_s = 2.0
        before = place.collector.rss()
        with Load(place.collector.ports[1], 2, spans=20, pause_s=0.01) as load:
            wait_until(lambda: load.refused[503] > 0, 60, "the bound")
            after = len(load.acknowledged)
        assert load.refused.keys() == {503}
        assert after > 0
        usual_s, slow_s = (sorted(each.answers_s)[len(each.answers_s) * 99 // 100] for each in (fast, load))
        assert slow_s <= max(ACK_S, 3 * usual_s), (slow_s, usual_s)
        assert place.collector.rss() - before < MEMORY
        place.between.delay_s = 0.0
        assert_all_there(place, load)
    finally:
        place.close()
