"""Whatever is interrupted, wherever: the next analyzer finds the same, and nothing stands twice."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from intake import Intake, generated, one_by_one, wait_until, written
from streams import FailingStore, a_stream, run_dry

from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_collector.errors import StoreError

INJECTED = (
    "--ops",
    "200",
    "--guarded",
    "0.3",
    "--inject",
    "lost_update=2",
    "--inject",
    "fork=2",
    "--inject",
    "double_claim=2",
)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("table", ["findings", "defended", "cursors"])
def test_an_end_at_any_write(intake: Intake, tmp_path: Path, table: str, after: bool) -> None:
    """An analyzer that ends before or after its n-th write to a table is taken up by the next one."""
    requests = one_by_one(generated(tmp_path, *INJECTED))
    expected = evaluate(read_otlp([written(tmp_path, requests)]))
    half, ended = len(requests) // 2, 0
    for portion in (requests[:half], requests[half:]):
        intake.take(portion)
        failing = FailingStore(intake.store, lambda name, _: name == table, after=after)
        try:
            run_dry(a_stream(failing, batch_rows_max=60))
        except StoreError:
            ended += 1
    assert ended  # what waits for frontiers may not have been written in the first half yet
    run_dry(a_stream(intake.store))
    run_dry(a_stream(intake.store))
    ids = [finding.id for finding in intake.findings()]
    assert ids == [finding.id for finding in expected.findings]
    assert ids
    rows = intake.store.rows("SELECT id, revision FROM findings")
    assert len(rows) == len(set(rows))
    assert sum(intake.defended().values()) == len(expected.defended)


def test_a_store_that_fails_for_a_while(intake: Intake, tmp_path: Path) -> None:
    """The same analyzer goes on after a failed write, and what it had read is not lost."""
    requests = generated(tmp_path, *INJECTED)
    intake.take(requests)
    stream = a_stream(FailingStore(intake.store, lambda _, number: number in (1, 2, 4)))
    for _ in range(3):
        with pytest.raises(StoreError):
            run_dry(stream)
    run_dry(stream)
    expected = evaluate(read_otlp([written(tmp_path, requests)]))
    assert [f.to_json() for f in intake.findings()] == [f.to_json() for f in expected.findings]


CHILD = """
    import json, sys, time
    sys.path[:0] = {places!r}
    from pathlib import Path
    from intake import Intake
    from streams import FailingStore, a_stream, run_dry
    from noclobber_collector.store import open_store

    data, how = Path({data!r}), sys.argv[1]
    store = open_store(f"chdb://{{data}}/store")
    intake = Intake(store, data / "spool")
    if how == "fill":
        intake.take(json.loads((data / "requests.json").read_text()))
        how = "findings"

    def hang(table, number):
        if table == how:
            print("wrote", flush=True)
            time.sleep(60)
        return False

    class Hanging(FailingStore):
        def insert(self, table, columns, rows):
            self._store.insert(table, columns, rows)
            hang(table, 0)

    run_dry(a_stream(Hanging(store, lambda *_: False)))
    print(json.dumps([[f.id for f in intake.findings()], list(intake.counts()),
                      len(store.rows("SELECT DISTINCT id, revision FROM findings"))]), flush=True)
"""


def test_kill_9(tmp_path: Path) -> None:
    """A process killed after its findings, or after what was defended, leaves nothing lost and nothing twice."""
    requests = generated(tmp_path, *INJECTED)
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    expected = evaluate(read_otlp([written(tmp_path, requests)]))
    here = Path(__file__).parent
    script = textwrap.dedent(CHILD).format(places=[str(here), str(here.parent)], data=str(tmp_path))
    for how in ("fill", "defended"):
        child = _child(script, how, tmp_path)
        assert child.stdout is not None
        assert child.stdout.readline() == "wrote\n"
        os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda of=child: of.poll() is not None)
        child.communicate()
    last = _child(script, "nothing", tmp_path)
    told, _ = last.communicate(timeout=60)
    ids, (findings, defended), distinct = json.loads(told)
    assert ids == [finding.id for finding in expected.findings]
    assert (findings, distinct, defended) == (len(ids), len(ids), len(expected.defended))


def _child(script: str, how: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, how], stdout=subprocess.PIPE, text=True, cwd=folder)
