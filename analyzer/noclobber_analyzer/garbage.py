"""Garbage of a process that keeps much: what is young is looked through after each step, all of it seldom.

Live analysis keeps some million small objects for minutes, and lets go of them by count, not by collector. Python's own
rule looks through all that is kept whenever a quarter as much has been added: a quarter of the CPU time of an access at
200,000 kept ones. So the collector is switched off between steps; after each one it looks through what was made since
the last, and through everything once in ten minutes.

Source: CPython, `gc` (generations); measured, see docs/decisions/0007.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Garbage", "uncollected"]

ALL_EVERY_S: Final = 600.0
YOUNG: Final = 1
"""The generation up to which is collected after each step: what survives it is not looked at again until all is."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector: one pass over many small objects that all stay, so it would find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Garbage:
    """The process's collector, while somebody keeps much."""

    def __init__(self) -> None:
        self._was_on = False
        self._all_at_s = 0.0

    def begin(self) -> None:
        """Take the collector in hand."""
        self._was_on = gc.isenabled()
        self._all_at_s = time.monotonic()
        gc.disable()

    def collect(self) -> None:
        """Look through what is young, or through all of it if that is due."""
        if time.monotonic() - self._all_at_s < ALL_EVERY_S:
            gc.collect(YOUNG)
            return
        gc.collect()
        self._all_at_s = time.monotonic()

    def end(self) -> None:
        """Leave it as it was."""
        if self._was_on:
            gc.enable()
