"""Checkpoints, recorded: each run of a graph is a chain; two runs at once are a fork, time travel is none."""

import asyncio
import operator
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Durability, RetryPolicy, interrupt
from tests.instrumentation.frameworks.recorded import of

from noclobber.frameworks import langgraph_identity, langgraph_invokes, langgraph_savers
from noclobber.guard import GUARD
from noclobber.testing import Captured

THREAD: RunnableConfig = {"configurable": {"thread_id": "t/1"}}
DURABILITIES: list[Durability] = ["sync", "async", "exit"]


class State(TypedDict):
    log: Annotated[list[str], operator.add]


Saver = BaseCheckpointSaver[Any]


def graph(saver: Any, *nodes: Callable[..., Any], **settings: Any) -> Any:
    """The nodes in a row."""
    builder: Any = StateGraph(State)
    names = [node.__name__ for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        builder.add_node(name, node, **settings)
    for one, other in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(one, other)
    return builder.compile(checkpointer=saver)


def think(state: State) -> State:
    return {"log": ["thought"]}


def act(state: State) -> State:
    return {"log": ["acted"]}


@contextmanager
def saver_of(kind: str, folder: Path) -> Iterator[Saver]:
    if kind == "memory":
        yield InMemorySaver()
    else:
        with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            yield saver


@asynccontextmanager
async def asaver_of(kind: str, folder: Path) -> AsyncIterator[Saver]:
    if kind == "memory":
        yield InMemorySaver()
    else:
        async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            yield saver


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, captured: Captured, tmp_path: Path) -> Iterator[Saver]:
    """A saver of each kind, made while noclobber is on."""
    with saver_of(request.param, tmp_path) as made:
        yield made


def puts(captured: Captured) -> list[dict[str, Any]]:
    return [access for access in of(captured) if access["op"] == "write"]


def forks(writes: Sequence[dict[str, Any]]) -> int:
    """How many checkpoints have several children on one branch."""
    families = Counter((w["resource"], w["version.base"], w.get("branch")) for w in writes)
    return sum(count > 1 for count in families.values())


def older_state(app: Any) -> RunnableConfig:
    """The checkpoint between `think` and `act`."""
    config: RunnableConfig = next(state.config for state in app.get_state_history(THREAD) if state.next == ("act",))
    return config


def assert_chain(writes: Sequence[dict[str, Any]], first: str = "absent") -> None:
    """Each put continues the one before it."""
    bases = [write["version.base"] for write in writes]
    assert bases == [first, *(write["version.written"] for write in writes[:-1])]
    assert all(write["version.base.source"] == "explicit" for write in writes)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_invokes_one_after_the_other_are_one_chain(saver: Saver, captured: Captured, durability: Durability) -> None:
    """Input, loop steps and the next invoke: each checkpoint is a put on the one before it, and knows who made that."""
    app = graph(saver, think, act)
    for _ in range(2):
        app.invoke({"log": ["asked"]}, THREAD, durability=durability)
    accesses = of(captured)
    writes = [access for access in accesses if access["op"] == "write"]
    reads = [access for access in accesses if access["op"] == "read"]
    assert len(writes) == (2 if durability == "exit" else 8)
    assert_chain(writes)
    assert {(w["write.mode"], w["version.kind"], w["system"], w["run"], w["outcome"]) for w in writes} == {
        ("insert", "chain", "langgraph.checkpoint", "t/1", "ok")
    }
    assert {access["resource"] for access in accesses} == {writes[0]["resource"]}
    assert writes[0]["resource"].endswith("/t%2F1")
    assert [(r["outcome"], r["version.read"]) for r in reads] == [
        ("not_found", "absent"),
        ("ok", writes[len(writes) // 2 - 1]["version.written"]),
    ]
    by_place = {(access["strand"], access["seq"]): access for access in accesses}
    for write in writes:
        came_from = by_place[write["version.base.strand"], write["version.base.seq"]]
        assert write["version.base"] in (came_from.get("version.read"), came_from.get("version.written"))
        assert write["code.function.name"] == "test_invokes_one_after_the_other_are_one_chain"
    assert not any("branch" in access for access in accesses)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_async_invokes_are_one_chain(
    captured: Captured, tmp_path: Path, kind: str, durability: Durability
) -> None:
    """The same through `ainvoke` and the savers' async methods."""
    async with asaver_of(kind, tmp_path) as saver:
        app = graph(saver, think, act)
        for _ in range(2):
            await app.ainvoke({"log": ["asked"]}, THREAD, durability=durability)
    writes = puts(captured)
    assert len(writes) == (2 if durability == "exit" else 8)
    assert_chain(writes)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_two_invokes_at_once_are_a_fork(saver: Saver, captured: Captured, durability: Durability) -> None:
    """Both have read the same checkpoint when each puts its own on it."""
    both_in = threading.Barrier(2, timeout=20)

    class Meeting(type(saver)):  # type: ignore[misc]
        def get_tuple(self, config: RunnableConfig) -> Any:
            found = super().get_tuple(config)
            if meets:
                both_in.wait()
            return found

    meets = False
    saver.__class__ = Meeting
    app = graph(saver, think)
    app.invoke({"log": ["asked"]}, THREAD, durability=durability)
    before = puts(captured)
    meets = True
    threads = [
        threading.Thread(target=app.invoke, args=({"log": ["asked"]}, THREAD), kwargs={"durability": durability})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    writes = puts(captured)
    children = [write for write in writes if write["version.base"] == before[-1]["version.written"]]
    assert (forks(before), forks(writes), len(children)) == (0, 1, 2)
    assert children[0]["strand"] != children[1]["strand"]
    assert children[0]["version.written"] != children[1]["version.written"]


async def test_two_async_invokes_at_once_are_a_fork(captured: Captured, tmp_path: Path) -> None:
    """`gather` of two `ainvoke`s on one thread, the first of which waits for the second inside its node."""
    async with asaver_of("sqlite", tmp_path) as saver:
        started = asyncio.Barrier(2)

        async def meet(state: State) -> State:
            await asyncio.wait_for(started.wait(), 20)
            return {"log": ["met"]}

        app = graph(saver, think)
        await app.ainvoke({"log": ["asked"]}, THREAD)
        assert forks(puts(captured)) == 0
        app = graph(saver, meet)
        await asyncio.gather(*(app.ainvoke({"log": ["asked"]}, THREAD, durability="exit") for _ in range(2)))
    assert forks(puts(captured)) == 1


def test_time_travel_is_a_branch(saver: Saver, captured: Captured) -> None:
    """Going on from an older checkpoint by its id, twice, makes children of that one on branches of their own."""
    app = graph(saver, think, act)
    app.invoke({"log": ["asked"]}, THREAD)
    line = puts(captured)
    older = older_state(app)
    app.invoke(None, older)
    app.invoke({"log": ["asked again"]}, older)
    writes = puts(captured)
    assert forks(writes) == 0
    branches = {write["branch"] for write in writes[len(line) :]}
    assert len(branches) == 2
    from_older = [w for w in writes if w["version.base"] == older["configurable"]["checkpoint_id"]]
    assert [("branch" in write) for write in from_older] == [False, True, True]
    app.invoke({"log": ["more"]}, THREAD)
    assert "branch" not in puts(captured)[-1]
    assert forks(puts(captured)) == 0


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_async_time_travel_is_a_branch(captured: Captured, tmp_path: Path, kind: str) -> None:
    """The same through the async methods."""
    async with asaver_of(kind, tmp_path) as saver:
        app = graph(saver, think, act)
        await app.ainvoke({"log": ["asked"]}, THREAD)
        older = await anext(state.config async for state in app.aget_state_history(THREAD) if state.next == ("act",))
        await app.ainvoke(None, older)
        await app.aupdate_state(older, {"log": ["corrected"]})
    writes = puts(captured)
    assert forks(writes) == 0
    assert len({write["branch"] for write in writes if "branch" in write}) == 2


def test_naming_the_newest_checkpoint_is_no_branch(saver: Saver, captured: Captured) -> None:
    """An id that is the newest anyway: two that go on from there would be a fork."""
    app = graph(saver, think)
    app.invoke({"log": ["asked"]}, THREAD)
    newest = app.get_state(THREAD).config
    app.invoke({"log": ["again"]}, newest)
    newest = app.get_state(THREAD).config
    app.update_state(newest, {"log": ["corrected"]})
    writes = puts(captured)
    assert_chain(writes)
    assert not any("branch" in write for write in writes)


def test_an_update_of_an_older_state_is_a_branch(saver: Saver, captured: Captured) -> None:
    """`update_state` with the id of an older checkpoint."""
    app = graph(saver, think, act)
    app.invoke({"log": ["asked"]}, THREAD)
    older = older_state(app)
    app.update_state(older, {"log": ["corrected"]})
    app.invoke(None, THREAD)
    writes = puts(captured)
    assert forks(writes) == 0
    assert sum("branch" in write for write in writes) == 1


@pytest.mark.parametrize("durability", DURABILITIES)
def test_an_interrupt_and_its_resume_are_one_chain(saver: Saver, captured: Captured, durability: Durability) -> None:
    """A person answers in between; the node runs again from its checkpoint."""

    def ask(state: State) -> State:
        return {"log": [interrupt("well?")]}

    app = graph(saver, think, ask, act)
    app.invoke({"log": ["asked"]}, THREAD, durability=durability)
    app.invoke(Command(resume="yes"), THREAD, durability=durability)
    assert_chain(puts(captured))


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_failed_run_and_the_next_are_one_chain(saver: Saver, captured: Captured, durability: Durability) -> None:
    """A node raises; the run is then taken up again, and then another begins."""
    failing = True

    def fail(state: State) -> State:
        if failing:
            raise ValueError("no")
        return {"log": ["done"]}

    app = graph(saver, think, fail)
    with pytest.raises(ValueError, match="no"):
        app.invoke({"log": ["asked"]}, THREAD, durability=durability)
    failing = False
    app.invoke(None, THREAD, durability=durability)
    app.invoke({"log": ["again"]}, THREAD, durability=durability)
    assert_chain(puts(captured))


@pytest.mark.parametrize("stateful", [None, True])
@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_graph_inside_a_node_has_a_chain_of_its_own(
    saver: Saver, captured: Captured, durability: Durability, stateful: bool | None
) -> None:
    """Nested checkpoints lie under their namespace; a second try, a second run and time travel make no fork there."""
    tries = iter([True, False, False, False, False, False])

    def shaky(state: State) -> State:
        if next(tries):
            raise ConnectionError("try again")
        return {"log": ["inner"]}

    builder = StateGraph(State)
    builder.add_node("shaky", shaky)
    builder.add_edge(START, "shaky")
    builder.add_edge("shaky", END)
    inner = builder.compile(checkpointer=stateful)

    def outer(state: State, config: RunnableConfig) -> State:
        return inner.invoke({"log": ["in"]}, config)  # type: ignore[return-value]

    app = graph(saver, think, outer, retry_policy=RetryPolicy(initial_interval=0.001, retry_on=ConnectionError))
    for _ in range(2):
        app.invoke({"log": ["asked"]}, THREAD, durability=durability)
    states = [state for state in app.get_state_history(THREAD) if state.next == ("outer",)]
    if states:
        app.invoke(None, states[-1].config, durability=durability)
    writes = puts(captured)
    assert forks(writes) == 0
    assert any("/outer" in write["resource"] for write in writes)
    assert all(write["run"] == "t/1" for write in writes)


def test_a_saver_that_delegates_counts_once(captured: Captured) -> None:
    """A saver defined while noclobber is on, around another: each put is one access, also where it changes thread."""

    class Around(InMemorySaver):
        def put(self, *args: Any) -> RunnableConfig:
            return super().put(*args)

        async def aput(self, *args: Any) -> RunnableConfig:
            return await asyncio.to_thread(self.put, *args)

        async def aget_tuple(self, config: RunnableConfig) -> Any:
            return await asyncio.get_running_loop().run_in_executor(None, self.get_tuple, config)

    app = graph(Around(), think)
    app.invoke({"log": ["asked"]}, THREAD)
    asyncio.run(app.ainvoke({"log": ["asked"]}, THREAD))
    accesses = of(captured)
    assert Counter(access["op"] for access in accesses) == {"read": 2, "write": 6}
    assert_chain(puts(captured))


async def test_a_sync_call_of_an_async_saver_counts_once(captured: Captured, tmp_path: Path) -> None:
    """`get_tuple` of AsyncSqliteSaver runs its async twin on the loop's thread."""
    async with asaver_of("sqlite", tmp_path) as saver:
        app = graph(saver, think)
        await asyncio.to_thread(app.invoke, {"log": ["asked"]}, THREAD)
        assert (await asyncio.to_thread(saver.get_tuple, THREAD)) is not None
    assert Counter(access["op"] for access in of(captured)) == {"read": 2, "write": 3}


def test_a_deleted_thread_begins_anew(saver: Saver, captured: Captured) -> None:
    """The deletion covers the thread and what lies below it, so that two first checkpoints are no fork."""
    app = graph(saver, think)
    app.invoke({"log": ["asked"]}, THREAD)
    saver.delete_thread("t/1")
    app.invoke({"log": ["asked"]}, THREAD)
    resource = puts(captured)[0]["resource"]
    deleted = [access for access in of(captured) if access["op"] == "delete"]
    assert [(d["resource"], d["version.written"]) for d in deleted] == [
        (resource, "absent"),
        (f"{resource}/", "absent"),
    ]


def test_two_savers_in_memory_do_not_share_their_threads(captured: Captured) -> None:
    """Two programs, or tests, that both call their thread the same."""
    for saver in (InMemorySaver(), InMemorySaver()):
        graph(saver, think).invoke({"log": ["asked"]}, THREAD)
    assert forks(puts(captured)) == 0


def test_what_a_saver_raises_reaches_the_caller_and_is_told(captured: Captured) -> None:
    """A put that raised may have been stored; the exception is the saver's own."""

    class Broken(InMemorySaver):
        def put(self, *args: Any) -> RunnableConfig:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        graph(Broken(), think).invoke({"log": ["asked"]}, THREAD)
    assert {write["outcome"] for write in puts(captured)} == {"unknown"}


def test_a_mistake_of_ours_changes_nothing(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails inside a hook, the graph runs and its checkpoints are saved."""
    monkeypatch.setattr(GUARD, "reraises", False)
    before = sum(GUARD.failures.values())

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    for module, name in (
        (langgraph_savers, "_resource"), (langgraph_savers, "_end"), (langgraph_savers, "_written"),
        (langgraph_invokes, "_of_loop"), (langgraph_invokes, "_Run"), (langgraph_identity, "scope_of"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            app = graph(InMemorySaver(), think, act)
            assert app.invoke({"log": ["asked"]}, THREAD) == {"log": ["asked", "thought", "acted"]}
            app.update_state(THREAD, {"log": ["corrected"]})
            assert len(list(app.get_state_history(THREAD))) == 5
            captured.recorder.flush()
    assert sum(GUARD.failures.values()) >= before + 6
