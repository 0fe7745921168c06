"""Which clocks were set while they were read, so that their times prove nothing between strands.

A strand makes one call after the other and numbers them as it does so. Where a later call had ended before an earlier
one began, as recorded, time ran backwards: that is no monotonic clock, whatever it is called. From then on none of
those that go by that clock (or by that host's, where none is named) is a witness of it: which of them was set, by how
much, and whether that was the only time, nobody knows. What is left is what does not hang on the clock: numbers,
versions, messages, locks. Calls that overlap prove nothing of the kind, as one call may be told by several spans.

Each piece of a strand whose times agree with its numbers then goes by a clock of its own, which compares with no
other; within the piece it says what the numbers say.

Source: contract 2.2 (a named clock is monotonic; one that is not named is the host's), detection.md 2.6. Whether two
clocks agree is another question (`clock_bounds`). A clock that was set while no strand called twice leaves no trace.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.clock_pairs import clock_of
from noclobber_analyzer.forms import changed

__all__ = ["apart", "runs_backwards", "said_of", "set_clocks"]


def runs_backwards(own: Sequence[Access]) -> bool:
    """Whether a later call of a strand had ended before an earlier one began.

    Args:
        own: the accesses of one strand, ascending by `seq`.
    """
    latest_ns = own[0].start_ns if own else 0
    for access in own:
        start_ns = access.start_ns
        if start_ns >= latest_ns:
            latest_ns = start_ns
        elif max(start_ns, access.end_ns) < latest_ns:
            return True
    return False


def set_clocks(strands: Iterable[Sequence[Access]]) -> frozenset[str]:
    """The names of the clocks (`clock_of`) of strands whose times run backwards. Linear."""
    return frozenset(clock_of(own[0].process) for own in strands if runs_backwards(own))


def said_of(clocks: Collection[str]) -> list[str]:
    """What the summary says of such clocks."""
    return [
        f"what times of {name} prove: it was set back while it was read (a strand's later call ended before an earlier "
        "one began), so they order nothing between strands"
        for name in sorted(clocks)
    ]


def apart(
    accesses: Iterable[Access], clocks: Collection[str], captured: Callable[[str], Sequence[Access]]
) -> list[Access]:
    """The same accesses, those that go by one of some clocks each by the clock of its piece of its strand.

    Args:
        accesses: of some strands.
        clocks: that are not believed.
        captured: all accesses of a strand, ascending by `seq`.
    """
    pieces = _Pieces(captured)
    return [
        changed(access, process=pieces.process_of(access)) if clock_of(access.process) in clocks else access
        for access in accesses
    ]


class _Pieces:
    """The pieces of strands within which times run forwards."""

    def __init__(self, captured: Callable[[str], Sequence[Access]]) -> None:
        self._captured = captured
        self._of: dict[str, dict[bytes, int]] = {}
        self._processes: dict[tuple[str, int], Process] = {}

    def process_of(self, access: Access) -> Process:
        """The process of an access, as it is known by the clock of its piece."""
        if access.strand not in self._of:
            self._of[access.strand] = _begun(self._captured(access.strand))
        begun = self._of[access.strand].get(access.key, 0)
        known = self._processes.get((access.strand, begun))
        if known is None:
            clock = f"{clock_of(access.process)} as strand {access.strand} read it from call {begun} on"
            known = self._processes[access.strand, begun] = replace(access.process, clock=clock)
        return known


def _begun(own: Sequence[Access]) -> dict[bytes, int]:
    """By access the number with which its piece begins."""
    found: dict[bytes, int] = {}
    begun = latest_ns = 0
    for access in own:
        if max(access.start_ns, access.end_ns) < latest_ns:
            begun, latest_ns = access.seq, access.start_ns
        latest_ns = max(latest_ns, access.start_ns)
        found[access.key] = begun
    return found
