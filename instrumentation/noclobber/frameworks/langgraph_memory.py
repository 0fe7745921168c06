"""The in-memory store: which print each of its items was put with, and what a put replaces.

Items are handed out by reference: whoever got one may change it in place, and the store's own old item then no longer
has the content that it was put with. So the print that an item was put with is noted beside it, and that print is what
a read got and what a put replaced, whatever happened to the object since. A put of the very object that the store had
handed out is marked: nobody knows which state its content was computed from.

Every put of the store passes `_apply_put_ops`, which does nothing but set keys of dictionaries; the lock around it
makes looking up the old item and setting the new one a single moment.

Source: langgraph/store/memory; capture.md 2.1 (mutable objects) and 5.
"""

import threading
from collections import OrderedDict
from typing import Any, Final
from weakref import WeakKeyDictionary

from langgraph.store.memory import InMemoryStore

from noclobber import recorder
from noclobber.frameworks.langgraph_batch import Batch, Content, Key, content_of
from noclobber.frameworks.langgraph_seams import enclosing, wrap
from noclobber.guard import GUARD

__all__ = ["content_of_item", "install", "note_aliases"]

ITEMS_MAX: Final = 100_000
"""Items of one store whose print is noted, the ones put last; what a put of others replaces is not known."""
HANDED_MAX: Final = 1024
"""Values that were handed out, the last ones, to know them again when they are put."""


class _Ledger:
    """What is known of one store's items.

    Attributes:
        lock: held while a put looks up the old item and sets the new one; reentrant, since a value's own code may put.
    """

    __slots__ = ("_handed", "_items", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._items: OrderedDict[Key, tuple[Any, Content]] = OrderedDict()
        self._handed: OrderedDict[int, Any] = OrderedDict()

    def content(self, key: Key, item: Any) -> Content | None:
        """The print that `item` was put with, None where that is not known.

        A search copies items, but not their values.
        """
        noted = self._items.get(key)
        return noted[1] if noted is not None and noted[0].value is item.value else None

    def put(self, key: Key, item: Any, content: Content | None) -> None:
        """Note what now stands under `key`: `item`, or nothing where that is None."""
        if item is None or content is None:
            self._items.pop(key, None)
            return
        self._items[key] = (item, content)
        self._items.move_to_end(key)
        while len(self._items) > ITEMS_MAX:
            self._items.popitem(last=False)

    def hand_out(self, value: Any) -> None:
        """`value` is in somebody's hands from now on."""
        with self.lock:
            self._handed[id(value)] = value
            self._handed.move_to_end(id(value))
            while len(self._handed) > HANDED_MAX:
                self._handed.popitem(last=False)

    def was_handed_out(self, value: Any) -> bool:
        """Whether `value` is an object that the store handed out."""
        return self._handed.get(id(value)) is value


_ledgers: "WeakKeyDictionary[Any, _Ledger]" = WeakKeyDictionary()


def install() -> None:
    """Wrap where the in-memory store sets its items."""
    wrap(InMemoryStore, "_apply_put_ops", _apply)


def content_of_item(store: Any, item: Any) -> Content | None:
    """The version of an item that `store` returned."""
    if isinstance(store, InMemoryStore):
        ledger = _ledger(store)
        ledger.hand_out(item.value)
        known = ledger.content((tuple(item.namespace), item.key), item)
        if known is not None:
            return known
    return content_of(item.value)


def note_aliases(store: Any, batch: Batch) -> None:
    """Mark the puts of `batch` that put an object which the store handed out."""
    if isinstance(store, InMemoryStore):
        ledger = _ledger(store)
        batch.aliased = {number for number, op in enumerate(batch.operations) if ledger.was_handed_out(_value(op))}


def _value(operation: Any) -> Any:
    return getattr(operation, "value", None)


def _ledger(store: InMemoryStore) -> _Ledger:
    found = _ledgers.get(store)
    return found if found is not None else _ledgers.setdefault(store, _Ledger())


def _apply(original: Any) -> Any:
    def apply_put_ops(self: Any, put_ops: Any) -> Any:
        ledger = None
        with GUARD:
            ledger = _ledger(self) if recorder.active() is not None and put_ops else None
        if ledger is None:
            return original(self, put_ops)
        with ledger.lock:
            with GUARD:
                _note_replaced(self, ledger, put_ops)
            try:
                return original(self, put_ops)
            finally:
                with GUARD:
                    _note_put(self, ledger, put_ops)

    return apply_put_ops


def _under_way() -> Batch | None:
    """The call that the running put is part of."""
    call = enclosing()
    return call.facts if call is not None and isinstance(call.facts, Batch) else None


def _note_replaced(store: Any, ledger: _Ledger, put_ops: Any) -> None:
    """Tell the call under way what its puts are about to replace."""
    batch = _under_way()
    if batch is not None:
        for key in put_ops:
            old = _item(store, key)
            batch.replaced[key] = None if old is None else (ledger.content(key, old),)


def _note_put(store: Any, ledger: _Ledger, put_ops: Any) -> None:
    batch = _under_way()
    for key, op in put_ops.items():
        if op.value is None:
            ledger.put(key, None, None)
        else:
            content = batch.content_of_put(op) if batch is not None else content_of(op.value)
            ledger.put(key, _item(store, key), content)


def _item(store: Any, key: Key) -> Any:
    namespace, name = key
    return store._data[namespace].get(name) if namespace in store._data else None
