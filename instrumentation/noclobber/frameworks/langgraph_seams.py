"""LangGraph's own seams: what `noclobber.frameworks.seams` gives every framework, under LangGraph's name."""

from typing import Final

from noclobber.frameworks.seams import Finish, Patch, Seams, Start, arecorded, enclosing, is_hidden, recorded

__all__ = [
    "LIBRARY",
    "Finish",
    "Patch",
    "Start",
    "arecorded",
    "begin",
    "enclosing",
    "is_hidden",
    "recorded",
    "restore",
    "watch",
    "wrap",
]

LIBRARY: Final = "langgraph"
_SEAMS: Final = Seams(LIBRARY)
wrap = _SEAMS.wrap
watch = _SEAMS.watch
restore = _SEAMS.restore
begin = _SEAMS.begin
