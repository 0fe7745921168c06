"""LangGraph's own seams: what `noclobber.frameworks.seams` gives every framework, under LangGraph's name."""

from typing import Final

from noclobber.frameworks.seams import Finish, Patch, Seams, Start, arecorded, enclosing, is_hidden, recorded

__all__ = [
    "LIBRARY",
    "SEAMS",
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
SEAMS: Final = Seams(LIBRARY)
wrap = SEAMS.wrap
watch = SEAMS.watch
restore = SEAMS.restore
begin = SEAMS.begin
