# ruff: noqa: INP001, S311  a program of its own, in no package; its random pauses guard no secret
"""Two requests for one LangGraph thread at the same time, as when a user clicks twice.

Each invoke continues the newest checkpoint of the thread. Two that run at once continue the same one: the thread
forks, and only one branch is ever resumed. `--safely one-at-a-time` keeps a lock for each thread.
"""

import argparse
import contextlib
import operator
import random
import threading
import time
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """What a thread remembers: the bookings so far."""

    bookings: Annotated[list[int], operator.add]
    amount: int
    longest_s: float


def book(state: State) -> dict[str, Any]:
    """Think, then book the amount."""
    time.sleep(random.uniform(0.0, state["longest_s"]))
    return {"bookings": [state["amount"]]}


def main() -> None:
    """Open the thread with a balance of 100, then book two amounts at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="path of the SQLite file with the checkpoints")
    parser.add_argument("--thread", required=True)
    parser.add_argument("--safely", choices=["no", "one-at-a-time"], default="no")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    builder = StateGraph(State)
    builder.add_node("book", book)
    builder.add_edge(START, "book")
    builder.add_edge("book", END)
    config: RunnableConfig = {"configurable": {"thread_id": words.thread}}
    turn: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if words.safely == "one-at-a-time":
        turn = threading.Lock()
    with SqliteSaver.from_conn_string(words.database) as saver:
        graph = builder.compile(checkpointer=saver)
        graph.invoke({"bookings": [], "amount": 100, "longest_s": 0.0}, config)

        def request(amount: int) -> None:
            time.sleep(random.uniform(0.0, words.longest_s))
            with turn:
                graph.invoke({"bookings": [], "amount": amount, "longest_s": words.longest_s}, config)

        time.sleep(max(0.0, words.begin_at - time.time()))
        requests = [threading.Thread(target=request, args=(amount,)) for amount in (50, -20)]
        for each in requests:
            each.start()
        for each in requests:
            each.join()
        bookings = graph.get_state(config).values["bookings"]
        print(f"bookings {bookings}, balance {sum(bookings)}")


if __name__ == "__main__":
    main()
