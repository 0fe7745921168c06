"""One clock for all processes of a machine.

Times are `CLOCK_MONOTONIC` plus an offset that is fixed once for the process, so they never step as wall time does,
yet read as wall time. `noclobber.clock` names the monotonic clock itself (boot and time namespace): under one such
name, time minus offset orders exactly, across processes too. Where the machine has no boot id there is no name, and
readers fall back to the host's name with a margin.

Known hole: machines resumed from one memory snapshot share a boot id.
"""

import hashlib
import time
from pathlib import Path

__all__ = ["OFFSET_NS", "clock_id", "now_ns"]

now_ns = time.monotonic_ns
"""Now on the machine's monotonic clock, nanoseconds."""


def _offset_ns(samples: int = 5) -> int:
    """Wall time minus monotonic time, from the sample that was taken fastest."""
    best = (1 << 62, 0)
    for _ in range(samples):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        best = min(best, (after - before, wall - (before + after) // 2))
    return best[1]


OFFSET_NS: int = _offset_ns()
"""Added to monotonic time for the span's time; constant for the process and its forks."""


def clock_id() -> str | None:
    """Name of this machine's monotonic clock, None where none can be given."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        link = Path("/proc/self/ns/time")
        namespace = str(link.readlink()) if link.exists() else "time"
    except OSError:
        return None
    return hashlib.blake2b(f"{boot} {namespace}".encode(), digest_size=8).hexdigest()
