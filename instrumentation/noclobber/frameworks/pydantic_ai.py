"""Pydantic AI: who acts.

A tool call acts as its agent; the conversation is the run, the call's id the step. Tools of one turn run as tasks, so
they are strands.

Source: pydantic_ai/tool_manager.py, _system_prompt.py (2.68); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.frameworks.acting import Who, acting
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pydantic-ai"

_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap tool calls and prompt functions."""
    from pydantic_ai import _system_prompt

    _wrapping.wrap(
        [
            (library.ToolManager, "_run_execute_hooks", acting(_tool)),
            (_system_prompt.SystemPromptRunner, "run", acting(_prompt)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _who(context: Any, step: str | None) -> Who:
    run = getattr(context, "conversation_id", None) or getattr(context, "run_id", None)
    return Who(getattr(context.agent, "name", None), run, step)


def _tool(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    validated = args[1] if len(args) > 1 else kwargs["validated"]
    return _who(validated.ctx, validated.call.tool_call_id)


def _prompt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    return _who(args[1] if len(args) > 1 else kwargs["run_context"], None)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
