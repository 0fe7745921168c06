"""noclobber: finds work that agents silently lose when they share state, and proves it.

Usually nothing of this is needed: `noclobber run -- python agent.py` instruments a program without a line in it.
In code: `noclobber.instrument()`, then `with noclobber.agent("planner"):`, `with noclobber.access(...)` for state
that no integration knows, `noclobber.tracked(...)` for objects shared in a process, `noclobber.lock(...)` for its
locks, and `with noclobber.guarded(...)` for writes that shall not replace what nobody has seen. Names are loaded when
they are first used, so importing this package costs next to nothing.

PYTEST_DONT_REWRITE: in a process that was instrumented before pytest began, pytest would warn that it can't.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noclobber.api import access, agent, instrument, run, step, uninstrument
    from noclobber.declarations import declare
    from noclobber.guarding.blocks import StaleWrite, Unguardable, guarded
    from noclobber.locks.named import lock
    from noclobber.pacing.chaos import chaos
    from noclobber.tracking import tracked

__all__ = [
    "StaleWrite",
    "Unguardable",
    "access",
    "agent",
    "chaos",
    "declare",
    "guarded",
    "instrument",
    "lock",
    "run",
    "step",
    "tracked",
    "uninstrument",
]

_HOME = {
    "StaleWrite": "noclobber.guarding.blocks",
    "Unguardable": "noclobber.guarding.blocks",
    "chaos": "noclobber.pacing.chaos",
    "declare": "noclobber.declarations",
    "guarded": "noclobber.guarding.blocks",
    "lock": "noclobber.locks.named",
    "tracked": "noclobber.tracking",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'noclobber' has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "noclobber.api")), name)


class _Package(ModuleType):
    """This package: `noclobber.access` is the function of that name, also once its module `access` is imported."""

    @property
    def access(self) -> Any:
        return __getattr__("access")

    @access.setter
    def access(self, module: ModuleType) -> None:
        """The import system binds each submodule here; `sys.modules` is where imports find it."""


if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _Package
