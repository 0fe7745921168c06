"""Kills a process while a worker in it is at a chosen phase, and tells where it really died.

A program of its own, which does nothing but look at the worker's byte (`noclobber_collector.phases`): a thread among
the load's would look too seldom. The byte is read again once the process is gone: that is the phase in which it died.

    python sniper.py PHASE_FILE PID PHASE[,PHASE...] WITHIN_S LATER_US
"""

import contextlib
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    """Print the byte after the end of the process; 1 where the phase did not come in time."""
    file, pid, wanted, within_s, later_us = sys.argv[1:]
    phases = {int(phase) for phase in wanted.split(",")}
    with Path(file).open("rb") as opened:
        byte = mmap.mmap(opened.fileno(), 1, access=mmap.ACCESS_READ)
    later_ns = int(random.uniform(0, float(later_us)) * 1_000)
    deadline = time.monotonic() + float(within_s)
    while byte[0] not in phases:
        if time.monotonic() > deadline:
            return 1
    until = time.perf_counter_ns() + later_ns
    while time.perf_counter_ns() < until:
        pass
    os.kill(int(pid), signal.SIGKILL)
    while _runs(pid):
        time.sleep(0.0005)
    print(byte[0], flush=True)
    return 0


def _runs(pid: str) -> bool:
    """Whether a process runs; what its parent has not yet reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


if __name__ == "__main__":
    sys.exit(main())
