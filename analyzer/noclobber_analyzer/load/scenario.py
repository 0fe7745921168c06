"""What one agent does, found by its name: a function of a file, of a module, or one that a part of noclobber brings.

A scenario is a function without arguments, or with one: the agent's number. Plain functions run in threads, coroutine
functions as asyncio tasks. A generator function is what `contextlib.contextmanager` takes: it starts what the agents
need, yields the agent's function, and ends it all again.
"""

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

__all__ = ["GROUP", "Scenario", "ScenarioError", "scenario"]

GROUP: Final = "noclobber.scenarios"
"""Entry points under which installed parts bring scenarios."""
DEFAULT: Final = "agent"
"""The function of a file that names none."""


class ScenarioError(Exception):
    """There is no such scenario, or it is none."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What each agent does, again and again.

    Attributes:
        task: takes the agent's number. is_async: whether it is a coroutine function.
    """

    task: Callable[[int], Any]
    is_async: bool


@contextlib.contextmanager
def scenario(name: str) -> Iterator[Scenario]:
    """The scenario called `name` (`file.py`, `file.py:function`, `module:function`, or a name that a part brings).

    Raises:
        ScenarioError: it can't be found or imported.
    """
    found = _found(name)
    if inspect.isgeneratorfunction(inspect.unwrap(found)):
        made = found if hasattr(found, "__wrapped__") else contextlib.contextmanager(found)
        with made() as task:
            yield _scenario(name, task)
    else:
        yield _scenario(name, found)


def _found(name: str) -> Any:
    place, _, function = name.partition(":")
    if place.endswith(".py"):
        return _attribute(_module_of(Path(place)), function or DEFAULT, place)
    if function:
        try:
            return _attribute(importlib.import_module(place), function, place)
        except ModuleNotFoundError as error:
            raise ScenarioError(f"there is no module '{error.name}'") from error
    brought = {each.name: each for each in entry_points(group=GROUP)}
    if name not in brought:
        known = ", ".join(sorted(brought)) or "none"
        raise ScenarioError(f"there is no scenario '{name}'. Name file.py, module:function, or one of: {known}")
    try:
        return brought[name].load()
    except ModuleNotFoundError as error:
        message = f"the scenario '{name}' needs the package '{error.name}': pip install 'noclobber[demo]'"
        raise ScenarioError(message) from error


def _module_of(path: Path) -> Any:
    spec = spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise ScenarioError(f"there is no file {path}")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))  # as for `python file.py`
    spec.loader.exec_module(module)
    return module


def _attribute(module: Any, name: str, place: str) -> Any:
    found = getattr(module, name, None)
    if not callable(found):
        raise ScenarioError(f"{place} has no function '{name}'")
    return found


def _scenario(name: str, function: Any) -> Scenario:
    try:
        takes = len(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        takes = 0
    if takes > 1:
        raise ScenarioError(f"{name} takes {takes} arguments; a scenario takes none, or the agent's number")
    is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
    return Scenario(function if takes else lambda _number: function(), is_async)
