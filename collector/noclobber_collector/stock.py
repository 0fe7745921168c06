"""What lies in a spool, known without a look at the disk by whoever asks.

Each request is held against the spool's limit, and a folder may have tens of thousands of segments. So they are listed
on a thread of its own, now and then; a closed segment's size never changes and is asked for once; and what the spool
itself closes is added at once. What others remove is noticed at the next look.
"""

import os
import threading
import time
from pathlib import Path
from typing import Final

from noclobber_collector.segments import CLOSED, LOADED, size_of

__all__ = ["Stock"]

LOOK_EVERY_S: Final = 0.5
SHARE: Final = 20
"""A look that took long is followed by a pause of so many times that."""
END_S: Final = 1.0
"""So long an end waits for a look that is under way."""


class Stock:
    """Closed segments of a folder, looked at on a thread.

    Args:
        folder: the spool's.

    Attributes:
        waiting_bytes: of segments that are not loaded yet. waiting: how many. oldest: the least number of them, or 0.
        kept_bytes: of segments that are loaded; the newest segment is never among them, since its file stays.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}
        self._since: dict[int, int] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.waiting_bytes = self.kept_bytes = self.waiting = self.oldest = 0
        self.look()
        self._thread = threading.Thread(target=self._run, name="stock", daemon=True)
        self._thread.start()

    def add(self, number: int, size: int) -> None:
        """A segment was closed."""
        with self._lock:
            self._since[number] = size
            self.waiting_bytes += size
            self.waiting += 1
            self.oldest = self.oldest or number

    def close(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join(END_S)

    def look(self) -> None:
        """List the folder."""
        before = set(self._since)
        found = {number: (stem, kind) for number, stem, kind in self._listed()}
        newest = max(found, default=0)
        sizes = {stem: self._sizes.get(stem) or self._size(stem, kind) for stem, kind in found.values()}
        waiting = {number: sizes[stem] for number, (stem, kind) in found.items() if kind == CLOSED}
        kept = sum(sizes[stem] for number, (stem, kind) in found.items() if kind == LOADED and number != newest)
        with self._lock:
            self._since = {each: size for each, size in self._since.items() if each not in before}
            waiting |= {each: size for each, size in self._since.items() if each not in found}
            self._sizes = sizes
            self.waiting_bytes, self.kept_bytes = sum(waiting.values()), kept
            self.waiting, self.oldest = len(waiting), min(waiting, default=0)

    def _listed(self) -> "list[tuple[int, str, str]]":
        listed = []
        for name in os.listdir(self._folder):  # noqa: PTH208  names are enough, and many times faster
            stem, dot, kind = name.rpartition(".")
            number = stem.partition(".")[0]
            if dot + kind in (CLOSED, LOADED) and number.isdigit():
                listed.append((int(number), stem, dot + kind))
        return listed

    def _size(self, stem: str, kind: str) -> int:
        """Of a segment, which may have been loaded since it was listed."""
        return size_of(self._folder / (stem + kind)) or size_of(self._folder / (stem + LOADED))

    def _run(self) -> None:
        took_s = 0.0
        while not self._ending.wait(max(LOOK_EVERY_S, SHARE * took_s)):
            begun = time.thread_time()
            try:
                self.look()
            except OSError:  # a disk that does not answer: what was known is all there is
                continue
            took_s = time.thread_time() - begun
