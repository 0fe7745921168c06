"""What is still to be passed on: hard links to the spool's segments.

A segment gets a second name in the folder `forward` before it is closed, which is before a loader can see it and be
done with it: it stays, and takes room of its own only once the loader has removed the first. The newest segment that
got one is remembered, so none gets a second one later. More than a limit is not kept: the oldest goes first, and is
counted. What was closed while nothing was passed on, or could not be linked, gets its name when the folder is gathered.
"""

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from noclobber_collector.segments import LOADED, Segment, closed_segments, size_of, sync_folder

__all__ = ["Backlog"]

FOLDER: Final = "forward"
CURSOR: Final = "cursor"


class Backlog:
    """The segments that wait, oldest first.

    Args:
        spool: the spool's folder.
        bytes_max: limit of what waits.

    Attributes:
        bytes: of what waits, as of the last `gather`.
    """

    def __init__(self, spool: Path, bytes_max: int) -> None:
        self._spool, self._bytes_max = spool, bytes_max
        self._folder = spool / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._newest = self._read_cursor()
        self._kept: set[int] = set()
        self._lock = threading.Lock()
        self.bytes = 0

    def keep(self, path: Path, number: int, spans: int) -> None:
        """A segment is about to be closed; called by the spool. What fails is left to `gather`."""
        if number in self._kept:
            return
        with suppress(OSError):
            if self._link([path], number, spans):
                sync_folder(self._folder)
                with self._lock:
                    self._kept.add(number)

    def gather(self) -> int:
        """Link what was closed since; returns how many spans had to be dropped for want of room."""
        before = self._newest
        for segment in closed_segments(self._spool, loaded=True):
            if segment.number > self._newest:
                names = [segment.path, segment.path.with_suffix(LOADED)]
                if segment.number not in self._kept and not self._link(names, segment.number, segment.spans):
                    break  # it is being renamed: the next turn sees it
                self._newest = segment.number
        if self._newest != before:
            sync_folder(self._folder)
            self._write_cursor()
            with self._lock:
                self._kept = {number for number in self._kept if number > self._newest}
        return self._shrink()

    def waiting(self) -> Iterator[Segment]:
        """What waits, oldest first."""
        yield from closed_segments(self._folder)

    def done(self, segment: Segment) -> None:
        """A segment was passed on."""
        segment.path.unlink(missing_ok=True)

    def _link(self, names: Sequence[Path], number: int, spans: int) -> bool:
        """Give a segment its second name, by the first of `names` that is there; whether there was one."""
        target = self._folder / f"{number:020d}.{spans}.seg"
        for path in names:
            try:
                os.link(path, target)
            except FileExistsError:
                return True
            except FileNotFoundError:
                continue
            except OSError:  # a file system without links
                made = target.with_suffix(".made")
                try:
                    shutil.copyfile(path, made)
                except FileNotFoundError:
                    continue
                made.replace(target)
            return True
        return False

    def _shrink(self) -> int:
        sizes = [(segment, size_of(segment.path)) for segment in closed_segments(self._folder)]
        self.bytes = sum(size for _, size in sizes)
        dropped = 0
        for segment, size in sizes:
            if self.bytes <= self._bytes_max:
                break
            self.done(segment)
            self.bytes -= size
            dropped += segment.spans
        return dropped

    def _read_cursor(self) -> int:
        """The newest segment that was linked; at the very first start all that was loaded before is left alone."""
        try:
            return int((self._folder / CURSOR).read_text())
        except (FileNotFoundError, ValueError):
            return max((each.number for each in closed_segments(self._spool, loaded=True) if each.loaded), default=0)

    def _write_cursor(self) -> None:
        made = self._folder / f"{CURSOR}.made"
        with made.open("w") as file:
            file.write(str(self._newest))
            file.flush()
            os.fsync(file.fileno())
        made.replace(self._folder / CURSOR)
