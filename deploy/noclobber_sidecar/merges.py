"""Merges of the embedded engine take what processor time the others leave.

A merge of a million rows keeps a core busy for ten seconds. It can wait; whoever writes, asks or waits for a finding
can't. The threads that merge are therefore scheduled behind the rest of the process. ClickHouse has a setting
for that, which is obeyed only in a process with CAP_SYS_NICE, though any may put its own threads behind.

Source: setpriority(2) (on Linux it takes a thread's number, too); ClickHouse, `os_threads_nice_value_merge_mutate`.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

__all__ = ["NICE", "NICE_MAX", "let_merges_yield"]

NICE: Final = 10
"""So much behind the rest of the process: where others want all cores, a tenth of one is left to them (by weights of
Linux's scheduler, 110 beside 1,024)."""
NICE_MAX: Final = 19
MERGING: Final = "MergeMutate"
TASKS: Final = Path("/proc/self/task")


def let_merges_yield() -> int:
    """Put this process's merging threads behind; returns how many there are, 0 where no engine runs in it."""
    found = 0
    behind = min(NICE_MAX, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    for task in TASKS.glob("*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if task.read_text().strip() == MERGING:
                os.setpriority(os.PRIO_PROCESS, int(task.parent.name), behind)
                found += 1
    return found
