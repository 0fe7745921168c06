"""Attributes of a library that are wrapped, all or none, and put back without harm to those who came later.

A hook that does not find all that it knows leaves the library alone: half of its hooks would tell half a story. If
somebody else has wrapped a wrapper of ours since, ours stays below, where it passes everything on.

Source: capture.md, sections 9 (ways out) and 10 (P2).
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from noclobber.pacing.seams import seam

__all__ = ["LEFT_ALONE", "Hook", "Wrapping", "knowing", "leave_alone"]

log = logging.getLogger("noclobber")
Hook = tuple[Any, str, Callable[[Any], Any]]
"""A class or module, the name of its attribute, and what makes the wrapper of it."""
LEFT_ALONE: Final[dict[str, str]] = {}
"""Library -> what its version has not, so that it is left alone; `noclobber doctor` tells it."""


@contextlib.contextmanager
def knowing(library: str) -> Iterator[None]:
    """While hooks are looked for: a module or class that is not there is a version that is not known."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        leave_alone(library, str(error))


def leave_alone(library: str, missing: str) -> None:
    """Say that this version of `library` is not known, for what is `missing`."""
    LEFT_ALONE[library] = missing
    log.warning("noclobber does not know this version of %s (%s) and leaves it alone", library, missing)


class Wrapping:
    """The wrapped attributes of one library."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._wrapped: list[tuple[Any, str, Any, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._wrapped)

    def wrap(self, hooks: Sequence[Hook]) -> None:
        """Wrap all, if all are there; say it where not."""
        missing = [name for owner, name, _ in hooks if name not in vars(owner)]
        if missing:
            leave_alone(self._library, f"no {missing[0]}")
            return
        for owner, name, make in hooks:
            original = vars(owner)[name]
            wrapper = functools.wraps(original)(make(original))
            self._wrapped.append((owner, name, original, wrapper))
            setattr(owner, name, wrapper)
            seam(owner, name)

    def restore(self) -> None:
        """Put back what was there, where it is still ours."""
        for owner, name, original, wrapper in reversed(self._wrapped):
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)
        self._wrapped.clear()
