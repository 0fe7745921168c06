"""What the plugin for pytest costs a suite without chaos: with `--noclobber` and without it.

Two suites: one whose tests work on a database, start threads and wait for a model that answers in 30 ms, as tests of
agents do, and one that touches no shared state. What a run pays once (imports, hooks) is told apart from what each
test pays: both are measured by runs of one test and of many.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from bench_report import Ratio

pytestmark = pytest.mark.benchmark
ROUNDS: Final = 3
TESTS: Final = 40
AGENTS: Final = '''
import json, sqlite3, threading, time
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_agents(number, tmp_path):
    """Set up, two agents in threads that ask a model, and what they made is looked at."""
    path = tmp_path / "agents.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE plans (id INTEGER PRIMARY KEY, state TEXT)")
    connection.executemany("INSERT INTO plans VALUES (?, '[]')", [(1,), (2,)])
    connection.commit()
    def agent(mine):
        own = sqlite3.connect(path, timeout=30)
        for step in range(3):
            (state,) = own.execute("SELECT state FROM plans WHERE id = ?", (mine,)).fetchone()
            time.sleep(0.03)  # a model that answers
            state = json.dumps([*json.loads(state), step])
            own.execute("UPDATE plans SET state = ? WHERE id = ?", (state, mine))
            own.commit()
        own.close()
    threads = [threading.Thread(target=agent, args=(mine,)) for mine in (1, 2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    rows = connection.execute("SELECT id, state FROM plans ORDER BY id").fetchall()
    connection.close()
    assert [len(json.loads(state)) for _, state in rows] == [3, 3]
'''
PLAIN: Final = '''
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_plain(number):
    """Nothing that is shared."""
    words = sorted(str(hash((number, word))) for word in range(20000))
    assert len(words) == 20000
'''
MEASURED: Final = """
import resource, subprocess, sys, json
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime]))
"""


def cpu_s(folder: Path, *options: str) -> float:
    """CPU of one run of the suite, in seconds."""
    plugins = ("-p", "noclobber", "-p", "no:cacheprovider")
    words = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", f"--rootdir={folder}", *plugins, *options, folder]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)], env=environment, capture_output=True, text=True, check=True
    )
    code, seconds = json.loads(done.stdout)
    assert code == 0
    return float(seconds)


@pytest.mark.parametrize(("name", "text", "waits_ms"), [("agents", AGENTS, 90), ("plain", PLAIN, 0)])
def test_a_test_pays_less_than_a_tenth(name: str, text: str, waits_ms: int, tmp_path: Path, ratio: Ratio) -> None:
    """CPU that is added, held against CPU and the waits for models: what a test takes where nothing else runs."""
    folders = {}
    for tests in (1, TESTS):
        folders[tests] = tmp_path / f"suite{tests}"
        folders[tests].mkdir()
        (folders[tests] / "test_suite.py").write_text(text.format(tests=tests))
    took: dict[tuple[int, bool], list[float]] = {}
    for _ in range(ROUNDS):
        for tests, folder in folders.items():
            for on in (False, True):
                took.setdefault((tests, on), []).append(cpu_s(folder, *(("--noclobber",) if on else ())))
    median = {key: statistics.median(values) for key, values in took.items()}
    once_s = median[1, True] - median[1, False]
    bare_ms, ours_ms = (1000 * (median[TESTS, on] - median[1, on]) / (TESTS - 1) for on in (False, True))
    share = (ours_ms - bare_ms) / (bare_ms + waits_ms)
    print(
        f"\n{name}: once {once_s:.2f} s of CPU; a test {bare_ms:.1f} ms, with the plugin {ours_ms:.1f} ms, "
        f"and {waits_ms} ms of waiting: share {share:.3f}"
    )
    ratio("capture", f"the plugin, a test of {name}", ours_ms + waits_ms, "ms", "without", bare_ms + waits_ms)
    assert share < 0.1
