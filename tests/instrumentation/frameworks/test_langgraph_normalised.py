"""Values that LangGraph's stores and checkpointers give back otherwise than they got them: tuples, dates, keys.

Two agents that take turns, handed on by a queue of which capture knows nothing, are no finding; racers are.
"""

import contextlib
import datetime as dt
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from driver_stage import Reads, Writes, findings, race, turns
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from noclobber.testing import capture

VALUES: list[dict[str, Any]] = [
    {"pair": (1_000_001, 2), "deep": {"list": [(1, "a"), (2, "b")]}},
    {"when": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "price": 1.10},
    {"mixed": (1, 2.0, "three", None, True), "more": ((), [()])},
]
Opens = Callable[[], tuple[Reads, Writes, Callable[[], None]]]


@contextlib.contextmanager
def stores(kind: str, folder: Path) -> Iterator[Opens]:
    """Opens a store: one in memory for all, or each a connection of its own to one file."""
    shared = InMemoryStore()

    def open_one() -> tuple[Reads, Writes, Callable[[], None]]:
        stack = contextlib.ExitStack()
        store: Any = shared
        if kind == "sqlite":
            store = stack.enter_context(SqliteStore.from_conn_string(str(folder / "store.db")))
        return lambda: store.get(("a",), "k"), lambda value: store.put(("a",), "k", value), stack.close

    if kind == "sqlite":
        with SqliteStore.from_conn_string(str(folder / "store.db")) as store:
            store.setup()
    yield open_one


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_turns_in_a_store(kind: str, tmp_path: Path) -> None:
    """A tuple comes back as a list, a date as a text."""
    with stores(kind, tmp_path) as open_one, capture(fixed=False) as captured:
        turns(open_one, VALUES * 2)
    assert len([each for each in captured.accesses if each["noclobber.op"] == "write"]) == 6
    found = findings(captured, tmp_path)
    assert [each for each in found if each[1] != "possible"] == []
    if kind == "sqlite":
        assert found == []  # in memory it is known what was replaced, so that an agent's older reads are candidates


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_races_in_a_store(kind: str, tmp_path: Path) -> None:
    """The twin that loses something is found all the same."""
    with stores(kind, tmp_path) as open_one, capture(fixed=False) as captured:
        race(open_one, VALUES[:2])
    assert [kind for kind, _ in findings(captured, tmp_path)] == ["lost_update"]


class Notes(TypedDict):
    """A channel that is replaced, and one that grows."""

    pair: tuple[Any, ...]
    seen: Annotated[list[Any], operator.add]


def graph_of(saver: Any) -> Any:
    def work(state: Notes) -> Notes:
        return {"pair": (*state["pair"], (1, 2)), "seen": [state["pair"]]}

    return StateGraph(Notes).add_node("work", work).add_edge(START, "work").compile(checkpointer=saver)


@contextlib.contextmanager
def threads(kind: str, folder: Path) -> Iterator[Opens]:
    """Opens a graph over one thread of a checkpointer."""
    config: Any = {"configurable": {"thread_id": "1"}}
    shared = InMemorySaver()

    def open_one() -> tuple[Reads, Writes, Callable[[], None]]:
        stack = contextlib.ExitStack()
        saver: Any = shared
        if kind == "sqlite":
            saver = stack.enter_context(SqliteSaver.from_conn_string(str(folder / "saver.db")))
        graph = graph_of(saver)
        return lambda: graph.get_state(config).values, lambda value: graph.invoke(value, config), stack.close

    if kind == "sqlite":
        with SqliteSaver.from_conn_string(str(folder / "saver.db")) as saver:
            saver.setup()
    yield open_one


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_turns_on_a_thread(kind: str, tmp_path: Path) -> None:
    """A checkpoint keeps a tuple its own way; each run goes on from the one before."""
    values = [{"pair": (1_000_001, (2, 3)), "seen": [("a",)]}, {"pair": (1_000_002,), "seen": []}]
    with threads(kind, tmp_path) as open_one, capture(fixed=False) as captured:
        turns(open_one, values * 2)
    assert any(each["noclobber.resource"].startswith("langgraph://checkpoint/") for each in captured.accesses)
    assert findings(captured, tmp_path) == []
