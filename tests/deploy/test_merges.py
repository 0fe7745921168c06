"""Merges of the embedded engine yield to everything else."""

import subprocess
import sys
from pathlib import Path

import pytest

from noclobber_sidecar.merges import NICE

PROGRAM = """
import os, sys
from pathlib import Path
from noclobber_collector.store import open_store
from noclobber_sidecar.merges import let_merges_yield

assert let_merges_yield() == 0
store = open_store(f"chdb://{sys.argv[1]}/store")
found = let_merges_yield()
tasks = {int(task.parent.name): task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")}
behind = {name for tid, name in tasks.items() if os.getpriority(os.PRIO_PROCESS, tid) > 0}
nice = max(os.getpriority(os.PRIO_PROCESS, tid) for tid in tasks)
print(found, nice, *behind)
store.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules threads one by one")
def test_threads_that_merge_and_no_others(tmp_path: Path) -> None:
    """Where an engine runs, its merging threads stand behind; those that answer questions do not."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    found, nice, *behind = done.stdout.split()
    assert int(found) >= 1
    assert int(nice) == NICE
    assert behind == ["MergeMutate"]
