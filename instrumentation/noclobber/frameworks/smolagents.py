"""smolagents: who acts. An agent by its name, each outermost run a run, each tool call a step.

Tool calls of one turn run beside each other in an executor of the framework's, so they are strands; a code agent calls
its tools from the code that its model wrote, all in the turn that the code belongs to, which is the step then. A
managed agent acts under its own name, in the run of whoever asked it.

smolagents keeps no state that agents share: memories belong to one agent each.

Source: smolagents/agents.py (1.26); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import scope
from noclobber.bootstrap.registry import Integration
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "smolagents"
_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap runs, turns and tool calls."""
    _wrapping.wrap(
        [
            (library.MultiStepAgent, "_run_stream", acting(_run)),
            (library.ToolCallingAgent, "_step_stream", acting(_turn)),
            (library.CodeAgent, "_step_stream", acting(_turn)),
            (library.ToolCallingAgent, "execute_tool_call", acting(_tool)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _run(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    outer = scope.current()
    run = fresh("run") if outer is None or outer.run is None else None
    return Who(args[0].name, run)


def _turn(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    step = args[1] if len(args) > 1 else kwargs["memory_step"]
    return Who(args[0].name, None, fresh(f"turn-{step.step_number}"))


def _tool(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    """The framework does not tell here which call it is, so each has a number of ours."""
    tool = args[1] if len(args) > 1 else kwargs["tool_name"]
    return Who(args[0].name, None, fresh(str(tool)))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
