"""A crowd of LangGraph's users on one checkpointer and one store; nothing here knows of noclobber.

The shapes are those of LangGraph's own guides: a tool-calling loop with memory, a map-reduce over `Send`, a pause for a
person's approval, time travel, and memories in a store. Each user has a thread and does everything in order.
`shared` adds what the guides warn of: two requests on one thread, and nodes of two users that count on one item.
Arguments: `threads` or `tasks`; `apart` or `shared`; a folder.
"""

import asyncio
import operator
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send, interrupt

WAY, HOW, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
USERS, TURNS, ITEMS = 8, 5, 3
TALLY = ("office", "tally")
both_are_here = threading.Barrier(2, timeout=30)
both_have_come = asyncio.Event()
come: list[str] = []


class Work(TypedDict):
    user: str
    log: Annotated[list[str], operator.add]
    items: Annotated[list[int], operator.add]


class Item(TypedDict):
    number: int


def remember(state: Work, runtime: Runtime[Any]) -> dict[str, Any]:
    """What a user said last time is read and put back with a line more."""
    known = runtime.store.get(("users", state["user"]), "profile")
    lines = known.value["lines"] if known else []
    runtime.store.put(("users", state["user"]), "profile", {"lines": [*lines, f"turn {len(lines)}"]})
    return {"log": [f"remembered {len(lines)}"]}


def spread(state: Work) -> list[Send]:
    return [Send("work", {"number": number}) for number in range(ITEMS)]


def work(item: Item) -> dict[str, Any]:
    return {"items": [item["number"] ** 2]}


def approve(state: Work) -> dict[str, Any]:
    answer = interrupt("may it be filed?")
    return {"log": [f"approved: {answer}"]}


def file(state: Work, runtime: Runtime[Any]) -> dict[str, Any]:
    """Each filing is an item of its own."""
    runtime.store.put(("files", state["user"]), f"file-{len(state['log'])}", {"sum": sum(state["items"])})
    found = runtime.store.search(("files", state["user"]))
    return {"log": [f"filed, {len(found)} in all"]}


def office() -> StateGraph:
    builder = StateGraph(Work)
    for node in (remember, work, approve, file):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "remember")
    builder.add_conditional_edges("remember", spread, ["work"])
    builder.add_edge("work", "approve")
    builder.add_edge("approve", "file")
    builder.add_edge("file", END)
    return builder


def counting() -> StateGraph:
    """Reads a number that all users share, waits for a second one who does, and puts back one more."""

    def count(state: Work, runtime: Runtime[Any]) -> dict[str, Any]:
        known = runtime.store.get(TALLY, "all").value["count"]
        both_are_here.wait()
        runtime.store.put(TALLY, "all", {"count": known + len(state["user"])})
        return {"log": ["counted"]}

    async def acount(state: Work, runtime: Runtime[Any]) -> dict[str, Any]:
        known = (await runtime.store.aget(TALLY, "all")).value["count"]
        await meet(state["user"])
        await runtime.store.aput(TALLY, "all", {"count": known + len(state["user"])})
        return {"log": ["counted"]}

    builder = StateGraph(Work)
    builder.add_node("count", count if WAY == "threads" else acount)
    builder.add_edge(START, "count")
    builder.add_edge("count", END)
    return builder


async def meet(who: str) -> None:
    come.append(who)
    if len(come) == 2:
        both_have_come.set()
    await asyncio.wait_for(both_have_come.wait(), 30)


def place(user: str, **more: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": user, **more}}


def use(graph: Any, user: str) -> int:
    """One user's day: some turns, each paused and resumed; a look back, and one turn again from there."""
    for _ in range(TURNS):
        graph.invoke({"user": user, "log": [], "items": []}, place(user))
        graph.invoke(Command(resume="yes"), place(user))
    past = list(graph.get_state_history(place(user)))
    graph.update_state(past[len(past) // 2].config, {"log": ["corrected"]})
    graph.invoke({"user": user, "log": [], "items": []}, past[-1].config)
    return len(past)


async def ause(graph: Any, user: str) -> int:
    for _ in range(TURNS):
        await graph.ainvoke({"user": user, "log": [], "items": []}, place(user))
        await graph.ainvoke(Command(resume="yes"), place(user))
    past = [each async for each in graph.aget_state_history(place(user))]
    await graph.aupdate_state(past[len(past) // 2].config, {"log": ["corrected"]})
    await graph.ainvoke({"user": user, "log": [], "items": []}, past[-1].config)
    return len(past)


def in_threads(store: InMemoryStore) -> list[int]:
    with SqliteSaver.from_conn_string(str(FOLDER / "checkpoints.db")) as saver, ThreadPoolExecutor(USERS) as pool:
        graph = office().compile(checkpointer=saver, store=store)
        seen = list(pool.map(lambda n: use(graph, f"user-{n}"), range(USERS)))
        if HOW == "shared":
            counter = counting().compile(checkpointer=saver, store=store)
            said = {"user": "", "log": [], "items": []}
            counts = [pool.submit(counter.invoke, {**said, "user": who}, place("desk")) for who in ("ann", "brian")]
            for each in counts:
                each.result(60)
    return seen


async def in_tasks(store: InMemoryStore) -> list[int]:
    async with AsyncSqliteSaver.from_conn_string(str(FOLDER / "checkpoints.db")) as saver:
        graph = office().compile(checkpointer=saver, store=store)
        seen = list(await asyncio.gather(*(ause(graph, f"user-{n}") for n in range(USERS))))
        if HOW == "shared":
            counter = counting().compile(checkpointer=saver, store=store)
            said = {"user": "", "log": [], "items": []}
            await asyncio.gather(*(counter.ainvoke({**said, "user": who}, place("desk")) for who in ("ann", "brian")))
    return seen


shelf = InMemoryStore()
shelf.put(TALLY, "all", {"count": 10_000_100})
print(in_threads(shelf) if WAY == "threads" else asyncio.run(in_tasks(shelf)))
print(shelf.get(TALLY, "all").value["count"] - 10_000_100)
