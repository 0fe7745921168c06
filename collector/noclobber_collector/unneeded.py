"""Has a library that others load only if it is installed look as if it was not.

An entry of `None` in `sys.modules` would do for Python's own `import`, but compiled modules look there first and take
the `None` for the library: the first array that pyarrow made failed.
"""

import sys
from importlib.abc import MetaPathFinder

__all__ = ["do_without"]


def do_without(library: str) -> None:
    """Have each import of `library` in this process fail as if it was not installed; one that is loaded stays."""
    sys.meta_path.insert(0, _Absent(library))


class _Absent(MetaPathFinder):
    def __init__(self, library: str) -> None:
        self._library = library

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - as asked for
        """Say of the library that it is not there, and nothing of others."""
        if fullname == self._library:
            raise ModuleNotFoundError(f"No module named {fullname!r}: this process does without it", name=fullname)
