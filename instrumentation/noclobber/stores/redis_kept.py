"""What of a Redis call waits for the drain: its words and its reply as they are now, and nothing long.

A caller may change a list that it got, or a buffer that it gave, and a ring of long values would have no bound.
"""

from collections.abc import Sequence
from typing import Any, Final

from noclobber.versions import HELD_MAX, shortened

__all__ = ["as_now", "kept"]

_CHANGEABLE: Final = frozenset({list, dict, set, bytearray})
_COPIED: Final = _CHANGEABLE | {memoryview}
_VALUES: Final = frozenset("SET SETEX PSETEX SETNX GETSET MSET MSETNX HSET HMSET HSETNX".split())  # noqa: SIM905
"""Commands whose long words are values of their own, and not parts of something that is printed as a whole."""


def kept(args: Sequence[Any]) -> Sequence[Any]:
    """`args` as they were at the call, where the caller could change one of them."""
    for word in args:
        kind = type(word)
        if kind in _COPIED:
            return [_copied(each) for each in args]
        if kind is bytes and len(word) > HELD_MAX and args[0] in _VALUES:  # a ring of long values has no bound
            return [shortened(each) if type(each) is bytes else _copied(each) for each in args]
    return args


def as_now(reply: Any) -> Any:
    """`reply` as it is now, whatever the caller does to it, and with no long value in it."""
    kind = type(reply)
    if kind is bytes:
        return shortened(reply)
    if kind is list:
        return [shortened(each) if type(each) is bytes else each for each in reply]
    if kind is dict:
        return {name: shortened(each) if type(each) is bytes else each for name, each in reply.items()}
    return reply.copy() if kind in _CHANGEABLE else reply


def _copied(word: Any) -> Any:
    if type(word) is memoryview:
        return bytes(word)
    return word.copy() if type(word) in _CHANGEABLE else word
