# ruff: noqa: INP001, S311  a program of its own, in no package; its random pauses guard no secret
"""A LangGraph graph whose two parallel nodes work on one key of its store.

Both nodes read the balance, think, and put it back; LangGraph runs them in one superstep, so either may read while
the other thinks. `--safely reducer` lets the graph add the amounts (a channel with a reducer), which loses nothing.
"""

import argparse
import operator
import random
import time
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

NAMESPACE = ("bank",)


class State(TypedDict):
    """What the graph carries; `balance` adds up what nodes return."""

    account: str
    longest_s: float
    balance: Annotated[int, operator.add]


def think(longest_s: float) -> None:
    """Stands for a language model's call."""
    time.sleep(random.uniform(0.0, longest_s))


def book(state: State, store: BaseStore | None, amount: int) -> None:
    """Read, think, put."""
    assert store is not None, "the graph is compiled with one"
    think(state["longest_s"])
    item = store.get(NAMESPACE, state["account"])
    balance = item.value["balance"] if item else 0
    think(state["longest_s"])
    store.put(NAMESPACE, state["account"], {"balance": balance + amount})


def deposit(state: State, runtime: Runtime) -> dict[str, int]:
    """Add 50 through the store."""
    book(state, runtime.store, 50)
    return {}


def withdraw(state: State, runtime: Runtime) -> dict[str, int]:
    """Take 20 through the store."""
    book(state, runtime.store, -20)
    return {}


def deposit_safely(state: State) -> dict[str, int]:
    """Add 50 through the reducer."""
    think(state["longest_s"])
    return {"balance": 50}


def withdraw_safely(state: State) -> dict[str, int]:
    """Take 20 through the reducer."""
    think(state["longest_s"])
    return {"balance": -20}


def main() -> None:
    """Run the graph once and print the balance that it ends with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--account", required=True)
    parser.add_argument("--safely", choices=["no", "reducer"], default="no")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    builder = StateGraph(State)
    safely = words.safely == "reducer"
    builder.add_node("deposit", deposit_safely if safely else deposit)
    builder.add_node("withdraw", withdraw_safely if safely else withdraw)
    for node in ("deposit", "withdraw"):
        builder.add_edge(START, node)
        builder.add_edge(node, END)
    store = InMemoryStore()
    store.put(NAMESPACE, words.account, {"balance": 100})
    graph = builder.compile(store=store)
    time.sleep(max(0.0, words.begin_at - time.time()))
    end = graph.invoke({"account": words.account, "longest_s": words.longest_s, "balance": 100})
    item = store.get(NAMESPACE, words.account)
    print(f"balance {end['balance'] if safely else item.value['balance'] if item else None}")


if __name__ == "__main__":
    main()
