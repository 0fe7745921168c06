"""How much memory a process and all that it started take."""

from pathlib import Path

import psutil
from processes import Process


def memory_of(process: Process) -> tuple[float, float]:
    """Bytes of a process and of what it started: all, and those that no file backs."""
    own = psutil.Process(process.popen.pid)
    everybody = [own, *own.children(recursive=True)]
    anonymous = [
        line.split()[1]
        for each in everybody
        for line in Path(f"/proc/{each.pid}/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    ]
    return float(sum(each.memory_info().rss for each in everybody)), float(sum(map(int, anonymous)) * 1024)
