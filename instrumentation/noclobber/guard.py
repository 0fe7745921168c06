"""The one guard around everything that runs inside an agent's process.

Instrumentation that raises, blocks or changes a result is worse than none. Every seam between an agent's call and
this package goes through here: a mistake of ours is counted, logged once for each cause, and forgotten. Under our own
tests (`NOCLOBBER_RERAISE=1`) it is raised instead, so that it can't hide.

Source: the pattern of logfire's `handle_internal_errors`.
"""

import logging
import os
from collections import Counter
from types import TracebackType

__all__ = ["GUARD", "Guard"]

log = logging.getLogger("noclobber")
CAUSES_MAX = 1000
"""Causes remembered for logging once; further ones are counted together."""


class Guard:
    """Context manager that swallows, counts and logs what goes wrong inside it; one instance serves all threads.

    Attributes:
        failures: how often each cause occurred, by its place in the code.
    """

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.reraises = os.environ.get("NOCLOBBER_RERAISE") == "1"

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if self.reraises or not isinstance(error, Exception):
            return False
        self.note(error, trace)
        return True

    def caught(self, error: BaseException) -> None:
        """`error` of ours, caught where even a context manager would cost too much; raised again under our tests."""
        if self.reraises and isinstance(error, Exception):
            raise error
        self.note(error)

    def note(self, error: BaseException, trace: TracebackType | None = None) -> None:
        """Count `error`; log it if its cause is new."""
        trace = trace or error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        cause = f"{type(error).__name__} at {place}"
        if cause not in self.failures and len(self.failures) >= CAUSES_MAX:
            cause = "other"
        self.failures[cause] += 1
        if self.failures[cause] == 1:
            log.warning("noclobber could not record something (%s: %s); the program is not affected", cause, error)


GUARD = Guard()
"""The process's guard: `with GUARD: ...` around every seam."""
