"""One answer for many visitors: a small cache with a lifetime, so that queries do not grow with open tabs.

The first who asks for an expired entry computes it; those who ask meanwhile wait for that one computation instead
of asking the store themselves. A slow answer serves longer, so that no question, however many ask it, takes more
than about a tenth of the time. What was computed from a store that has not changed since serves on, for `KEPT_MAX_S`
at most, since answers look back from now. An error is not kept: the next visitor asks again.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

__all__ = ["Cached"]

ENTRIES_MAX: Final = 64
REST: Final = 10
"""An answer serves at least this many times as long as it took."""
KEPT_MAX_S: Final = 30.0
"""How long an answer serves where nothing changed."""
_VERSION: Final = ("version of what is asked",)

Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: object = None
    version: Hashable = None
    computed_s: float = 0.0
    until_s: float = 0.0


class Cached:
    """Values by key, each for `ttl_s` seconds; at most `ENTRIES_MAX` keys, the oldest goes first.

    Args:
        ttl_s: how long an answer serves, seconds.
        clock: monotonic seconds.
        version: cheap, and equal as long as every answer is; None, or an answer of None: nothing is known of that.
    """

    def __init__(
        self,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        version: Callable[[], Hashable] | None = None,
    ) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._version = version
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], Value], least_s: float = 0.0) -> Value:
        """The value under a key, computed where it is absent or too old; it serves `least_s` at least."""
        entry = self._entry(key)
        with entry.lock:
            if self._clock() >= entry.until_s:
                version = self._current() if key != _VERSION else None
                began_s = self._clock()
                kept_s = entry.computed_s + KEPT_MAX_S if version is not None and version == entry.version else 0.0
                if began_s >= kept_s:
                    entry.value = compute()
                    entry.version, entry.computed_s = version, began_s
                done_s = self._clock()
                entry.until_s = done_s + max(self._ttl_s, least_s, REST * (done_s - began_s))
            return cast("Value", entry.value)

    def forget(self, key: Hashable) -> None:
        """Compute a value anew when it is next asked for, and all whose keys begin with this one."""
        with self._lock:
            for each in [each for each in self._entries if _begins(each, key)]:
                del self._entries[each]

    def _entry(self, key: Hashable) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            while len(self._entries) > ENTRIES_MAX:
                self._entries.pop(next(iter(self._entries)))
            return entry

    def _current(self) -> Hashable:
        """The version as of now, asked as often as any answer."""
        return self.get(_VERSION, self._version) if self._version else None


def _begins(key: Hashable, beginning: Hashable) -> bool:
    if isinstance(key, tuple) and isinstance(beginning, tuple):
        return key[: len(beginning)] == beginning
    return key == beginning
