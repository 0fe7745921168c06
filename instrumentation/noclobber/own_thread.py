"""A thread of noclobber's own, which lives through a monkey patch of `threading`.

A program that gevent patches after it has begun (`noclobber run` begins before it) has another `get_ident` from then
on, and a thread that was started before is not found under it when it ends: Python would say so on the program's
standard error.
"""

import contextlib
import threading

__all__ = ["OwnThread"]


class OwnThread(threading.Thread):
    """A native thread, also if `threading` has been patched since."""

    def _delete(self) -> None:
        with contextlib.suppress(KeyError):
            super()._delete()  # type: ignore[misc]  # Python's own
