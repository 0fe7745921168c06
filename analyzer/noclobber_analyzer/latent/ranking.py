"""Which escape was the narrowest: the margin against the window that it would have had to fall into.

80 ms of luck against a model call of 12 s is a bug in waiting; 80 ms between two calls of a millisecond is less of
one. The window is the longest that one strand took over its part of the story; a pair that shows one access of each
strand (two locks) has none, and a minute stands for it.

Source: detection.md 5 (ranked by margin / window).
"""

from collections.abc import Iterable
from typing import Final, Protocol

__all__ = ["MARGIN_NS", "luck", "window_ns"]

MARGIN_NS: Final = 60_000_000_000
"""A margin that is wider than this, and than both windows, is no luck."""


class Placed(Protocol):
    """An access, as far as its place in time goes."""

    @property
    def strand(self) -> str:
        """Of which line of execution."""
        ...

    @property
    def start_ns(self) -> int:
        """Its call."""
        ...

    @property
    def end_ns(self) -> int:
        """Its return."""
        ...


def window_ns(accesses: Iterable[Placed]) -> int:
    """The longest that one strand of a witness took, from its first call to its last return."""
    spans: dict[str, tuple[int, int, int]] = {}
    for access in accesses:
        first, last, count = spans.get(access.strand, (access.start_ns, access.end_ns, 0))
        spans[access.strand] = (min(first, access.start_ns), max(last, access.end_ns), count + 1)
    windows = [last - first for first, last, count in spans.values() if count > 1]
    return max(windows, default=MARGIN_NS)


def luck(margin_ns: int | None, accesses: Iterable[Placed]) -> float:
    """The margin as a part of the window: the smaller, the narrower the escape.

    >>> from noclobber_analyzer.finding import AccessRef
    >>> luck(80_000_000, [])
    0.0013333333333333333
    """
    return (margin_ns or 0) / max(1, window_ns(accesses))
