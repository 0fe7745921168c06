"""Two requests for one LangGraph thread at the same time, as when a user clicks twice.

Each invoke continues the newest checkpoint of the thread. Two that run at once continue the same one: the thread
forks, and only one branch is ever resumed. `--safely lock` turns a request away while another one holds the lock of
its thread, kept on Redis; it comes again a moment later.
"""

import argparse
import contextlib
import operator
import random
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import redis
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


@contextlib.contextmanager
def turn(words: argparse.Namespace) -> Iterator[None]:
    """Holds the lock of the thread, where `--safely lock` asks for it; who finds it taken comes again."""
    if words.safely == "no":
        yield
        return
    lock = redis.Redis.from_url(words.locks).lock(f"lock:{words.thread}", timeout=30)
    while not lock.acquire(blocking=False):
        time.sleep(random.uniform(0.5, 1.0) * words.longest_s)
    try:
        yield
    finally:
        lock.release()


def main() -> None:
    """Open the thread with a balance of 100, then book two amounts at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="path of the SQLite file with the checkpoints")
    parser.add_argument("--thread", required=True)
    parser.add_argument("--safely", choices=["no", "lock"], default="no")
    parser.add_argument("--locks", metavar="URL", help="Redis server for the locks")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    builder = StateGraph(State)
    builder.add_node("book", book)
    builder.add_edge(START, "book")
    builder.add_edge("book", END)
    config: RunnableConfig = {"configurable": {"thread_id": words.thread}}
    with SqliteSaver.from_conn_string(words.database) as saver:
        graph = builder.compile(checkpointer=saver)
        graph.invoke({"bookings": [], "amount": 100, "longest_s": 0.0}, config)

        def request(amount: int) -> None:
            time.sleep(random.uniform(0.0, words.longest_s))
            with turn(words):
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
