"""What spool and loader are at, for whoever watches from outside.

What a crash costs depends on what was under way. Where `NOCLOBBER_PHASES` names a folder, each of them keeps one byte
there, in a mapped file: it costs no call of the system, and is still right after kill -9. Tests aim by it, and record
by it in which phase a process died. Else the byte is in memory, where nobody looks.
"""

import mmap
import os
from enum import IntEnum
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "Phase", "Phases"]

FOLDER: Final = "NOCLOBBER_PHASES"


class Phase(IntEnum):
    """What may be under way, in the order in which a request passes."""

    STARTING = 0
    IDLE = 1
    APPEND = 2  # of the spool: requests are framed and written
    FSYNC = 3
    INSERT = 4  # of the loader, from here on
    VERIFY = 5
    NOTE = 6  # the analyzer is told of what was counted
    MARK = 7  # files are renamed as loaded
    UNLINK = 8  # files that were loaded long enough ago are removed


class Phases:
    """The byte of one worker.

    Args:
        name: of the worker; its file is `{name}.phase`.
    """

    def __init__(self, name: str) -> None:
        self._byte: mmap.mmap | bytearray = bytearray(1)
        folder = os.environ.get(FOLDER)
        if folder:
            file = os.open(Path(folder) / f"{name}.phase", os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(file, 1)
            self._byte = mmap.mmap(file, 1)
            os.close(file)
        self.enter(Phase.IDLE)

    def enter(self, phase: Phase) -> None:
        """From now on `phase` is under way."""
        self._byte[0] = phase
