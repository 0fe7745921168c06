"""Workflows of Microsoft's Agent Framework: who acts, and what a workflow's state holds.

An executor acts by its id; each handling of a message is a step; the run is the outermost run of workflow or agent.
Executors of one superstep run beside each other, and the runner waits for all of them before the next.

A workflow's state is one dictionary for all of its executors: what one sets the others get at once, also in the same
superstep, and the last one to set a value wins. Its values are counted (`counted`). Internal names begin with `_`.

Source: agent_framework/_workflows/_state.py, _executor.py, _runner.py (1.23); capture.md 5.
"""

import functools
import weakref
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, scope
from noclobber.bootstrap.registry import Integration
from noclobber.frameworks import places
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.frameworks.counted import Counted
from noclobber.guard import GUARD
from noclobber.resources import uri
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "agent-framework"
SYSTEM: Final = "agent_framework.state"
_wrapping = Wrapping("agent-framework-workflows")
_states: "weakref.WeakKeyDictionary[Any, Counted]" = weakref.WeakKeyDictionary()
"""Beside the states, never in them: a copy of a state is another one, and a lock can't be copied."""


@knowing("agent-framework-workflows")
def install(library: ModuleType) -> None:
    """Wrap the runner, executors, and the state of workflows."""
    from agent_framework._workflows import _executor, _state

    _wrapping.wrap(
        [
            (library.Runner, "run_until_convergence", acting(_workflow)),
            (_executor.Executor, "execute", acting(_handling)),
            (_state.State, "get", _getting),
            (_state.State, "set", _setting),
            (_state.State, "delete", _deleting),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _workflow(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    outer = scope.current()
    return Who(None, fresh("workflow") if outer is None or outer.run is None else None)


def _handling(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    return Who(str(args[0].id), None, fresh(str(args[0].id)))


# -- the state of a workflow -----------------------------------------------------------------------------------------


def _counted(state: Any, key: Any) -> Counted | None:
    """What counts the values of `state`; None where `key` is none of the program's."""
    with GUARD:
        if recorder.active() is None or not isinstance(key, str) or key.startswith("_"):
            return None
        found = _states.get(state)
        if found is None:
            name = functools.partial(uri, LIBRARY, "state", places.of_object(state))
            has = weakref.WeakMethod(state.has)
            found = _states.setdefault(state, Counted(LIBRARY, SYSTEM, name, lambda key: _has(has, key)))
        return found
    return None


def _has(has: "weakref.WeakMethod[Any]", key: str) -> bool:
    method = has()
    return method is not None and bool(method(key))


def _getting(original: Any) -> Any:
    def get(self: Any, key: Any, default: Any = None) -> Any:
        counted = _counted(self, key)
        return (
            original(self, key, default) if counted is None else counted.got(key, lambda: original(self, key, default))
        )

    return get


def _setting(original: Any) -> Any:
    def put(self: Any, key: Any, value: Any) -> None:
        counted = _counted(self, key)
        if counted is None:
            original(self, key, value)
        else:
            counted.set(key, lambda: original(self, key, value))

    return put


def _deleting(original: Any) -> Any:
    def delete(self: Any, key: Any) -> None:
        counted = _counted(self, key)
        if counted is None:
            original(self, key)
        else:
            counted.deleted(key, lambda: original(self, key))

    return delete


INTEGRATION: Final = Integration("agent-framework-workflows", install, uninstall)
