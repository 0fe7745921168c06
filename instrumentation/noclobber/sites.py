"""Where in the program's own code an access was asked for: the first frame outside libraries.

It is looked for at every call, so it is a walk over frames and one look-up each, by the file's name: text keeps its
hash, a code object computes its own each time. What is noted is the code object and an offset in it; the drain makes a
line of that, which is as slow as a search through the code's whole table.
"""

import os
from types import CodeType, FrameType
from typing import Final

__all__ = ["Site", "Sites"]

DEPTH_MAX: Final = 40
FILES_MAX: Final = 50_000
"""Files of which it is remembered whether they are a library's: a program may make names without end."""
_STANDARD_LIBRARY: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120  a prefix, compared as text
_OWN: Final = os.path.dirname(__file__) + os.sep  # noqa: PTH120

Site = tuple[CodeType, int]
"""A code object, and the offset of the instruction in it."""


class Sites:
    """What is known of the program's files.

    Attributes:
        own: whether a file, by name, is the program's own; for those that may look for themselves.
    """

    def __init__(self) -> None:
        self.own: dict[str, bool] = {}

    def of(self, frame: FrameType | None) -> Site | None:
        """The site of `frame` and those below it; None where none is the program's own."""
        depth = 0
        while frame is not None:
            code = frame.f_code
            name = code.co_filename
            try:
                own = self.own[name]
            except KeyError:
                own = self._judge(name)
            if own:
                return code, frame.f_lasti
            depth += 1
            if depth == DEPTH_MAX:
                return None
            frame = frame.f_back
        return None

    def of_file(self, name: str) -> bool:
        """Whether a file is the program's own."""
        known = self.own.get(name)
        return self._judge(name) if known is None else known

    def _judge(self, name: str) -> bool:
        own = not ("site-packages" in name or name.startswith(("<", _STANDARD_LIBRARY, _OWN)))
        if len(self.own) < FILES_MAX:
            self.own[name] = own
        return own
