"""langgraph#8115: parallel nodes read the list of what is pending, add their own, and put the list back whole.

Mended: each node has an item of its own.
"""

import time
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.store.memory import InMemoryStore

HOW = "plain"
RUN = ("runs", "r-1")


class Nothing(TypedDict):
    """The graph's state: what the nodes share is in the store."""


def put_write(task: str) -> None:
    """Tell what a task has written."""
    store = get_runtime().store
    if HOW == "mended":
        store.put((*RUN, "pending"), task, {"write": f"{task} is done"})
        return
    item = store.get(RUN, "pending")
    writes = item.value["writes"] if item is not None else []
    store.put(RUN, "pending", {"writes": [*writes, f"{task} is done"]})


def search(_: Nothing) -> Nothing:
    """A node."""
    put_write("search")
    return {}


def basket(_: Nothing) -> Nothing:
    """A node beside it."""
    time.sleep(0.03)  # luck
    put_write("basket")
    return {}


builder = StateGraph(Nothing)
for node in (search, basket):
    builder.add_node(node.__name__, node)
    builder.add_edge(START, node.__name__)
    builder.add_edge(node.__name__, END)
shared = InMemoryStore()
shared.put(RUN, "pending", {"writes": ["the plan is made"]})
builder.compile(store=shared).invoke({})
