"""Which accesses the clocks put in order.

One machine's monotonic clock orders its processes exactly, once each process's constant offset is taken off. Where the
clock's name was not recorded, processes of one host are ordered by more than a millisecond. Clocks of different
machines order nothing here (`clock_bounds` measures how far they are apart), and no clock ever orders two calls that
overlap. Accesses by a clock that was set while it was read are told by clocks of their own (`clock_steps`).

Source: contract 2.2, detection.md 2.6.
"""

from typing import Final

from noclobber_analyzer.access import Access, Process

__all__ = ["HOST_BOUND_NS", "before", "local_ns", "nominally_before", "slack_ns"]

HOST_BOUND_NS: Final = 1_000_000
"""How far two processes of one host may be apart where the clock is not named."""


def slack_ns(one: Process, other: Process) -> int | None:
    """By how much one must return before the other's call to be earlier; None: their clocks do not compare."""
    if one.clock != other.clock:
        return None  # of one process, too, if its clock was set (`clock_steps`)
    if one.clock is not None or one.id == other.id:
        return 0
    return HOST_BOUND_NS if one.host is not None and one.host == other.host else None


def local_ns(process: Process, time_ns: int) -> int:
    """A recorded time on the machine's clock: it compares with those of processes whose slack is not None."""
    return time_ns - process.clock_offset_ns


def before(one: Access, other: Access) -> bool:
    """Whether `one` had returned when `other` was called, by clocks that compare; False also where nobody knows."""
    slack = slack_ns(one.process, other.process)
    if slack is None:
        return False
    return local_ns(one.process, one.end_ns) + slack < local_ns(other.process, other.start_ns)


def nominally_before(one: Access, other: Access) -> bool:
    """Whether `one` had returned when `other` was called as far as comparable clocks show, their margin set aside.

    It proves nothing by itself; it tells the likelier of two stories where the margin leaves both open.
    """
    if one.open or slack_ns(one.process, other.process) is None:
        return False
    return local_ns(one.process, one.end_ns) <= local_ns(other.process, other.start_ns)
