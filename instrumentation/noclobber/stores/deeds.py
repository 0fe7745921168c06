"""One method of a library that is recorded: what it is about is noted before, what came of it after, told in the drain.

A library whose methods each do one thing to state gives for each a function that notes a `Deed`: how many accesses it
is, and what makes them later. The method runs with its strand's own recording off, so that what the library does below
(SQL, files, other methods of its own) is not told a second time. Nothing here changes arguments, replies or errors.

Source: capture.md, section 1 (principles 3 to 5).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op, Outcome
from noclobber.guard import GUARD

__all__ = ["Deed", "Note", "quietly", "recorded", "recorded_async"]

CHANGES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})


def _whole(reply: Any) -> Any:
    return reply


@dataclass(slots=True)
class Deed:
    """A call as it was asked for, and as it ended.

    Attributes:
        name: the operation, as the library calls it. count: how many accesses it is.
        describe: makes them, in the drain. facts: what that needs; never the caller's own containers.
        keep: what is needed of a reply, taken before the caller gets it. reply: that, None where it raised.
        refusals: errors of the library that mean that nothing was done.
        error: what it raised.
    """

    name: str
    count: int
    describe: Callable[["Deed"], list[Access]]
    facts: Any = None
    keep: Callable[[Any], Any] = _whole
    refusals: tuple[str, ...] = ()
    reply: Any = None
    error: BaseException | None = None


Note = Callable[[Any, tuple[Any, ...], dict[str, Any]], Deed | None]
"""Object, arguments: what a call is about; None where it touches no shared state."""


def recorded(library: str, note: Note) -> Callable[[Any], Any]:
    """What makes the wrapper of a method that `note` understands."""

    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            begun = _begin(library, note, self, args, kwargs)
            if begun is None:
                return original(self, *args, **kwargs)
            try:
                reply = original(self, *args, **kwargs)
            except BaseException as error:
                _end(begun, None, error)
                raise
            _end(begun, reply, None)
            return reply

        return method

    return make


def recorded_async(library: str, note: Note) -> Callable[[Any], Any]:
    """The same for a coroutine function."""

    def make(original: Any) -> Any:
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            begun = _begin(library, note, self, args, kwargs)
            if begun is None:
                return await original(self, *args, **kwargs)
            try:
                reply = await original(self, *args, **kwargs)
            except BaseException as error:
                _end(begun, None, error)
                raise
            _end(begun, reply, None)
            return reply

        return method

    return make


def quietly(original: Any) -> Any:
    """The wrapper of a method that is part of no access: what it does below is not told."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        strand = strands.current()
        strand.suppressed += 1
        try:
            return original(self, *args, **kwargs)
        finally:
            strand.suppressed -= 1

    return method


Begun = tuple[Call, Deed]


def _begin(library: str, note: Note, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun | None:
    with GUARD:
        active, strand = recorder.recording(), strands.current()
        if active is None:
            return None
        strand.suppressed += 1  # looking at arguments may itself reach the library
        try:
            deed = _noted(note, owner, args, kwargs)
            if deed is None or not deed.count:
                return None
            call = active.begin(library, deed.count)
            strand.suppressed += 1
        finally:
            strand.suppressed -= 1
        return call, deed
    return None


def _noted(note: Note, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    try:
        return note(owner, args, kwargs)
    except (TypeError, IndexError, KeyError):  # arguments that the library will refuse
        return None


def _end(begun: Begun, reply: Any, error: BaseException | None) -> None:
    with GUARD:
        call, deed = begun
        try:
            call.error = deed.error = error
            kept = None
            if error is None:
                with GUARD:
                    kept = deed.keep(reply)
            active = recorder.active()
            if active is not None:
                active.end(call, _build, replace(deed, reply=kept))
        finally:
            call.strand.suppressed -= 1


def _build(call: Call) -> Sequence[Access]:
    deed: Deed = call.facts
    accesses = deed.describe(deed)
    for access in accesses:
        access.attributes["db.operation.name"] = deed.name
        if deed.error is not None:
            access.outcome = _outcome(deed, access)
        if isinstance(deed.error, asyncio.CancelledError):
            access.attributes[Attr.CANCELLED] = True
    return accesses


def _outcome(deed: Deed, access: Access) -> Outcome:
    """How a call ended that raised: nobody knows what was applied, unless the error says that nothing was."""
    if access.outcome in (Outcome.REJECTED, Outcome.NOT_FOUND, Outcome.NO_EFFECT, Outcome.ERROR):
        return access.outcome
    if access.op not in CHANGES or type(deed.error).__name__ in deed.refusals:
        return Outcome.ERROR
    return Outcome.UNKNOWN
