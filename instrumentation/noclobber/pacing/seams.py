"""Coroutine functions of libraries that are hooked: there a task can wait after its access, before its caller goes on.

Whoever hooks a library names here what it wraps. Nothing is done with the names until a pacer begins; then each gets a
second wrapper, which pays what the access owes, and loses it when the pacer ends. So an agent that nobody paces pays
one list entry a hook at its start.
"""

import functools
import inspect
from typing import Any

from noclobber.pacing.holds import settle

__all__ = ["begin", "end", "seam"]

_known: dict[tuple[Any, str], None] = {}
_paced: dict[tuple[Any, str], tuple[Any, Any]] = {}
_begun = False


def seam(owner: Any, name: str) -> None:
    """`owner`'s function `name` is hooked: a place to wait, if it is a coroutine function."""
    if inspect.iscoroutinefunction(vars(owner).get(name)):
        _known[owner, name] = None
        if _begun:
            _pace(owner, name)


def begin() -> None:
    """Pay at every seam from now on."""
    global _begun  # noqa: PLW0603  one a process
    _begun = True
    for owner, name in _known:
        _pace(owner, name)


def end() -> None:
    """Take the second wrappers off again, where they are still on top."""
    global _begun  # noqa: PLW0603  one a process
    _begun = False
    for (owner, name), (below, wrapper) in _paced.items():
        if vars(owner).get(name) is wrapper:
            setattr(owner, name, below)
    _paced.clear()


def _pace(owner: Any, name: str) -> None:
    below = vars(owner).get(name)
    known = _paced.get((owner, name))
    if not inspect.iscoroutinefunction(below) or (known is not None and known[1] is below):
        return

    @functools.wraps(below)
    async def paced(*args: Any, **kwargs: Any) -> Any:
        try:
            reply = await below(*args, **kwargs)
        except Exception:  # such as that nothing is there
            await settle()
            raise
        await settle()
        return reply

    _paced[owner, name] = below, paced
    setattr(owner, name, paced)
