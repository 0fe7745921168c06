"""Before production: agents on shared state in interleavings that are chosen, by a seed or by hypothesis.

`interleave` runs agents once, in one order; `schedules` gives hypothesis that order to choose and to make small;
`AgentMachine` is a state machine of hypothesis whose rules are operations of agents. Each fails on a race, with the
interleaving drawn, the finding's sentence and the way out. Names are loaded when they are first used: whoever runs one
order by hand needs no hypothesis.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noclobber_analyzer.interleavings.machine import AgentMachine, operation
    from noclobber_analyzer.interleavings.outcome import Outcome, RaceFound
    from noclobber_analyzer.interleavings.running import interleave
    from noclobber_analyzer.interleavings.strategies import schedules

__all__ = ["AgentMachine", "Outcome", "RaceFound", "interleave", "operation", "schedules"]

_HOME = {
    "AgentMachine": "machine",
    "Outcome": "outcome",
    "RaceFound": "outcome",
    "interleave": "running",
    "operation": "machine",
    "schedules": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        message = f"{name} needs the package 'hypothesis': pip install 'noclobber[hypothesis]'"
        raise ModuleNotFoundError(message, name="hypothesis") from error
