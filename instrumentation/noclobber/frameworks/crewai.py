"""CrewAI: who acts. A flow's method, a task's agent by its role; tool calls are steps.

In a flow the method is the agent (as a graph's node is), the flow's id the run, each execution of a method a step. In a
crew the agent that works on a task acts by its role, the outermost kickoff is the run, the task's execution and each
tool call are steps. Methods that listen to one event run beside each other, async tasks in threads: they are strands.
What a flow's state holds is told by `crewai_state`.

Source: crewai/flow/runtime, crewai/task.py, crewai/tools (1.15); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import scope
from noclobber.bootstrap.registry import Integration
from noclobber.frameworks import crewai_state
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.frameworks.hidden import hide
from noclobber.frameworks.seams import Seams
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "crewai"
_wrapping = Wrapping(LIBRARY)
_seams = Seams(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap methods, tasks and tools, and the state of flows."""
    from crewai.flow import runtime
    from crewai.memory.storage.kickoff_task_outputs_storage import KickoffTaskOutputsSQLiteStorage
    from crewai.task import Task
    from crewai.tools.base_tool import BaseTool, Tool
    from crewai.tools.structured_tool import CrewStructuredTool

    kickoff, tool = acting(_kickoff), acting(_tool)
    _wrapping.wrap(
        [
            (runtime.Flow, "_execute_method", acting(_method)),
            (library.Crew, "kickoff", kickoff),
            (library.Crew, "akickoff", kickoff),
            (Task, "_execute_core", acting(_task)),
            (Task, "_aexecute_core", acting(_task)),
            (BaseTool, "run", tool),
            (BaseTool, "arun", tool),
            (Tool, "run", tool),
            (Tool, "arun", tool),
            (CrewStructuredTool, "invoke", tool),
            (CrewStructuredTool, "ainvoke", tool),
        ]
    )
    if _wrapping and isinstance(vars(runtime.Flow).get("state"), property):
        crewai_state.install(runtime.Flow)
        hide(_seams, KickoffTaskOutputsSQLiteStorage, ("_initialize_db", "add", "update", "load", "delete_all"))


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()
    crewai_state.uninstall()
    _seams.restore()


def _method(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who | None:
    if type(args[0]).__module__.startswith("crewai."):
        return None  # the framework runs its own agents and memories as flows
    flow, name = args[0], str(args[1] if len(args) > 1 else kwargs["method_name"])
    return Who(name, str(flow.flow_id) or None, fresh(name))


def _kickoff(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who | None:
    outer = scope.current()
    return Who(None, fresh("crew")) if outer is None or outer.run is None else None


def _task(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    task = args[0]
    agent = (args[1] if len(args) > 1 else kwargs.get("agent")) or task.agent
    role = getattr(agent, "role", None)
    return Who(role.strip() if role else None, None, fresh(str(task.name or "task")))


def _tool(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    return Who(None, None, fresh(str(args[0].name)))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
