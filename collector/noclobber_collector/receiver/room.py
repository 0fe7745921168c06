"""How many bytes of requests are held at one time, over both protocols.

A request's bytes are counted from before they are read until it is answered, unpacked as well as packed. What does not
fit is refused, and its client comes again. Large requests leave some room for small ones, so that a few clients with
much to say do not shut out all others.

Source: alerts-and-safety.md, section 10, test 18.
"""

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Final, Self

from noclobber_collector.receiver.answers import Because, Refusal
from noclobber_collector.requests import PACKED_MAX

__all__ = ["BYTES_MAX", "LARGE_BYTES_MAX", "SMALL", "Held", "Room"]

LARGE_BYTES_MAX: Final = PACKED_MAX + (4 << 20)
"""Of requests that are not small: the largest one fits, packed and unpacked."""
BYTES_MAX: Final = LARGE_BYTES_MAX + (4 << 20)
"""Of all."""
SMALL: Final = 64 << 10


class Room:
    """The bytes of all requests that are held.

    Args:
        bytes_max: of all. large_bytes_max: no request that is larger than SMALL gets more beyond this.

    Attributes:
        bytes: that are held now.
    """

    def __init__(self, bytes_max: int = BYTES_MAX, large_bytes_max: int = LARGE_BYTES_MAX) -> None:
        self._bytes_max, self._large_bytes_max = bytes_max, large_bytes_max
        self._lock = threading.Lock()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.bytes = 0

    def take(self, size: int, held: int = 0) -> bool:
        """Take room for `size` bytes of a request that holds some already, from any thread; False: there is none."""
        most = self._bytes_max if held + size <= SMALL else self._large_bytes_max
        with self._lock:
            if self.bytes + size > most:
                return False
            self.bytes += size
            return True

    def give(self, size: int) -> None:
        """Give room back, on the loop's thread."""
        with self._lock:
            self.bytes -= size
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
                return

    async def wait(self, seconds: float) -> None:
        """Until room was given back, and no longer than this; whoever has waited longest is the first."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await asyncio.wait((waiting,), timeout=seconds)
        finally:
            self._waiting.remove(waiting)


class Held:
    """What one request holds; all of it is given back at the end of a `with`.

    Attributes:
        size: bytes.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shrink(0)

    def fits(self, more: int) -> bool:
        """Hold more, if there is room."""
        if not self._room.take(more, self.size):
            return False
        self.size += more
        return True

    def grow(self, more: int) -> None:
        """Hold more.

        Raises:
            Refusal: there is no room.
        """
        if not self.fits(more):
            raise Refusal(Because.BUSY, "too many large requests at once; come again")

    def shrink(self, size: int) -> None:
        """Hold no more than `size`."""
        if size < self.size:
            more, self.size = self.size - size, size
            self._room.give(more)
