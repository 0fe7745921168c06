"""LangGraph's store: each get, put, delete and search of an item.

All calls of a store pass `batch` or `abatch`; these are wrapped on every concrete class. A store that batches in the
background (`AsyncBatchedBaseStore`) is hooked where its caller waits, and its background task is left out. Prints are
taken at the call, the rest is described in the drain (`langgraph_batch`).

Source: langgraph/store/base (BaseStore, AsyncBatchedBaseStore); capture.md 5.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from langgraph.store.base import BaseStore, GetOp, PutOp, SearchOp
from langgraph.store.base.batch import AsyncBatchedBaseStore
from langgraph.store.memory import InMemoryStore

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr
from noclobber.frameworks import langgraph_memory
from noclobber.frameworks.langgraph_batch import Batch, accesses_of, is_touching, spans_of
from noclobber.frameworks.langgraph_hidden import OF_STORES, hide, hiding
from noclobber.frameworks.langgraph_places import place_of
from noclobber.frameworks.langgraph_seams import arecorded, begin, is_hidden, recorded, watch, wrap
from noclobber.guard import GUARD

__all__ = ["install"]

Operation = Callable[..., Any]
"""Makes LangGraph's operation of the arguments of a store's method."""


def install() -> None:
    """Wrap all stores."""
    watch(BaseStore, _patch)
    operations: dict[str, Operation] = {"get": _get, "put": _put, "delete": _delete, "search": _search}
    for name, operation in operations.items():
        wrap(AsyncBatchedBaseStore, name, recorded(_start_single(operation), _finish_single))
        wrap(AsyncBatchedBaseStore, f"a{name}", arecorded(_start_single(operation), _finish_single))
    wrap(AsyncBatchedBaseStore, "_ensure_task", _ensure_task)
    langgraph_memory.install()


def _patch(store: type) -> None:
    wrap(store, "batch", lambda original: _listed(recorded(_start, _finish)(original)))
    wrap(store, "abatch", lambda original: _alisted(arecorded(_start, _finish)(original)))
    hide(store, OF_STORES)


def _listed(hooked: Any) -> Any:
    """`batch`, with operations that can be looked at more than once."""

    def batch(self: Any, ops: Any, *args: Any, **kwargs: Any) -> Any:
        ops = ops if isinstance(ops, list | tuple) else list(ops)
        with contextlib.nullcontext() if any(map(is_touching, ops)) else hiding():
            return hooked(self, ops, *args, **kwargs)

    return batch


def _alisted(hooked: Any) -> Any:
    async def abatch(self: Any, ops: Any, *args: Any, **kwargs: Any) -> Any:
        ops = ops if isinstance(ops, list | tuple) else list(ops)
        with contextlib.nullcontext() if any(map(is_touching, ops)) else hiding():
            return await hooked(self, ops, *args, **kwargs)

    return abatch


def _ensure_task(original: Any) -> Any:
    """The task that works on the queue: what it does is part of its callers' calls."""

    def ensure_task(self: Any) -> None:
        original(self)
        with GUARD:
            strands.of_task(self._task).suppressed = 1

    return ensure_task


# -- the operation behind a method of a batching store -----------------------------------------------------------


def _get(namespace: tuple[str, ...], key: str, **_: Any) -> GetOp:
    return GetOp(tuple(namespace), key)


def _put(namespace: tuple[str, ...], key: str, value: Any, index: Any = None, *, ttl: Any = None) -> PutOp:
    return PutOp(tuple(namespace), key, value, index, ttl=ttl if isinstance(ttl, int | float) else None)


def _delete(namespace: tuple[str, ...], key: str) -> PutOp:
    return PutOp(tuple(namespace), key, None)


def _search(
    namespace_prefix: tuple[str, ...], /, *, query: str | None = None, filter: Any = None, limit: int = 10,  # noqa: A002
    offset: int = 0, **_: Any,
) -> SearchOp:  # fmt: skip
    return SearchOp(tuple(namespace_prefix), filter, limit, offset, query)


# -- in the agent's thread ---------------------------------------------------------------------------------------


def _start(store: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Call | None:
    return _begin(store, args[0])


def _start_single(operation: Operation) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Call | None]:
    def start(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        try:
            made = operation(*args, **kwargs)
        except TypeError:  # the method itself will refuse it
            return None
        return _begin(store, (made,))

    return start


def _begin(store: Any, operations: Sequence[Any]) -> Call | None:
    if is_hidden():
        return None
    batch = Batch(place_of(store), operations, is_memory=isinstance(store, InMemoryStore))
    langgraph_memory.note_aliases(store, batch)
    call = begin(len(batch.operations))
    if call is not None:
        call.facts = batch
    return call


def _finish_single(store: Any, call: Call, result: Any, error: BaseException | None) -> None:
    _finish(store, call, [result], error)


def _finish(store: Any, call: Call, results: Any, error: BaseException | None) -> None:
    active = recorder.active()
    if active is None:
        return
    batch: Batch = call.facts
    batch.error = call.error = error
    if error is None:
        _take(store, active, call, [results[position] for position in batch.positions])
    active.end(call, _build, batch)


def _take(store: Any, active: recorder.Recorder, call: Call, results: Sequence[Any]) -> None:
    """Print what was got, now: the caller may change it as soon as it has it."""
    batch: Batch = call.facts
    for number, result in enumerate(results):
        operation = batch.operations[number]
        if isinstance(operation, SearchOp):
            items = result or ()
            batch.found[number] = [
                ((tuple(item.namespace), item.key), langgraph_memory.content_of_item(store, item)) for item in items
            ]
            if (further := spans_of(len(items)) - 1) > 0:
                active.more(call, further)
        elif isinstance(operation, GetOp) and result is not None:
            batch.contents[number] = langgraph_memory.content_of_item(store, result)
            batch.unprintable |= {number} if batch.contents[number] is None else set()


def _build(call: Call) -> Sequence[Access]:
    accesses = accesses_of(call.facts, f"{call.strand.id}.{call.seq}")
    if call.error is not None and type(call.error).__name__ == "CancelledError":
        for access in accesses:
            access.attributes[Attr.CANCELLED] = True
    return accesses
