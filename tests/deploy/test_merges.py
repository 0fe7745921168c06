"""Merges of the embedded engine yield to everything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noclobber_sidecar.merges import NICE, NICE_MAX

PROGRAM = """
import os, sys
from pathlib import Path
from noclobber_collector.store import open_store
from noclobber_sidecar.merges import let_merges_yield

assert let_merges_yield() == 0
store = open_store(f"chdb://{sys.argv[1]}/store")
found = let_merges_yield()
tasks = {int(task.parent.name): task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")}
own = os.getpriority(os.PRIO_PROCESS, 0)
behind = {name: os.getpriority(os.PRIO_PROCESS, tid) - own for tid, name in tasks.items()}
print(found, *(f"{name}:{by}" for name, by in behind.items() if by > 0))
store.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules threads one by one")
@pytest.mark.parametrize("nice", [0, 5, 15])
def test_threads_that_merge_and_no_others(tmp_path: Path, nice: int) -> None:
    """Where an engine runs, its merging threads stand behind all others, however far behind it was started itself."""
    done = subprocess.run(
        ["nice", "-n", str(nice), sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found, *behind = done.stdout.split()
    assert int(found) >= 1
    left = max(0, NICE_MAX - nice - os.getpriority(os.PRIO_PROCESS, 0))
    assert behind == [f"MergeMutate:{min(NICE, left)}"] * bool(left)
