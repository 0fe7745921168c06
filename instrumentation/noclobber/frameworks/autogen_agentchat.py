"""AgentChat, on top of AutoGen's runtime: an assistant acts under its name, also outside a team.

In a team the messages of the runtime are the steps (`autogen`); outside one the outermost run is the run. Tool calls
are steps, and run beside each other.

Source: autogen_agentchat/agents/_assistant_agent.py (0.7); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import scope
from noclobber.bootstrap.registry import Integration
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "autogen-agentchat"
_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap what an assistant says and does."""
    _wrapping.wrap([(library.AssistantAgent, "on_messages_stream", acting(_assistant))])


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _assistant(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    outer = scope.current()
    return Who(args[0].name, fresh("run") if outer is None or outer.run is None else None)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
