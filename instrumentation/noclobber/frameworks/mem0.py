"""mem0: memories that agents add, search, update and delete.

A memory is a text under an id: an update replaces the text whole, and of two updates the later wins, whatever either
had read. A search or a listing is a scan that proves nothing by what it does not find. What `add` has made of its
messages it tells itself; new memories get new ids, so they replace nothing. The vector store and the history below are
counted here, once; the rows of names that mem0 keeps besides are told by `mem0_entities`. Texts leave only as prints.

Source: mem0/memory/main.py (2.2); capture.md 5.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import versions
from noclobber.access import Member
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Op, Outcome, WriteMode
from noclobber.frameworks import mem0_entities
from noclobber.frameworks.hidden import hide
from noclobber.frameworks.seams import Seams, arecorded, recorded
from noclobber.frameworks.states import Told, absent, ended, printed, searched, starting
from noclobber.resources import uri
from noclobber.stores.wrapping import Hook, Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "mem0"
TEXT: Final = ("text",)
METADATA: Final = ("metadata",)

_wrapping = Wrapping(LIBRARY)
_seams = Seams(LIBRARY)


@knowing(LIBRARY)
def install(library: ModuleType) -> None:
    """Wrap both kinds of memory."""
    tells = {
        "add": _add, "get": _get, "get_all": _list, "search": _list, "update": _update, "delete": _delete,
        "_delete_memory": _delete, "reset": _reset,
    }  # fmt: skip
    hooks: list[Hook] = []
    for owner, make in ((library.Memory, recorded), (library.AsyncMemory, arecorded)):
        hooks += [(owner, name, make(starting(_seams, tell), ended)) for name, tell in tells.items()]
    _wrapping.wrap(hooks)
    if _wrapping:
        for owner in (library.Memory, library.AsyncMemory):
            hide(_seams, owner, ("__init__", "history"))
            mem0_entities.watch(owner)


def uninstall() -> None:
    """Put back what was there."""
    mem0_entities.unwatch()
    _seams.restore()
    _wrapping.restore()


# -- names -----------------------------------------------------------------------------------------------------------


def _resource(memory: Any, memory_id: Any) -> str:
    return uri(LIBRARY, "", *mem0_entities.container(memory), str(memory_id))


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


# -- calls -----------------------------------------------------------------------------------------------------------


def _get(memory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    def got(told: Told, found: Any) -> None:
        if found is None:
            told.outcome = Outcome.NOT_FOUND
            told.attributes = absent(Attr.VERSION_READ)
        else:
            told.attributes = printed(Attr.VERSION_READ, found["memory"])

    resource = _resource(memory, _argument(args, kwargs, 0, "memory_id"))
    return Told(Op.READ, resource, LIBRARY, part=TEXT, learn=got)


def _list(memory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    asked = {"asked": [*args], **{name: value for name, value in kwargs.items() if name in ("query", "filters")}}
    return searched(
        uri(LIBRARY, "", *mem0_entities.container(memory)),
        LIBRARY,
        asked,
        lambda found: [_member(memory, each) for each in found.get("results", ())],
        TEXT,
    )


def _member(memory: Any, found: Any) -> Member:
    return Member(_resource(memory, found["id"]), versions.fingerprint(versions.encode(found["memory"])), TEXT)


def _add(memory: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    """What it has made is known at its end; until then it is an addition to the collection."""

    def got(told: Told, added: Any) -> Sequence[Told]:
        changes = [_change(memory, each) for each in added.get("results", ()) if each.get("event") in _OPS]
        if changes:
            first = changes[0]
            told.op, told.resource, told.part, told.attributes = first.op, first.resource, first.part, first.attributes
        else:
            told.outcome = Outcome.NO_EFFECT
        return changes[1:]

    attributes = {Attr.WRITE_MODE: WriteMode.APPEND}
    return Told(Op.UPDATE, uri(LIBRARY, "", *mem0_entities.container(memory)), LIBRARY, {**attributes}, learn=got)


def _change(memory: Any, made: Any) -> Told:
    op, resource = _OPS[made["event"]], _resource(memory, made["id"])
    if op is Op.DELETE:
        return Told(op, resource, LIBRARY, absent(Attr.VERSION_WRITTEN), part=TEXT)
    attributes = printed(Attr.VERSION_WRITTEN, made.get("memory"))
    if made["event"] == "ADD":
        attributes[Attr.WRITE_MODE] = WriteMode.INSERT
    return Told(op, resource, LIBRARY, attributes, part=TEXT)


_OPS: Final = {"ADD": Op.WRITE, "UPDATE": Op.WRITE, "DELETE": Op.DELETE}


def _update(memory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    """The text, or else what is known of it besides."""
    resource = _resource(memory, _argument(args, kwargs, 0, "memory_id"))
    text = _argument(args, kwargs, 1, "text") or kwargs.get("data")
    part, value = (METADATA, _argument(args, kwargs, 2, "metadata")) if text is None else (TEXT, text)
    return Told(
        Op.WRITE, resource, LIBRARY, printed(Attr.VERSION_WRITTEN, value), part=part, finds_base=text is not None
    )


def _delete(memory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    resource = _resource(memory, _argument(args, kwargs, 0, "memory_id"))
    return Told(Op.DELETE, resource, LIBRARY, absent(Attr.VERSION_WRITTEN), finds_base=True)


def _reset(memory: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    return Told(Op.DELETE, _resource(memory, ""), LIBRARY, absent(Attr.VERSION_WRITTEN))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
