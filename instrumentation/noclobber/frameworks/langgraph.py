"""LangGraph: who acts, what a graph's store and checkpoints hold, what comes after what.

Nothing of it stands in the agent's code. Identity comes from the graph's own tasks (`langgraph_identity`), items from
every store (`langgraph_store`), checkpoints from every saver (`langgraph_savers`).
"""

from types import ModuleType
from typing import Final

from noclobber.bootstrap.registry import Integration
from noclobber.frameworks import langgraph_identity, langgraph_savers, langgraph_store
from noclobber.frameworks.langgraph_seams import LIBRARY, restore

__all__ = ["INTEGRATION"]


def install(_library: ModuleType) -> None:
    """Wrap runner, stores and savers."""
    langgraph_identity.install()
    langgraph_store.install()
    langgraph_savers.install()


INTEGRATION: Final = Integration(LIBRARY, install, restore)
