"""Who acts in a graph, and what comes after what: nodes, supersteps, invokes, tasks of the functional API."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore
from langgraph.types import Send
from reachability import check, touch
from tests.instrumentation.frameworks.recorded import of

import noclobber
from noclobber.testing import Captured

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-7"}}


class State(TypedDict):
    seen: Annotated[list[str], operator.add]


def node(name: str, suffix: str = "") -> Callable[[State], State]:
    def run(state: State) -> State:
        touch(name + suffix)
        return {"seen": [name]}

    run.__name__ = name
    return run


def anode(name: str, suffix: str = "") -> Any:
    async def run(state: State) -> State:
        await asyncio.sleep(0)
        touch(name + suffix)
        return {"seen": [name]}

    run.__name__ = name
    return run


def diamond(make: Callable[[str], Any], checkpointer: Any = None) -> Any:
    """first, then left beside right, then last."""
    builder: Any = StateGraph(State)
    for name in ("first", "left", "right", "last"):
        builder.add_node(name, make(name))
    builder.add_edge(START, "first")
    for side in ("left", "right"):
        builder.add_edge("first", side)
        builder.add_edge(side, "last")
    builder.add_edge("last", END)
    return builder.compile(checkpointer=checkpointer)


DIAMOND = "first<left first<right left|right left<last right<last before<first last<after"


def test_parallel_nodes_may_race_and_supersteps_are_ordered(captured: Captured) -> None:
    """The Pregel loop waits for all nodes of a superstep before it starts the next."""
    touch("before")
    diamond(node).invoke({"seen": []})
    touch("after")
    check(captured.accesses, DIAMOND)


async def test_parallel_async_nodes_may_race_and_supersteps_are_ordered(captured: Captured) -> None:
    """The same over tasks."""
    touch("before")
    await diamond(anode).ainvoke({"seen": []})
    touch("after")
    check(captured.accesses, DIAMOND)


async def test_sync_nodes_of_an_async_run_are_ordered_too(captured: Captured) -> None:
    """Nodes that LangGraph runs in threads, below tasks."""
    touch("before")
    await diamond(node).ainvoke({"seen": []})
    touch("after")
    check(captured.accesses, DIAMOND)


def test_streams_are_ordered_too(captured: Captured) -> None:
    """The caller's own code between two chunks is the Pregel loop's strand."""
    touch("before")
    for chunk in diamond(node).stream({"seen": []}, stream_mode="updates"):
        if "first" in chunk:
            touch("between")
    touch("after")
    check(captured.accesses, f"{DIAMOND} first<between between<left between<right")


def test_a_second_invoke_comes_after_the_first(captured: Captured) -> None:
    """Also what the first saved in the background."""
    app = diamond(lambda name: node(name, "1"), InMemorySaver())
    again = diamond(lambda name: node(name, "2"), app.checkpointer)
    app.invoke({"seen": []}, THREAD)
    touch("between")
    again.invoke({"seen": []}, THREAD)
    check(captured.accesses, "left1<left2 right1<left2 left1<right2 last1<between between<first2 left2|right2")
    assert_saved_before(captured, "between")


async def test_a_second_async_invoke_comes_after_the_first(captured: Captured) -> None:
    """Also what the first saved in the background."""
    app = diamond(lambda name: anode(name, "1"), InMemorySaver())
    await app.ainvoke({"seen": []}, THREAD)
    touch("between")
    check(captured.accesses, "left1<between right1<between last1<between")
    assert_saved_before(captured, "between")


async def test_what_was_saved_while_the_caller_worked_comes_before_what_follows(captured: Captured) -> None:
    """A checkpoint whose save has ended when the run ends is awaited by nobody, and yet it is over."""
    app = diamond(anode, InMemorySaver())
    async for _ in app.astream({"seen": []}, THREAD, stream_mode="values"):
        for _ in range(50):
            await asyncio.sleep(0)
    touch("after")
    assert_saved_before(captured, "after")


def assert_saved_before(captured: Captured, name: str) -> None:
    """All checkpoints that were put before `name` are ordered before it."""
    accesses = captured.accesses
    at = next(n for n, access in enumerate(accesses) if access["noclobber.resource"] == f"x://{name}")
    saved = [access for access in accesses[:at] if access["noclobber.op"] == "write"]
    assert saved
    for access in saved:
        renamed = [{**each, "noclobber.resource": "x://saved"} if each is access else each for each in accesses]
        check(renamed, f"saved<{name}")


def test_a_node_is_an_agent_its_thread_the_run_and_its_task_the_step(captured: Captured) -> None:
    """Each pass through a node is one step and one unit."""
    app = diamond(node, InMemorySaver())
    app.invoke({"seen": []}, THREAD)
    nodes = of(captured, "x://")
    assert [access["agent"] for access in nodes][::3] == ["first", "last"]
    assert {access["agent"] for access in nodes} == {"first", "left", "right", "last"}
    assert {access["run"] for access in nodes} == {"thread-7"}
    assert all(access["step"].startswith(f"{access['agent']}:") for access in nodes)
    assert len({access["step"] for access in nodes}) == len({access["unit"] for access in nodes}) == 4
    assert {access["unit.kind"] for access in nodes} == {"step"}


def test_without_a_thread_each_invoke_is_a_run(captured: Captured) -> None:
    """All nodes of one invoke have one run, and the next invoke has another."""
    app = diamond(node)
    app.invoke({"seen": []})
    app.invoke({"seen": []})
    runs = [access["run"] for access in of(captured, "x://")]
    assert len(set(runs[:4])) == len(set(runs[4:])) == 1
    assert runs[0] != runs[4]


def test_a_graph_inside_a_node_goes_on_with_the_run(captured: Captured) -> None:
    """Its nodes are the agents; what follows in the outer node is the outer node's again."""
    inner = diamond(node)

    def outer(state: State) -> State:
        touch("before")
        inner.invoke({"seen": []})
        touch("after")
        return {"seen": []}

    builder: Any = StateGraph(State)
    builder.add_node("outer", outer)
    builder.add_edge(START, "outer")
    app = builder.compile()
    app.invoke({"seen": []})
    by_name = {access["resource"].removeprefix("x://"): access for access in of(captured, "x://")}
    assert {name: access["agent"] for name, access in by_name.items()} == {
        "before": "outer", "first": "first", "left": "left", "right": "right", "last": "last", "after": "outer",
    }  # fmt: skip
    assert len({access["run"] for access in by_name.values()}) == 1
    assert by_name["before"]["unit"] == by_name["after"]["unit"] != by_name["first"]["unit"]
    check(captured.accesses, DIAMOND)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_what_one_node_reads_is_the_base_of_what_a_later_one_writes(captured: Captured, way: str) -> None:
    """An agent reads in one node and writes in another: the base is recalled, since the run is the same."""
    store = InMemoryStore()

    def look(state: State) -> State:
        assert store.get(("bank",), "a") is None
        return {"seen": []}

    def change(state: State) -> State:
        store.put(("bank",), "a", {"n": 1})
        return {"seen": []}

    builder: Any = StateGraph(State)
    builder.add_node("look", look)
    builder.add_node("change", change)
    builder.add_edge(START, "look")
    builder.add_edge("look", "change")
    app = builder.compile()
    if way == "sync":
        app.invoke({"seen": []})
    else:
        asyncio.run(app.ainvoke({"seen": []}))
    read, write = of(captured, "langgraph://store")
    assert (write["version.base"], write["version.base.source"]) == ("absent", "recalled")
    assert (write["version.base.strand"], write["version.base.seq"]) == (read["strand"], read["seq"])
    assert read["strand"] != write["strand"]


def test_each_node_run_is_a_strand_of_its_own(captured: Captured) -> None:
    """Also a node that the Pregel loop runs itself, because it is alone in its superstep."""
    diamond(node).invoke({"seen": []})
    touch("after")
    nodes = of(captured, "x://")
    assert len({access["strand"] for access in nodes}) == 5
    assert nodes[-1]["strand"] not in {access["strand"] for access in nodes[:-1]}


def test_parallel_tool_calls_may_race(captured: Captured) -> None:
    """Two calls of one message, by one agent in one step, are two strands."""

    @tool
    def look(name: str) -> str:
        """Look at something."""
        touch(name)
        return name

    calls = [ToolCall(name="look", args={"name": name}, id=name) for name in ("a", "b")]
    builder: Any = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode([look]))
    builder.add_node("end", lambda state: touch("c"))
    builder.add_edge(START, "tools")
    builder.add_edge("tools", "end")
    builder.compile().invoke({"messages": [AIMessage("", tool_calls=calls)]})
    check(captured.accesses, "a|b a<c b<c")
    assert [access["agent"] for access in of(captured, "x://")] == ["tools", "tools", "end"]


def test_an_explicit_agent_wins(captured: Captured) -> None:
    """Around the invoke for all nodes, inside a node for what it does."""
    with noclobber.agent("planner"):
        diamond(node).invoke({"seen": []})
    assert {access["agent"] for access in of(captured, "x://")} == {"planner"}


def test_nodes_started_by_send_may_race(captured: Captured) -> None:
    """Each Send is a step of its own, though all have one name."""

    def work(item: str) -> State:
        touch(item)
        return {"seen": [item]}

    builder: Any = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda state: [Send("work", "a"), Send("work", "b")])
    builder.compile().invoke({"seen": []})
    check(captured.accesses, "a|b")
    assert len({access["step"] for access in of(captured, "x://")}) == 2


def test_tasks_of_the_functional_api_are_ordered_by_their_results(captured: Captured) -> None:
    """Whoever asks for a task's result has waited for it; two that are asked later may race."""

    @task
    def work(name: str) -> str:
        touch(name)
        return name

    @entrypoint()
    def flow(name: str) -> str:
        work("a").result()
        touch("main")
        both = [work("b"), work("c")]
        for each in both:
            each.result()
        touch("end")
        return name

    flow.invoke("x")
    check(captured.accesses, "a<main main<b main<c b|c b<end c<end")
    assert {access["agent"] for access in of(captured, "x://")} == {"work", "flow"}


async def test_async_tasks_of_the_functional_api_are_ordered_by_their_awaits(captured: Captured) -> None:
    """The same with `await`, `gather` and an error."""

    @task
    async def work(name: str) -> str:
        await asyncio.sleep(0)
        touch(name)
        if name == "bad":
            raise ValueError(name)
        return name

    @entrypoint()
    async def flow(name: str) -> str:
        assert await work("a") == "a"
        touch("main")
        assert list(await asyncio.gather(work("b"), work("c"))) == ["b", "c"]
        touch("end")
        with pytest.raises(ValueError, match="bad"):
            await work("bad")
        touch("caught")
        return name

    assert await flow.ainvoke("x") == "x"
    check(captured.accesses, "a<main main<b main<c b|c b<end c<end end<bad bad<caught")


def test_an_error_in_one_parallel_node_reaches_the_caller(captured: Captured) -> None:
    """The same exception as without noclobber; what ran is ordered before what follows."""

    def fail(state: State) -> State:
        touch("failed")
        raise ValueError("no")

    builder: Any = StateGraph(State)
    builder.add_node("fail", fail)
    builder.add_node("work", node("work"))
    builder.add_edge(START, "fail")
    builder.add_edge(START, "work")
    with pytest.raises(ValueError, match="no"):
        builder.compile().invoke({"seen": []})
    touch("after")
    check(captured.accesses, "failed|work failed<after work<after")


@pytest.mark.parametrize("mode", ["values", "messages", "custom", "debug"])
def test_streams_with_subgraphs_are_ordered_too(captured: Captured, mode: Any) -> None:
    """Modes in which the Pregel loop waits for chunks beside the nodes, a graph inside a node among them."""
    inner = diamond(lambda name: node(name, "-in"))
    builder: Any = StateGraph(State)
    builder.add_node("first", node("first"))
    builder.add_node("inner", inner)
    builder.add_edge(START, "first")
    builder.add_edge("first", "inner")
    for _ in builder.compile().stream({"seen": []}, stream_mode=[mode], subgraphs=True):
        pass
    touch("after")
    check(captured.accesses, "first<first-in first-in<left-in left-in|right-in left-in<last-in last-in<after")


@pytest.mark.parametrize("mode", ["values", "messages", "custom", "debug"])
async def test_async_streams_with_subgraphs_are_ordered_too(captured: Captured, mode: Any) -> None:
    """The same over tasks."""
    inner = diamond(lambda name: anode(name, "-in"))
    builder: Any = StateGraph(State)
    builder.add_node("first", anode("first"))
    builder.add_node("inner", inner)
    builder.add_edge(START, "first")
    builder.add_edge("first", "inner")
    async for _ in builder.compile().astream({"seen": []}, stream_mode=[mode], subgraphs=True):
        pass
    touch("after")
    check(captured.accesses, "first<first-in first-in<left-in left-in|right-in left-in<last-in last-in<after")


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_cancelled_invoke_leaves_the_caller_as_it_was(captured: Captured, parallel: bool) -> None:
    """A timeout reaches the node; what follows is the caller's own strand and scope again."""
    started = asyncio.Event()

    async def wait(state: State) -> State:
        touch("waiting")
        started.set()
        await asyncio.Event().wait()
        return {"seen": []}

    builder: Any = StateGraph(State)
    builder.add_node("wait", wait)
    builder.add_edge(START, "wait")
    if parallel:
        builder.add_node("beside", anode("beside"))
        builder.add_edge(START, "beside")
    touch("before")
    running = asyncio.ensure_future(builder.compile().ainvoke({"seen": []}))
    await asyncio.wait_for(started.wait(), 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    touch("after")
    check(captured.accesses, "before<waiting waiting<after before<after")
    mine = [access for access in of(captured, "x://") if access["resource"] in ("x://before", "x://after")]
    assert mine[0]["strand"] == mine[1]["strand"]
    assert mine[0]["agent"] == mine[1]["agent"]
    assert "step" not in mine[1]


def test_a_stream_that_is_left_early_leaves_the_caller_as_it_was(captured: Captured) -> None:
    """The generator is closed while nodes are still to come."""
    stream = diamond(node).stream({"seen": []}, stream_mode="updates")
    next(stream)
    stream.close()
    touch("after")
    after = of(captured, "x://")[-1]
    assert "step" not in after
    check(captured.accesses, "first<after")
