"""Others' own test suites under the plugin: nothing certain or likely, and each test ends as it does without us.

The suites stand in the libraries' source distributions. Those of sessions, stores, flows and memories are taken, since
they share state, many of them from several threads or tasks.
"""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from crowd_stage import ACCESSES_MIN, QUIET

PLUGIN = "noclobber_analyzer.pytest_plugin"
VARIABLE = "NOCLOBBER_SUITES"
SUITES = {
    "langgraph_checkpoint_sqlite": ("tests/test_aiosqlite.py", "tests/test_async_store.py", "tests/test_sqlite.py"),
    "openai_agents": (
        "tests/extensions/memory/test_async_sqlite_session.py",
        "tests/extensions/memory/test_sqlalchemy_session.py",
        "tests/memory/test_session.py",
    ),
    "crewai": (
        "tests/memory/test_unified_memory.py",
        "tests/test_checkpoint.py",
        "tests/test_crew_thread_safety.py",
        "tests/test_flow.py",
        "tests/test_flow_conversation.py",
        "tests/test_flow_persistence.py",
        "tests/test_flow_resumability_regression.py",
    ),
}
TIMEOUT_S = 560
WATCHED = re.compile(r"noclobber: (\d+) tests watched, (\d+) accesses, (\d+) tests with new findings")


def outcome(folder: Path, files: tuple[str, ...], *words: str) -> tuple[set[str], str]:
    """The tests that fail, and all that pytest said."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rf", "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        [*command, *words, *files], cwd=folder, env={**os.environ, **QUIET}, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said[-3000:]
    return set(re.findall(r"^FAILED (\S+)", said, re.MULTILINE)), said


@pytest.mark.long
@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str) -> None:
    """At least a thousand accesses, no race at the thresholds, and the same tests fail as without the plugin."""
    found = sorted(Path(os.environ.get(VARIABLE) or os.devnull).glob(f"{suite}-*/tests"))
    if not found:
        pytest.skip(f"{VARIABLE} names no folder with the source of {suite}: `nox -s others`")
    without, _ = outcome(found[0].parent, SUITES[suite])
    known = any(each.value == PLUGIN for each in entry_points(group="pytest11"))
    named = () if known else ("-p", PLUGIN)  # where the installation is older than the plugin
    fails, said = outcome(found[0].parent, SUITES[suite], *named, "--noclobber")
    told = WATCHED.search(said)
    assert told is not None, said[-3000:]
    watched, accesses, races = map(int, told.groups())
    assert watched > 0
    assert accesses >= ACCESSES_MIN
    assert races == 0, said[-3000:]
    assert fails == without
