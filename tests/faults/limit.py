"""A limit on memory as a container has it: the kernel takes back what files back, and kills whoever needs more."""

import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Self

ROOTS = {"v1": Path("/sys/fs/cgroup/memory"), "v2": Path("/sys/fs/cgroup")}
LIMIT = {"v1": "memory.limit_in_bytes", "v2": "memory.max"}
SWAP = {"v1": "memory.memsw.limit_in_bytes", "v2": "memory.swap.max"}
KILLS = {"v1": "memory.oom_control", "v2": "memory.events"}
LEAVE_S = 10.0
PEAK = {"v1": "memory.max_usage_in_bytes", "v2": "memory.peak"}


class MemoryLimit:
    """A control group for processes that may use so many bytes together.

    Raises:
        OSError: this machine, or this user, may not make one.
    """

    def __init__(self, size: int) -> None:
        self._kind = "v1" if (ROOTS["v1"] / LIMIT["v1"]).exists() else "v2"
        self._folder = ROOTS[self._kind] / f"noclobber-{uuid.uuid4().hex[:8]}"
        self._folder.mkdir()
        try:
            (self._folder / LIMIT[self._kind]).write_text(str(size))
            with contextlib.suppress(OSError):  # where swap is not counted there is none to limit
                (self._folder / SWAP[self._kind]).write_text(str(size) if self._kind == "v1" else "0")
        except OSError:
            self._folder.rmdir()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + LEAVE_S
        while True:
            try:
                self._folder.rmdir()
            except OSError:  # somebody in it has not quite ended
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def enter(self) -> None:
        """Put the calling process into it, with all that it starts."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def killed(self) -> int:
        """How often the kernel killed somebody in it for want of memory."""
        lines = (self._folder / KILLS[self._kind]).read_text().splitlines()
        return sum(int(count) for name, count in map(str.split, lines) if name == "oom_kill")

    @property
    def peak(self) -> int:
        """Bytes that were in use at most, those of files among them."""
        return int((self._folder / PEAK[self._kind]).read_text())
