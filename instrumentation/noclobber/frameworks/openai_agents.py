"""OpenAI Agents SDK: who acts, and what sessions hold.

A run of the runner is a step of its session (the run); each turn acts as the agent whose turn it is, also after a
handoff; each tool call is a step of its own, by the id that the model gave it. Parallel tool calls are tasks, so they
are strands. Sessions are told by `openai_agents_sessions`.

Source: agents/run.py, run_internal/run_loop.py and tool_execution.py (0.24); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import scope
from noclobber.bootstrap.registry import Integration
from noclobber.frameworks import openai_agents_sessions
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "openai-agents"
_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap runner, turns, tools and sessions."""
    if not hasattr(library, "AgentRunner"):
        return  # somebody else's package `agents`
    from agents import tool
    from agents.run_internal import run_loop, tool_execution

    invoke = "_invoke_function_tool_with_metadata"
    _wrapping.wrap(
        [
            (library.AgentRunner, "run", acting(_runner)),
            (library.AgentRunner, "run_streamed", acting(_runner)),
            (library, "run_single_turn", acting(_turn)),
            (run_loop, "run_single_turn_streamed", acting(_turn_streamed)),
            (tool_execution, invoke, acting(_tool)),
            (tool, invoke, acting(_tool)),
        ]
    )
    if _wrapping:
        openai_agents_sessions.install()


def uninstall() -> None:
    """Put back what was there."""
    openai_agents_sessions.SEAMS.restore()
    _wrapping.restore()


def _runner(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    """Without a session or a conversation the outermost runner is the run: an agent as a tool goes on with it."""
    agent = args[1] if len(args) > 1 else kwargs["starting_agent"]
    run = getattr(kwargs.get("session"), "session_id", None) or kwargs.get("conversation_id")
    outer = scope.current()
    if run is None and (outer is None or outer.run is None):
        run = fresh("run")
    return Who(agent.name, run, fresh("turns"))


def _turn(_args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    return Who(kwargs["bindings"].public_agent.name)


def _turn_streamed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    bindings = kwargs["bindings"] if "bindings" in kwargs else args[1]
    return Who(bindings.public_agent.name)


def _tool(_args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    context = kwargs["context"]
    return Who(getattr(context.agent, "name", None), None, context.tool_call_id)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
