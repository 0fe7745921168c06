"""Celery over Redis: a task's message, its run as an agent's step, its result, and tasks that race."""

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker
from judging_agents import judged

from noclobber.otlp import json_line
from noclobber.testing import Captured, capture
from noclobber_analyzer.otlp_files import read_otlp

TIMEOUT_S = 30
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated")  # Celery calls what redis-py no longer likes


@pytest.fixture
def app(client: redis.Redis, valkey: str) -> Iterator[Celery]:
    """An app whose tasks write to the same server as its broker."""
    made = Celery("tests", broker=valkey, backend=valkey, broker_connection_retry_on_startup=True, set_as_current=False)
    made.conf.worker_hijack_root_logger = False
    yield made
    made.close()


@contextlib.contextmanager
def working(app: Celery) -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        yield
    root.setLevel(level)  # which the worker has set, for tests of other modules, too


def told(captured: Captured, *names: str) -> list[tuple[Any, ...]]:
    return [
        (each["noclobber.op"], each["noclobber.outcome"], *(each.get(f"noclobber.{name}") for name in names))
        for each in captured.accesses
        if each["noclobber.op"] not in ("join", "spawn")
    ]


def test_a_task(app: Celery, client: redis.Redis) -> None:
    """Sent, received, worked on, and waited for; the broker's and the backend's own traffic is not told."""

    @app.task(name="report")
    def report(text: str) -> str:
        client.set("report", text)
        return text

    with capture(agent="boss") as captured, working(app):
        result = report.delay("planted-text")
        assert result.get(timeout=TIMEOUT_S) == "planted-text"
        assert client.get("report") == b"planted-text"
        accesses = captured.accesses
        found = told(captured, "agent", "message.id", "message.delivery")
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert sorted(found, key=str) == sorted(
        [
            ("send", "ok", "boss", result.id, None),
            ("send", "ok", "report", f"{result.id}/result", None),
            ("receive", "ok", "report", result.id, 1),
            ("receive", "ok", "boss", f"{result.id}/result", None),
            ("write", "ok", "report", result.id, None),
            ("read", "ok", "boss", None, None),
        ],
        key=str,
    )
    ran = [each for each in accesses if each["noclobber.agent"] == "report"]
    assert {each["noclobber.run"] for each in ran} == {result.id}
    units = {each["noclobber.op"]: each.get("noclobber.unit") for each in ran}
    assert (units["receive"] == units["write"], units["send"]) == (True, None)  # a result is no work on the message
    assert {each["noclobber.resource"] for each in accesses if "celery" in each["noclobber.resource"]} == {
        "celery://celery", "celery://results",
    }  # fmt: skip
    assert "planted" not in sent


def test_retries_and_failures(app: Celery, client: redis.Redis) -> None:
    """A retry is a message of its own; a run that failed sent no result, and the error is the program's own."""

    @app.task(name="fragile", bind=True, max_retries=1)
    def fragile(self: Any) -> None:
        client.incr("tries")
        raise self.retry(countdown=0, exc=ValueError("again"))

    with capture() as captured, working(app):
        result = fragile.delay()
        with pytest.raises(ValueError, match="again"):
            result.get(timeout=TIMEOUT_S)
        found = [each for each in told(captured, "message.id") if each[0] != "read"]
    assert sorted(found) == sorted(
        (op, "ok", name)
        for op, name in [(op, name) for name in (result.id, f"{result.id}/1") for op in ("send", "receive", "update")]
    )


def test_eager_and_direct_calls(app: Celery, client: redis.Redis) -> None:
    """A task that is called like a function is one."""

    @app.task(name="plain")
    def plain() -> int:
        return int(client.incr("calls"))

    with capture() as captured:
        assert (plain(), plain.apply().get()) == (1, 2)
        assert told(captured, "message.id") == [("update", "ok", None)] * 2


@pytest.mark.long
def test_a_prefork_worker(valkey: str, tmp_path: Path) -> None:
    """A child of the pool, which leaves without Python's own end, hands over all that it recorded."""
    place, file = valkey.removesuffix("/0") + "/2", tmp_path / "spans.jsonl"
    (tmp_path / "prefork_jobs.py").write_text(
        "import celery, redis\n"
        f"app = celery.Celery('prefork_jobs', broker={place!r}, backend={place!r})\n"
        f"store = redis.Redis.from_url({place!r})\n"
        "@app.task\n"
        "def add(number):\n"
        "    return store.incrby('sum', number)\n"
    )
    words = ["run", "--file", str(file), "--file-only", "--", sys.executable, "-m", "celery", "-A", "prefork_jobs"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "noclobber.cli", *words, "worker", "-P", "prefork", "-c", "1", "-l", "CRITICAL"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with Celery("prefork_jobs", broker=place, backend=place, set_as_current=False) as sender:
            result = sender.send_task("prefork_jobs.add", [5])
            assert result.get(timeout=TIMEOUT_S) == 5
            sender.close()
    finally:
        worker.terminate()
        worker.wait(TIMEOUT_S)
    history = read_otlp([str(file)])
    told = [(str(each.op), each.message.id if each.message else None) for each in history.accesses]
    assert sorted(told) == [("receive", result.id), ("send", f"{result.id}/result"), ("update", result.id)]
    assert history.coverage.lost_spans == 0


@pytest.mark.parametrize(
    ("story", "kind"), [("balance", "lost_update"), pytest.param("again", "duplicate_delivery", marks=pytest.mark.long)]
)
def test_race_and_twin(story: str, kind: str, client: redis.Redis, valkey: str, tmp_path: Path) -> None:
    """Two tasks add to one balance; one task is delivered twice. Their safe twins are silent."""
    place = valkey.removesuffix("/0") + "/1"  # a worker that ended may still take a message from the other database
    plain = judged(tmp_path / "plain.jsonl", "jobs.py", story, "plain", "threads", place, scope="celery")
    assert [each[0] for each in plain.kinds] == [kind]
    assert plain.kinds[0][1] in ("certain", "likely")
    assert int(plain.printed) in {"balance": {10000150, 10000080}, "again": {10000200}}[story]
    safe = judged(tmp_path / "safe.jsonl", "jobs.py", story, "safe", "threads", place, scope="celery")
    assert (safe.kinds, int(safe.printed)) == ([], {"balance": 10000130, "again": 10000150}[story])
    assert sum(safe.summary["defended"].values()) >= 1
