"""Advice for LangGraph: its store, its channels, its checkpointed threads.

Source: LangGraph documentation (persistence, reducers); langchain-ai/langgraph#6728 and #8796 on forked threads.
"""

from typing import Final

from noclobber.contract import Kind

__all__ = ["ADVICE"]

ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.LOST_UPDATE: (
        "The store has no conditional put: keep what parallel nodes add up in a channel with a reducer, or give each "
        "node a key of its own and join them in a later node.",
        "class State(TypedDict):\n    total: Annotated[int, operator.add]   # the graph itself adds up",
    ),
    Kind.FORK: (
        "One run for each thread at a time: queue or refuse a second invoke on '{key}' while one is running.",
        "async with locks[thread_id]:\n    await graph.ainvoke(input, {'configurable': {'thread_id': thread_id}})",
    ),
    Kind.STALE_WRITE: (
        "Read the store again in the node that writes, after the model's answer.",
        "async def write(state, *, store):\n    basis = await store.aget(namespace, key)  # here, not before\n"
        "    await store.aput(namespace, key, decide(basis, state['answer']))",
    ),
}
