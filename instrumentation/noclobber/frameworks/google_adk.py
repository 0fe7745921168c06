"""Google ADK: who acts. An agent by its name, the session is the run, an invocation a step, and so is each tool call.

An invocation's agents run inside the runner's generator; what they change of a session's state is written by the
runner when it appends their events, in the invocation's step. What session services keep is told by
`google_adk_sessions`.

Source: google/adk/runners.py, agents/base_agent.py, tools/function_tool.py (2.13); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.frameworks import google_adk_sessions
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "google-adk"
_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap runners, agents, tools and session services."""
    from google.adk.agents.base_agent import BaseAgent
    from google.adk.sessions.base_session_service import BaseSessionService
    from google.adk.tools.function_tool import FunctionTool

    _wrapping.wrap(
        [
            (library.Runner, "run_async", acting(_invocation)),
            (BaseAgent, "run_async", acting(_agent)),
            (FunctionTool, "run_async", acting(_tool)),
        ]
    )
    if _wrapping:
        google_adk_sessions.install(BaseSessionService)


def uninstall() -> None:
    """Put back what was there."""
    google_adk_sessions.SEAMS.restore()
    _wrapping.restore()


def _invocation(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    agent = getattr(args[0], "agent", None)
    return Who(getattr(agent, "name", None), kwargs["session_id"], kwargs.get("invocation_id") or fresh("invocation"))


def _agent(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    return Who(args[0].name)


def _tool(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    context = kwargs["tool_context"]
    return Who(context.agent_name, None, context.function_call_id or fresh(args[0].name))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
