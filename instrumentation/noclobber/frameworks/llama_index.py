"""LlamaIndex workflows: who acts. A step acts by its name, in the workflow's run; each execution is a step of its own.

Steps that wait for one event run beside each other, as tasks of the workflow's loop, which waits for each before it
starts what comes of it: the strands of `noclobber.tasks` see both. What the context's store holds is told by
`llama_index_store`.

Source: workflows/runtime/types/step_function.py, plugins/basic.py (llama-index-workflows 2.26); capture.md 5.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.frameworks import llama_index_store
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "llama-index-workflows"
_wrapping = Wrapping(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap what makes a workflow's functions its steps, and its stores."""
    if not hasattr(library, "Workflow"):
        return  # somebody else's package `workflows`
    from workflows.context import state_store
    from workflows.runtime.types import step_function

    _wrapping.wrap(
        [
            (step_function, "as_step_worker_function", _made),
            *llama_index_store.hooks(getattr(state_store, "StateStoreFacade", state_store)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _made(original: Any) -> Any:
    def as_step_worker_function(func: Any) -> Any:
        return acting(_step)(original(func))

    return as_step_worker_function


def _step(_args: tuple[Any, ...], kwargs: dict[str, Any]) -> Who:
    from workflows.plugins.basic import get_current_run_id

    name = str(kwargs["step_name"])
    return Who(name, get_current_run_id(), fresh(name))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
