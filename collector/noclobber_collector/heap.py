"""Has the C library give memory back to the system that was only used for a moment.

glibc raises the size from which a block is given back at once to that of the largest one it has seen, and has a heap
for each of many threads: so a process whose blocks are large for a moment would keep several times what it needs. Other
C libraries are left as they are.

Source: mallopt(3).
"""

import contextlib
import ctypes
from typing import Final

__all__ = ["give_back"]

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
ARENA_MAX: Final = -8
HEAPS: Final = 2


def give_back(size: int, kept: int) -> None:
    """Have blocks of `size` bytes or more given back as soon as they are free, and few heaps.

    Args:
        size: in bytes.
        kept: so many bytes of smaller ones may lie free at the end of a heap; with few, each request has the kernel
            give the same pages anew.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, size)
        library.mallopt(TRIM_THRESHOLD, kept)
        library.mallopt(ARENA_MAX, HEAPS)
