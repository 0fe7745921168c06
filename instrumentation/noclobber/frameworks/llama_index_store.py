"""The store of a workflow's context: values under names that all steps of a run get and set.

`get` and `set` are a read and a write of the value under the first word of a path; the rest of the path is its part.
`edit_state` keeps other writers out while its block runs and replaces the state at its end: what it changes is updated
at once (`update`), and loses nothing. A state in memory belongs to its object; a durable one is known by its run.

Source: workflows/context/state_store.py (llama-index-workflows 2.26).
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from noclobber.access import Call
from noclobber.contract import Attr, Op, Outcome, WriteMode
from noclobber.frameworks import places
from noclobber.frameworks.seams import Seams, arecorded, is_hidden
from noclobber.frameworks.states import Told, absent, ended, printed, starting
from noclobber.guard import GUARD
from noclobber.resources import uri
from noclobber.stores.wrapping import Hook

__all__ = ["hooks"]

LIBRARY: Final = "llama-index-workflows"
SYSTEM: Final = "llama_index.store"
_seams = Seams(LIBRARY)


def hooks(store: Any) -> list[Hook]:
    """What is wrapped of the class of all stores."""
    tells = (("get", _get), ("set", _set), ("get_state", _get_all), ("set_state", _set_all), ("clear", _clear))
    found: list[Hook] = [(store, name, arecorded(starting(_seams, tell), ended)) for name, tell in tells]
    return [*found, (store, "edit_state", _editing)]


def _resource(store: Any, *name: str) -> str:
    durable = getattr(store, "_durable", None)
    place = places.of_object(store) if durable is None else str(durable.run_id)
    return uri("llama-index", "store", place, *name)


def _one(op: Op, store: Any, path: str) -> Told:
    first, _, rest = str(path).partition(".")
    return Told(op, _resource(store, first), SYSTEM, part=(rest,) if rest else ())


def _get(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    told = _one(Op.READ, store, args[0] if args else kwargs["path"])
    default = args[1] if len(args) > 1 else kwargs.get("default")

    def got(told: Told, value: Any) -> None:
        if default is not None and value is default:
            told.outcome = Outcome.NOT_FOUND
            told.attributes |= absent(Attr.VERSION_READ)
        else:
            told.attributes |= printed(Attr.VERSION_READ, value)

    told.learn = got
    return told


def _set(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    told = _one(Op.WRITE, store, args[0] if args else kwargs["path"])
    told.attributes = printed(Attr.VERSION_WRITTEN, args[1] if len(args) > 1 else kwargs["value"])
    told.finds_base = True
    return told


# -- the whole state -------------------------------------------------------------------------------------------------


def _values(state: Any) -> Mapping[str, Any]:
    """The values of a state by name: a typed model's fields, or what the default state holds."""
    fields = type(state).model_fields
    held = getattr(state, "_data", None)
    return dict(held) if isinstance(held, dict) else {name: getattr(state, name) for name in fields}


def _get_all(store: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    def got(told: Told, state: Any) -> Sequence[Told]:
        values = _values(state)
        reads = [
            Told(Op.READ, _resource(store, name), SYSTEM, printed(Attr.VERSION_READ, values[name])) for name in values
        ]
        if reads:
            told.resource, told.attributes = reads[0].resource, reads[0].attributes
        else:
            told.outcome = Outcome.NOT_FOUND
        return reads[1:]

    return Told(Op.READ, _resource(store, ""), SYSTEM, learn=got)


def _set_all(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Told]:
    values = _values(args[0] if args else kwargs["state"])
    return [_replaced(Op.WRITE, store, name, value) for name, value in values.items()]


def _replaced(op: Op, store: Any, name: str, value: Any) -> Told:
    attributes = printed(Attr.VERSION_WRITTEN, value)
    if op is Op.UPDATE:
        attributes[Attr.WRITE_MODE] = WriteMode.MERGE
    return Told(op, _resource(store, name), SYSTEM, attributes, finds_base=op is Op.WRITE)


def _clear(store: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    return Told(Op.DELETE, _resource(store, ""), SYSTEM, absent(Attr.VERSION_WRITTEN))


def _editing(original: Any) -> Any:
    @contextlib.asynccontextmanager
    async def edit_state(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        before: dict[str, Any] | None = None
        call: Call | None = None
        try:
            async with original(self, *args, **kwargs) as state:
                with GUARD:
                    before = None if is_hidden() else _prints(state)
                yield state
                with GUARD:
                    call = None if before is None else _begin_edit(self, before, state)
        except BaseException as error:
            _end_edit(call, error)
            raise
        _end_edit(call, None)

    return edit_state


def _begin_edit(store: Any, before: dict[str, Any], state: Any) -> Call | None:
    """The block has run; what it has changed is about to replace the state."""
    values = _values(state)
    changed = [name for name, print_ in _prints(state).items() if before.get(name) != print_]
    call = _seams.begin(len(changed))
    if call is not None:
        call.facts = [_replaced(Op.UPDATE, store, name, values[name]) for name in changed]
    return call


def _end_edit(call: Call | None, error: BaseException | None) -> None:
    with GUARD:
        if call is not None:
            ended(None, call, None, error)


def _prints(state: Any) -> dict[str, Any]:
    return {
        name: printed(Attr.VERSION_WRITTEN, value).get(Attr.VERSION_WRITTEN) for name, value in _values(state).items()
    }
