"""langgraph#6728: two runs of one thread both go on from its last checkpoint; only one of the two lines is resumed.

Argument: path of a SQLite database. Mended: one run of a thread at a time.
"""

import contextlib
import operator
import sqlite3
import sys
import threading
import time
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

HOW = "plain"
(PATH,) = sys.argv[1:]
THREAD = {"configurable": {"thread_id": "t-88"}}
turn = threading.Lock()


class Conversation(TypedDict):
    """What a thread keeps."""

    notes: Annotated[list[str], operator.add]


def answer(_: Conversation) -> Conversation:
    """The one node."""
    return {"notes": ["answered"]}


def ask(graph, question: str) -> None:
    """One run of the thread."""
    with turn if HOW == "mended" else contextlib.nullcontext():
        graph.invoke({"notes": [question]}, THREAD)


connection = sqlite3.connect(PATH, check_same_thread=False)
connection.execute("PRAGMA synchronous = OFF")
connection.executescript("DROP TABLE IF EXISTS checkpoints; DROP TABLE IF EXISTS writes")
builder = StateGraph(Conversation)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
conversation = builder.compile(checkpointer=SqliteSaver(connection))
ask(conversation, "hello")
threads = [
    threading.Thread(target=ask, args=(conversation, question), name=f"run-{question}")
    for question in ("when", "where")
]
for thread in threads:
    thread.start()
    time.sleep(0.05)  # luck: the one is done before the other begins
for thread in threads:
    thread.join()
connection.close()
