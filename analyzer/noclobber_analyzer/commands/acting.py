"""Commands that do one of several tasks with a store, in somebody's name."""

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from noclobber.cli import CommandError
from noclobber_analyzer.commands.stores import opened

if TYPE_CHECKING:
    from noclobber_analyzer.tables import Store

__all__ = ["Task", "done", "wall_ns"]

Task = Callable[["Store", argparse.Namespace], int]
"""Does what was typed; returns the exit code."""


def done(words: argparse.Namespace, tasks: Mapping[str, Task]) -> int:
    """Do the task `words.what`, as `words.actor` or whoever sits at the terminal.

    Raises:
        CommandError: the store is not there, or what was typed can't be done.
    """
    from noclobber_analyzer.alerts.audit import terminal

    words.actor = words.actor or terminal()
    with opened(words) as store:
        try:
            return tasks[words.what](store, words)
        except ValueError as error:
            raise CommandError(str(error)) from error


def wall_ns() -> int:
    """Wall time."""
    from noclobber_analyzer.clock import SYSTEM

    return SYSTEM.now_ns()
