"""Agents that take turns, so that a program meets one interleaving each time; nothing orders them otherwise.

An agent is a generator: what it does between two `yield`s is one turn. Each runs in a thread of its own, as the one
node of a LangGraph graph, which makes all of its turns one step.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

__all__ = ["TIMEOUT_S", "Agent", "play"]

TIMEOUT_S = 20
Agent = Callable[[], Iterator[None]]


class Nothing(TypedDict):
    """The graph's state: what the agents share is elsewhere."""


def _run(name: str, agent: Agent, left: list[str]) -> None:
    """Take each turn of `name`, whenever it stands first in what is left; a look every now and then is no order."""

    def node(_: Nothing) -> Nothing:
        turns = agent()
        while name in left:
            if left[0] == name:
                try:
                    next(turns, None)
                finally:
                    left.pop(0)
            time.sleep(0.0005)
        return {}

    graph = StateGraph(Nothing)
    graph.add_node(name, node)
    graph.add_edge(START, name)
    graph.add_edge(name, END)
    graph.compile().invoke({})


def play(order: str, **agents: Agent) -> None:
    """Run the agents, one turn after another.

    Args:
        order: one letter for each turn, as `ABBA`.
        agents: by letter.
    """
    left = list(order)
    threads = [threading.Thread(target=_run, args=(name, agent, left), daemon=True) for name, agent in agents.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
