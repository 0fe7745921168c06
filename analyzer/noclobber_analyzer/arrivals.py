"""In which order kept accesses arrived, and what falls out next: first what arrived first, whatever was read together.

What is read together is a portion. It is taken by the times of its calls, but numbered and let go by where its rows
stand in the store, so that nothing depends on how large portions are. When segments were opened and noted is kept for
a portion as a whole, each time so that it errs on the safe side.

Source: analysis.md 9 (kept history, checkpoint).
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter

__all__ = ["Arrivals"]

_by_first = attrgetter("first")


@dataclass(slots=True)
class _Portion:
    """What was read together.

    Attributes:
        first: the number of its first access.
        opened_ns, newest_ns: when the first, and the last, of its segments was opened.
        noted_ns: by when all of them had been noted.
        keys: of its accesses that have not fallen out, in the order in which they do.
    """

    first: int
    opened_ns: int
    newest_ns: int
    noted_ns: int
    keys: deque[bytes] = field(default_factory=deque)


class Arrivals:
    """The order of arrival of accesses that come and go, by their keys.

    Attributes:
        partly_ns: when the last segment was opened of which accesses fell out; 0: none did.
    """

    def __init__(self) -> None:
        self.partly_ns = 0
        self._arrived = 0
        self._number: dict[bytes, int] = {}
        self._portions: deque[_Portion] = deque([_Portion(1, 0, 0, 0)])

    def __len__(self) -> int:
        return len(self._number)

    @property
    def opened_ns(self) -> int:
        """When the first segment of those that were read with the oldest access was opened; 0: nothing is kept."""
        return self._portions[0].opened_ns if self._number else 0

    @property
    def newest_ns(self) -> int:
        """When the last of these was."""
        return self._portions[0].newest_ns

    def begin(self, opened_ns: int, newest_ns: int, noted_ns: int) -> None:
        """Begin with what was read together: when the first and the last of its segments was opened, and all noted."""
        self._portions.append(_Portion(self._arrived + 1, opened_ns, newest_ns, noted_ns))
        self._drop_empty()

    def add(self, key: bytes) -> None:
        """Take an access that was not kept."""
        self._portions[-1].keys.append(key)
        self._arrived += 1
        self._number[key] = self._arrived

    def arrange(self, places: Mapping[bytes, int]) -> None:
        """Number anew what was read together: by where it stands in the store."""
        portion = self._portions[-1]
        portion.keys = deque(sorted(portion.keys, key=places.__getitem__))
        self._number.update(zip(portion.keys, count(portion.first)))

    def let_go(self, too_many: int, opened_before_ns: int) -> list[bytes]:
        """Let go of what arrived first: of so many, and of portions all of whose segments were opened before a time."""
        gone: list[bytes] = []
        while self._number:
            portion = self._portions[0]
            all_of_it = portion.newest_ns < opened_before_ns
            if not all_of_it and len(gone) >= too_many:
                break
            keys = portion.keys
            some = [keys.popleft() for _ in range(len(keys) if all_of_it else min(len(keys), too_many - len(gone)))]
            self.partly_ns = max(self.partly_ns, portion.newest_ns)
            for key in some:
                del self._number[key]
            gone += some
            self._drop_empty()
        return gone

    def number(self, key: bytes) -> int:
        """As the how manieth it arrived; 0: it is not kept."""
        return self._number.get(key, 0)

    def number_of_oldest(self) -> int:
        """As the how manieth the oldest that is kept arrived."""
        return self._arrived + 1 - len(self._number)

    def noted_ns(self, key: bytes) -> int:
        """By when the segment of an access had been noted; 0: it is not kept."""
        number = self._number.get(key)
        if number is None:
            return 0
        return self._portions[bisect_right(self._portions, number, key=_by_first) - 1].noted_ns

    def _drop_empty(self) -> None:
        while len(self._portions) > 1 and not self._portions[0].keys:
            self._portions.popleft()
