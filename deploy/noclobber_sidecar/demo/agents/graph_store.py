"""A LangGraph graph whose two parallel nodes work on one key of its store.

Both nodes read the balance, think, and put it back; LangGraph runs them in one superstep, so either may read while
the other thinks. `--safely lock` takes a lock on Redis around the three, so that one node waits for the other.
"""

import argparse
import contextlib
import random
import time
from typing import Any, TypedDict

import redis
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

NAMESPACE = ("bank",)


class State(TypedDict):
    """What the graph carries."""

    account: str
    longest_s: float
    locks: str | None


def think(longest_s: float) -> None:
    """Stands for a language model's call."""
    time.sleep(random.uniform(0.0, longest_s))


def turn_for(state: State) -> contextlib.AbstractContextManager[Any]:
    """A lock on this account where there is a server for locks; else nothing."""
    turn: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if state["locks"] is not None:
        turn = redis.Redis.from_url(state["locks"]).lock(f"lock:{state['account']}", timeout=30, sleep=0.02)
    return turn


def book(state: State, store: BaseStore | None, amount: int) -> dict[str, Any]:
    """Read, think, put."""
    assert store is not None, "the graph is compiled with one"
    think(state["longest_s"])
    with turn_for(state):
        item = store.get(NAMESPACE, state["account"])
        balance = item.value["balance"] if item else 0
        think(state["longest_s"])
        store.put(NAMESPACE, state["account"], {"balance": balance + amount})
    return {}


def deposit(state: State, runtime: Runtime) -> dict[str, Any]:
    """Add 50."""
    return book(state, runtime.store, 50)


def withdraw(state: State, runtime: Runtime) -> dict[str, Any]:
    """Take 20."""
    return book(state, runtime.store, -20)


def graph_over(store: BaseStore) -> Any:
    """The graph: both nodes begin at once."""
    builder = StateGraph(State)
    for node in (deposit, withdraw):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
        builder.add_edge(node.__name__, END)
    return builder.compile(store=store)


def main() -> None:
    """Run the graph once and print the balance that it ends with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--account", required=True)
    parser.add_argument("--safely", choices=["no", "lock"], default="no")
    parser.add_argument("--locks", metavar="URL", help="Redis server for the locks")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    store = InMemoryStore()
    store.put(NAMESPACE, words.account, {"balance": 100})
    graph = graph_over(store)
    locks = words.locks if words.safely == "lock" else None
    time.sleep(max(0.0, words.begin_at - time.time()))
    graph.invoke({"account": words.account, "longest_s": words.longest_s, "locks": locks})
    item = store.get(NAMESPACE, words.account)
    print(f"the balance is {item.value['balance'] if item else None}")


if __name__ == "__main__":
    main()
