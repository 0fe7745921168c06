"""How many connections there may be: in all, and from one address.

Where there is no room, the connection that has waited longest for a request makes room: clients open a new one when
they need it. So whoever only holds connections can keep nobody else out. If all are busy, the new one is refused.

Source: alerts-and-safety.md, section 10, test 12.
"""

import ipaddress
import resource
from collections import Counter
from collections.abc import Callable
from typing import Final

from noclobber_collector.receiver.counts import Counts

__all__ = ["Admission", "connections_max"]

CONNECTIONS_MAX: Final = 8192
FILES_ELSE: Final = 256
"""Files that the rest of the process needs: segments, gRPC, logs."""


def connections_max() -> int:
    """How many connections this process may have, after it has asked for as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX * 2
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(16, min(CONNECTIONS_MAX, (soft - FILES_ELSE) // 2))  # as many may be gRPC's


class Admission:
    """Knows every connection, by the object that stands for it.

    Args:
        counts: gets what was evicted or refused.
        most: connections in all.
        most_of_one: connections of one address; of IPv6, of one network of 64 bits.
    """

    def __init__(self, counts: Counts, most: int = CONNECTIONS_MAX, most_of_one: int | None = None) -> None:
        self.counts = counts
        self._most, self._most_of_one = most, most_of_one or max(1, most // 2)
        self._address: dict[object, str] = {}
        self._of: Counter[str] = Counter()
        self._waiting: dict[object, Callable[[], None]] = {}  # the longest first
        self._waiting_of: dict[str, dict[object, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._address)

    def enter(self, connection: object, address: str, close: Callable[[], None]) -> bool:
        """Let a connection in, which waits from now on; False: there is no room."""
        name = _network(address)
        if self._of[name] >= self._most_of_one:
            self._evict(self._waiting_of.get(name, {}))
        elif len(self._address) >= self._most:
            self._evict(self._waiting)
        if self._of[name] >= self._most_of_one or len(self._address) >= self._most:
            self.counts.add("connections_refused")
            return False
        self._address[connection] = name
        self._of[name] += 1
        self.waits(connection, close)
        return True

    def waits(self, connection: object, close: Callable[[], None]) -> None:
        """A connection has nothing to do; `close` ends it."""
        if connection in self._address:
            self._waiting[connection] = close
            self._waiting_of.setdefault(self._address[connection], {})[connection] = close

    def works(self, connection: object) -> None:
        """A connection has a request."""
        if self._waiting.pop(connection, None) is not None:
            of_one = self._waiting_of[self._address[connection]]
            of_one.pop(connection)
            if not of_one:
                del self._waiting_of[self._address[connection]]

    def leave(self, connection: object) -> None:
        """A connection has ended; again does nothing."""
        if connection in self._address:
            self.works(connection)
            name = self._address.pop(connection)
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]

    def _evict(self, waiting: dict[object, Callable[[], None]]) -> None:
        if waiting:
            connection, close = next(iter(waiting.items()))
            self.leave(connection)
            self.counts.add("evicted")
            close()


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return found.exploded[:19]
    return str(getattr(found, "ipv4_mapped", None) or found)
