"""What mem0 knows of names: for each a row that lists the memories which speak of it.

Each `add` and each `delete` reads the rows of its user, changes their lists and writes them back whole, in a second
collection of the same kind of vector store. That is state of its own, which calls on different memories share, and
mem0 itself had races on it (mem0ai/mem0#5553, #6243). So its calls are told one by one, although the call around them
is told of the memories; what the vector store's client does below stays hidden. A row is told by a print of all that
it says.

Source: mem0/memory/main.py (`_upsert_entity`, `_remove_memory_from_entity_store`, 2.2), mem0/vector_stores/base.py.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from noclobber import versions
from noclobber.access import Member
from noclobber.contract import Attr, Op, Outcome, WriteMode
from noclobber.frameworks import places
from noclobber.frameworks.hidden import showing
from noclobber.frameworks.seams import Seams, recorded
from noclobber.frameworks.states import Told, absent, ended, printed, searched, starting
from noclobber.guard import GUARD
from noclobber.resources import uri

__all__ = ["container", "unwatch", "watch"]

LIBRARY: Final = "mem0"
_Tell = Callable[[str, tuple[Any, ...], dict[str, Any]], Told | Sequence[Told]]
"""What a call is, given the resource under which the rows lie, and its arguments."""
_seams = Seams(LIBRARY)
_properties: list[tuple[Any, Any, Any]] = []
_watching = threading.Lock()
_watched: "weakref.WeakSet[Any]" = weakref.WeakSet()


def container(memory: Any) -> list[str]:
    """Where a memory is kept: the vector store's server or file, and its collection; of one in memory the object."""
    config = memory.config.vector_store.config
    host, path = getattr(config, "host", None), getattr(config, "path", None)
    if host:
        place = f"{host}:{getattr(config, 'port', '')}"
    elif path:
        place = places.of_file(str(path))
    else:
        place = places.of_object(memory)
    return [place, str(memory.collection_name)]


def watch(owner: Any) -> None:
    """Tell what the memories of the class `owner` do with their rows of names."""
    original = vars(owner).get("entity_store")
    if not isinstance(original, property) or original.fget is None:
        return
    get = original.fget

    @functools.wraps(get)
    def entity_store(self: Any) -> Any:
        found = get(self)
        if found is not None and found not in _watched:
            with GUARD, _watching:  # calls of several threads ask for it first
                if found not in _watched:
                    _watch_store(found, self)
        return found

    ours = property(entity_store, original.fset, original.fdel, original.__doc__)
    _properties.append((owner, original, ours))
    owner.entity_store = ours


def unwatch() -> None:
    """Put back what was there."""
    while _properties:
        owner, original, ours = _properties.pop()
        if vars(owner).get("entity_store") is ours:
            owner.entity_store = original
    for store in list(_watched):
        for name in _TELLS:
            vars(store).pop(name, None)
    _watched.clear()


def _watch_store(store: Any, memory: Any) -> None:
    """Its methods, of this one object: memories themselves are kept in another one of the same class."""
    rows = uri(LIBRARY, "", *container(memory), "entities", "")
    for name, tell in _TELLS.items():
        original = getattr(store, name, None)
        if original is not None:
            setattr(store, name, _shown(original, tell, rows))
    _watched.add(store)


def _shown(original: Callable[..., Any], tell: _Tell, rows: str) -> Any:
    def start(_store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told | Sequence[Told]:
        return tell(rows, args, kwargs)

    def call(_store: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    told = recorded(starting(_seams, start), ended)(call)

    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        with showing(LIBRARY):
            return told(None, *args, **kwargs)

    return method


# -- calls -----------------------------------------------------------------------------------------------------------


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _rows(found: Any) -> Iterator[Any]:
    """The rows of a reply, which some stores wrap in a list or two, beside a cursor."""
    for each in found or ():
        if isinstance(each, list | tuple):
            yield from _rows(each)
        elif hasattr(each, "id"):
            yield each


def _list(rows: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    return searched(
        rows,
        LIBRARY,
        [*args, *sorted(map(str, kwargs.items()))],
        lambda found: [Member(rows + str(row.id), _print(row.payload)) for row in _rows(found)],
    )


def _print(payload: Any) -> str:
    return versions.fingerprint(versions.encode(payload))


def _get(rows: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    def got(told: Told, row: Any) -> None:
        if row is None:
            told.outcome = Outcome.NOT_FOUND
            told.attributes = absent(Attr.VERSION_READ)
        else:
            told.attributes = printed(Attr.VERSION_READ, row.payload)

    return Told(Op.READ, rows + str(_argument(args, kwargs, 0, "vector_id")), LIBRARY, learn=got)


def _update(rows: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    resource = rows + str(_argument(args, kwargs, 0, "vector_id"))
    payload = _argument(args, kwargs, 2, "payload")
    return Told(Op.WRITE, resource, LIBRARY, printed(Attr.VERSION_WRITTEN, payload), finds_base=True)


def _insert(rows: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Told]:
    payloads, ids = _argument(args, kwargs, 1, "payloads"), _argument(args, kwargs, 2, "ids")
    return [
        Told(Op.WRITE, rows + str(identity), LIBRARY,
             {**printed(Attr.VERSION_WRITTEN, payload), Attr.WRITE_MODE: WriteMode.INSERT})
        for identity, payload in zip(ids or (), payloads or (), strict=False)
    ]  # fmt: skip


def _delete(rows: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    resource = rows + str(_argument(args, kwargs, 0, "vector_id"))
    return Told(Op.DELETE, resource, LIBRARY, absent(Attr.VERSION_WRITTEN), finds_base=True)


def _reset(rows: str, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    return Told(Op.DELETE, rows, LIBRARY, absent(Attr.VERSION_WRITTEN))


_TELLS: Final[dict[str, _Tell]] = {
    "list": _list, "search": _list, "search_batch": _list, "get": _get, "update": _update, "insert": _insert,
    "delete": _delete, "reset": _reset,
}  # fmt: skip
