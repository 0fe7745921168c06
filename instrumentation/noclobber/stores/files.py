"""Local files that somebody asked for: whether any is, and with that whether `open` and its kin are wrapped.

A program opens many files that nobody shares, so none is recorded unless it is named: by a declaration whose pattern
begins with `file://` (`noclobber.declare("file://*/srv/data/*")`, or a `[[resource]]` table), or by the setting
`NOCLOBBER_WATCH_FILES`. While nothing is named nothing is wrapped, and the hooks (`files_hooks`) are not even imported.

Source: capture.md, section 2 (files).
"""

from types import ModuleType
from typing import Final

from noclobber import declarations, recorder
from noclobber.bootstrap.registry import Integration
from noclobber.stores.wrapping import Wrapping

__all__ = ["INTEGRATION", "WRAPPING", "names_files"]

WRAPPING: Final = Wrapping("files")


def install(_library: ModuleType) -> None:
    """Wrap what opens and moves files as soon as some file is named."""
    declarations.on_declared(_look_again)
    _look_again()


def uninstall() -> None:
    """Put back what was there; files that are open are recorded until they are closed."""
    declarations.on_declared(None)
    WRAPPING.restore()


def _look_again() -> None:
    active = recorder.active()
    if active is None or not any(map(names_files, active.declarations.declared)):
        return
    from noclobber.stores import files_hooks

    files_hooks.forget()
    if not WRAPPING:
        WRAPPING.wrap(files_hooks.hooks())


def names_files(declared: declarations.Declaration) -> bool:
    """Whether files are recorded because of this declaration."""
    return declared.pattern.startswith("file://") and not declared.ignore


INTEGRATION: Final = Integration("files", install, uninstall)
