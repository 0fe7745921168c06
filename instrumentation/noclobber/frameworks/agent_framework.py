"""Agents of Microsoft's Agent Framework: an agent acts by its name, each tool call is a step.

The run is the agent's session, else the outermost run of agent or workflow. Tool calls of one turn run beside each
other, as tasks. Workflows are told by `agent_framework_workflows`.

Source: agent_framework/_agents.py, _tools.py (1.23); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import scope
from noclobber.bootstrap.registry import Integration
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "agent-framework"
_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap agents and tools."""
    from agent_framework import _tools

    _wrapping.wrap([(library.RawAgent, "run", acting(_agent)), (_tools.FunctionTool, "invoke", acting(_tool))])


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _agent(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    outer = scope.current()
    run = getattr(kwargs.get("session"), "session_id", None)
    if run is None and (outer is None or outer.run is None):
        run = fresh("run")
    return Who(args[0].name or args[0].id, run, fresh("turns"))


def _tool(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    return Who(None, None, kwargs.get("tool_call_id") or fresh(str(args[0].name)))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
