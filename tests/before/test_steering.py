"""Steering: the strand that comes first is held until the other has passed, for a bounded time."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from noclobber import lock, tracked
from noclobber.pacing.steering import Point, Script, Steering, script_of, script_text
from noclobber.testing import Captured, capture
from noclobber_analyzer.finding import AccessRef, Edge
from noclobber_analyzer.rerun.regression import assert_mended, regression_test
from noclobber_analyzer.rerun.steered import Unsteerable, points_of, sides_of

READ, WRITE = (Point(op, "mem://*/plan/x") for op in ("read", "write"))


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A process that is instrumented, on the real clock."""
    with capture(fixed=False) as found:
        yield found


def steered(captured: Captured, folder: Path, wait_s: float, *, locked: bool) -> tuple[int, float]:
    """What two agents, one started when the other has ended if nobody is held, leave behind; and how long it took."""
    shared, mutex = tracked({"x": 0}, name="plan"), lock(threading.Lock(), name="turn")

    def work() -> None:
        if locked:
            mutex.acquire()
        value = shared["x"]
        shared["x"] = value + 1
        if locked:
            mutex.release()

    steering = Steering(Script((READ,), (WRITE,), str(folder), wait_s))
    steering.begin(captured.recorder)
    began = time.monotonic()
    try:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join(0.02)
        for thread in threads:
            thread.join(30)
    finally:
        steering.end(captured.recorder)
    return shared._target["x"], time.monotonic() - began


def test_the_losing_order(captured: Captured, tmp_path: Path) -> None:
    """Whoever reads first writes last, and is let go as soon as the other has written."""
    left, took_s = steered(captured, tmp_path, 20, locked=False)
    assert left == 1
    assert took_s < 15
    assert (tmp_path / "over.1").read_text() == "passed"


def test_a_program_that_is_right(captured: Captured, tmp_path: Path) -> None:
    """Under a lock the held one waits its time out, twice at most, and nothing is lost."""
    left, _ = steered(captured, tmp_path, 0.05, locked=True)
    assert left == 2
    assert {path.name for path in tmp_path.iterdir()} == {"held.1", "over.1", "held.2", "over.2"}
    assert (tmp_path / "over.1").read_text() == "in vain"


def test_scripts(tmp_path: Path) -> None:
    """Are read as they were written; what is none is refused."""
    script, path = Script((READ,), (WRITE,), str(tmp_path), 1.5, same=False), tmp_path / "script.json"
    path.write_text(script_text(script))
    assert script_of(path) == script
    path.write_text('{"hold": [], "until": []}')
    with pytest.raises(ValueError, match="is no script"):
        script_of(path)


def _access(strand: str, op: str, at: int) -> AccessRef:
    return AccessRef(
        "t", f"s{at}", "mem://9f86d081884c7d65/plan/x", "planner", strand, op, "either", None, None, None, at, at,
        "agents.py:31 in work",
    )  # fmt: skip


def test_points_of_a_finding() -> None:
    """The first access of one strand, the last of the other, and the other way round."""
    from made_findings import a_finding

    accesses = (_access("a", "read", 1), _access("a", "write", 2), _access("b", "read", 3), _access("b", "write", 4))
    (hold, until), other = points_of(a_finding(accesses=accesses, manifest=False))
    assert hold == (Point("read", "mem://*/plan/x", "agents.work"),)
    assert until == (Point("write", "mem://*/plan/x", "agents.work"),)
    assert other == (hold, until)
    with pytest.raises(Unsteerable, match="has 1 strands"):
        points_of(a_finding(accesses=accesses[:2]))


def test_a_side_is_more_than_a_strand() -> None:
    """What one strand read and another wrote because of it is one side: a run whose checkpoints a pool puts."""
    from made_findings import a_finding

    accesses = tuple(
        _access(strand, op, at)
        for at, (strand, op) in enumerate([("a", "read"), ("b", "read"), ("pool-1", "write"), ("pool-2", "write")], 1)
    )
    edges = (Edge("s1", "s4", "base", "it continued this"), Edge("s2", "s3", "base", "it continued this"))
    finding = a_finding(accesses=accesses, edges=edges)
    assert [[access.strand for access in side] for side in sides_of(finding)] == [["a", "pool-2"], ["b", "pool-1"]]
    hold, until = points_of(finding)[0]
    assert [point.op for point in (*hold, *until)] == ["read", "write"]
    assert '"strand": "strand-2"' in regression_test(["python", "agents.py"], finding)
    assert "strand-3" not in regression_test(["python", "agents.py"], finding)


@pytest.mark.parametrize(("end", "passes"), [("COMMIT", True), ("ROLLBACK", False)])
def test_a_transaction_passes_when_it_commits(captured: Captured, tmp_path: Path, end: str, passes: bool) -> None:
    """What it has written lets nobody go before; taken back it never does."""
    setup = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    setup.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    setup.execute("INSERT INTO t VALUES (1, 5)")
    row = "sqlite://*"
    steering = Steering(Script((Point("read", row),), (Point("write", row),), str(tmp_path), 20, same=False))
    (tmp_path / "held.1").write_text("somebody\nelsewhere")
    patch = pytest.MonkeyPatch()
    patch.setattr(Point, "fits", lambda point, access, _resource, _site: str(access.op) == point.op)
    steering.begin(captured.recorder)
    try:
        setup.execute("BEGIN")
        setup.execute("UPDATE t SET n = 6 WHERE id = 1")
        assert not (tmp_path / "passed.1").exists()
        setup.execute(end)
        assert (tmp_path / "passed.1").exists() == passes
    finally:
        steering.end(captured.recorder)
        patch.undo()
        setup.close()


def test_a_regression_test_stands_for_itself(tmp_path: Path) -> None:
    """It is Python, names no id, time or line of the run, and says where a program fails or does nothing."""
    from made_findings import a_finding

    accesses = (
        _access("a", "read", 17),
        _access("a", "write", 18),
        _access("b", "read", 19),
        _access("b", "write", 20),
    )
    latent = a_finding(accesses=accesses, manifest=False, explanation='A "quoted" \\ sentence.')
    text = regression_test(["python", "agents.py"], latent)
    compile(text, "test_race.py", "exec")
    assert "agents.py:0 in work" in text
    assert "31" not in text
    with pytest.raises(AssertionError, match="ended with 3"):
        assert_mended(["python", "-c", "raise SystemExit(3)"], latent.to_json(), tries=1)
    with pytest.raises(AssertionError, match="no access was captured"):
        assert_mended(["python", "-c", "pass"], latent.to_json(), tries=1)
