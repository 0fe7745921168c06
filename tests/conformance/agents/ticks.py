"""A newsroom that ticks: a checkpointed graph whose nodes work on three items of a store, in order.

Each tick plans, lets two nodes work side by side on items of their own, and reviews. Everything that touches the same
item is ordered by the graph. With `--raced` there is one tick more after the tenth, in which two parallel nodes count
on the same item, and both read it before either puts it back.
"""

import argparse
import asyncio
import operator
import threading
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

DESK = ("newsroom", "desk")
TICKS = 21
RACED_AFTER = 10
THREAD: RunnableConfig = {"configurable": {"thread_id": "today"}}


class State(TypedDict):
    done: Annotated[list[str], operator.add]


def read(runtime: Runtime[Any], key: str) -> dict[str, Any]:
    assert runtime.store is not None
    item = runtime.store.get(DESK, key)
    return dict(item.value) if item is not None else {}


def put(runtime: Runtime[Any], key: str, value: dict[str, Any]) -> None:
    assert runtime.store is not None
    runtime.store.put(DESK, key, value)


def plan(state: State, runtime: Runtime[Any]) -> State:
    todo = read(runtime, "plan")
    put(runtime, "plan", {"ticks": todo.get("ticks", 0) + 1, "reviewed": todo.get("reviewed", 0)})
    return {"done": ["plan"]}


def research(state: State, runtime: Runtime[Any]) -> State:
    notes = read(runtime, "notes").get("lines", [])
    put(runtime, "notes", {"lines": [*notes, f"note {len(notes)}"]})
    return {"done": ["research"]}


def publish(state: State, runtime: Runtime[Any]) -> State:
    """The page goes back and forth between two states: equal content, different times."""
    page = read(runtime, "page")
    put(runtime, "page", {"status": "closed" if page.get("status") == "open" else "open"})
    return {"done": ["publish"]}


def review(state: State, runtime: Runtime[Any]) -> State:
    read(runtime, "notes")
    read(runtime, "page")
    todo = read(runtime, "plan")
    put(runtime, "plan", {**todo, "reviewed": todo["reviewed"] + 1})
    return {"done": ["review"]}


def ticking() -> Any:
    builder = StateGraph(State)
    for node in (plan, research, publish, review):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "plan")
    for side in ("research", "publish"):
        builder.add_edge("plan", side)
        builder.add_edge(side, "review")
    builder.add_edge("review", END)
    return builder


def racing() -> Any:
    both_have_read = threading.Barrier(2, timeout=30)

    def count(runtime: Runtime[Any], by: int) -> State:
        tally = read(runtime, "tally")["count"]
        both_have_read.wait()
        put(runtime, "tally", {"count": tally + by})
        return {"done": ["count"]}

    def count_words(state: State, runtime: Runtime[Any]) -> State:
        return count(runtime, 100)

    def count_links(state: State, runtime: Runtime[Any]) -> State:
        return count(runtime, 7)

    builder = StateGraph(State)
    for node in (count_words, count_links):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
        builder.add_edge(node.__name__, END)
    return builder


def run(app: Any, *, asynchronously: bool) -> None:
    """One tick, on the thread of today."""
    if asynchronously:
        asyncio.run(app.ainvoke({"done": []}, THREAD))
    else:
        app.invoke({"done": []}, THREAD)


def work(saver: Any, store: BaseStore, *, raced: bool, asynchronously: bool) -> None:
    store.put(DESK, "tally", {"count": 0})
    tick = ticking().compile(checkpointer=saver, store=store)
    for number in range(TICKS):
        run(tick, asynchronously=asynchronously)
        if raced and number == RACED_AFTER:
            run(racing().compile(checkpointer=saver, store=store), asynchronously=asynchronously)
    found = {key: item.value for key in ("plan", "tally") if (item := store.get(DESK, key)) is not None}
    print(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="keep store and checkpoints in SQLite files there, not in memory")
    parser.add_argument("--raced", action="store_true", help="let two nodes race once")
    parser.add_argument("--asynchronously", action="store_true", help="through ainvoke")
    words = parser.parse_args()
    how = {"raced": words.raced, "asynchronously": words.asynchronously}
    if not words.folder:
        work(InMemorySaver(), InMemoryStore(), **how)
        return
    with (
        SqliteSaver.from_conn_string(f"{words.folder}/checkpoints.db") as saver,
        SqliteStore.from_conn_string(f"{words.folder}/store.db") as store,
    ):
        store.setup()
        work(saver, store, **how)


if __name__ == "__main__":
    main()
