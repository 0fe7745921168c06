"""multiprocessing's managers: dictionaries, values and namespaces that processes share through proxies, and locks.

All that a proxy does passes `BaseProxy._callmethod`, in the process of the one who asks. The state lives in the
manager's process and is named by the manager's address and the object's number there; a number is given again when its
object is gone, so making one empties it. Values are pickled: a state is named by the print of its content. A
list is one resource without versions: its elements move, so an index names no state.

A `Lock` of the manager is told as one, and its holder's accesses carry it. Queues, pools, events, barriers and types of
one's own are not recorded.

Source: multiprocessing/managers.py (3.11 to 3.13); capture.md section 2.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.access import Access, AttributeValue, Call, Member
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Op, Outcome, VersionKind, WriteMode
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import authority, host_name, quoted
from noclobber.stores.deeds import Deed, recorded
from noclobber.stores.object_values import UNKNOWN, Kept, kept, state
from noclobber.stores.wrapping import Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "multiprocessing"
SYSTEM: Final = "multiprocessing"
DICTIONARIES: Final = frozenset({"dict"})
LISTS: Final = frozenset({"list"})
VALUES: Final = frozenset({"Value", "Namespace"})
RESULTS_MAX: Final = 64
LOCKS: Final = frozenset({"Lock", "RLock"})
LIST_LOOKS: Final = frozenset({"__getitem__", "__contains__", "__len__", "count", "index", "copy"})
LIST_APPENDS: Final = frozenset({"append", "extend", "__iadd__"})
_REFUSALS: Final = ("KeyError", "IndexError", "TypeError", "ValueError", "AttributeError", "RemoteError")
_wrapping = Wrapping(LIBRARY)
_holders: dict[str, strands.Strand] = {}
_depths: dict[str, int] = {}
"""How often an RLock's holder has taken it."""


def install(library: ModuleType) -> None:
    """Wrap what every proxy calls."""
    _wrapping.wrap(
        [
            (library.BaseProxy, "_callmethod", _calling),
            (library.BaseManager, "_create", recorded(LIBRARY, _note_creation)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()
    _holders.clear()
    _depths.clear()


def _calling(original: Any) -> Any:
    told = recorded(LIBRARY, _note)(original)

    def callmethod(self: Any, *args: Any, **kwargs: Any) -> Any:
        kind = None
        with GUARD:
            kind = self._token.typeid
        if kind in LOCKS and args and args[0] in ("acquire", "release"):
            return _locking(original, self, *args, **kwargs)
        return told(self, *args, **kwargs)

    return callmethod


# -- names ---------------------------------------------------------------------------------------------------------


def _place(proxy: Any) -> str:
    return _place_of(proxy._token)


def _place_of(token: Any) -> str:
    address, number = token.address, quoted(str(token.id))
    if isinstance(address, tuple):
        return f"manager://{authority(address[0], address[1])}/{number}"
    path = address.decode("utf-8", "backslashreplace") if isinstance(address, bytes) else str(address)
    return f"manager://{host_name()}/{quoted(path.lstrip('/').replace(chr(0), ''))}/{number}"


def _key(place: str, key: Kept) -> str:
    text = (key.data or b"?").decode("utf-8", "backslashreplace")
    return f"{place}/{quoted(text)}"


# -- making them --------------------------------------------------------------------------------------------------


def _note_creation(_manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    """What a new object holds is written by its maker; what stood under its number before is gone."""
    kind, *given = args
    if kind in DICTIONARIES:
        items = dict(*given, **kwargs)
    elif kind in VALUES:
        items = dict(kwargs) if kind == "Namespace" else {None: given[1]}
    else:
        return None
    facts = [(None if key is None else kept(key), kept(value)) for key, value in items.items()]
    return Deed(str(kind), len(facts) + (kind != "Value"), _made, facts, lambda reply: _place_of(reply[0]))


def _made(deed: Deed) -> list[Access]:
    """A new object is empty, whatever stood under its number, and then holds what it was made with."""
    place = deed.reply or "manager://unknown"
    writes = _write_each([(place if key is None else _key(place, key), value) for key, value in deed.facts])
    if deed.name == "Value":
        return writes
    emptied = Access(Op.DELETE, f"{place}/", SYSTEM)
    _absent(emptied.attributes, Attr.VERSION_WRITTEN)
    return [emptied, *writes]


# -- dictionaries, values, lists -----------------------------------------------------------------------------------


def _note(proxy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    method, given, named = _asked(*args, **kwargs)
    kind, place = proxy._token.typeid, _place(proxy)
    if kind in DICTIONARIES:
        return _on_dictionary(place, method, given, named)
    if kind in LISTS:
        return _on_list(place, method)
    if kind in VALUES:
        return _on_value(place, method, given)
    return None


def _asked(methodname: str, args: Any = (), kwds: Any = None) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return methodname, tuple(args), kwds or {}


def _on_dictionary(place: str, method: str, given: tuple[Any, ...], named: dict[str, Any]) -> Deed | None:
    if method == "update":
        items = [*dict(*given, **named).items()]
        if not items:
            return None
        facts = [(_key(place, kept(key)), kept(value)) for key, value in items]
        return Deed(method, len(facts), _writes, facts, refusals=_REFUSALS)
    if method in _ONE_KEY:
        describe, keep = _ONE_KEY[method]
        default = given[1] if len(given) > 1 else named.get("default")
        value = kept(given[1]) if method == "__setitem__" else kept(default)
        return Deed(method, 1, describe, (_key(place, kept(given[0])), value), keep, _REFUSALS)
    if method in ("clear", "popitem"):
        return Deed(method, 1, _clear if method == "clear" else _change, place, _nothing, _REFUSALS)
    if method in ("copy", "items", "keys"):
        return Deed(method, 1, _scan, place, _members)
    return None


def _on_value(place: str, method: str, given: tuple[Any, ...]) -> Deed | None:
    if method in ("get", "__getattribute__"):
        name = f"{place}/{quoted(str(given[0]))}" if given else place
        return Deed(method, 1, _read, (name, UNKNOWN), kept, _REFUSALS)
    if method in ("set", "__setattr__"):
        name = f"{place}/{quoted(str(given[0]))}" if len(given) > 1 else place
        return Deed(method, 1, _writes, [(name, kept(given[-1]))], _nothing, _REFUSALS)
    if method == "__delattr__":
        return Deed(method, 1, _delete, (f"{place}/{quoted(str(given[0]))}", UNKNOWN), _nothing, _REFUSALS)
    return None


def _on_list(place: str, method: str) -> Deed:
    describe = _look if method in LIST_LOOKS else _append if method in LIST_APPENDS else _change
    return Deed(method, 1, describe, place, _nothing, _REFUSALS)


def _nothing(_reply: Any) -> None:
    return None


def _found(reply: Any) -> Any:
    return bool(reply)


def _members(reply: Any) -> list[tuple[Kept, Kept]]:
    if isinstance(reply, dict):
        reply = list(reply.items())
    return [(kept(each[0]), kept(each[1])) if type(each) is tuple else (kept(each), UNKNOWN) for each in reply]


# -- in the drain --------------------------------------------------------------------------------------------------


def _absent(attributes: dict[str, AttributeValue], name: str) -> None:
    attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    attributes[name] = ABSENT


def _read(deed: Deed) -> list[Access]:
    """A key, a value or an attribute: its content is in the reply."""
    resource, default = deed.facts
    access = Access(Op.READ, resource, SYSTEM)
    if isinstance(deed.error, KeyError | AttributeError):
        access.outcome = Outcome.NOT_FOUND
        _absent(access.attributes, Attr.VERSION_READ)
    elif deed.reply is not None:
        state(deed.reply, access.attributes, Attr.VERSION_READ)
        if (
            deed.name == "get"
            and isinstance(default, Kept)
            and default.data == deed.reply.data
            and default is not UNKNOWN
        ):
            access.attributes.clear()  # the default, or a value equal to it: nobody can tell
            access.attributes[Attr.PARTIAL] = True
    return [access]


def _has(deed: Deed) -> list[Access]:
    access = Access(Op.READ, deed.facts[0], SYSTEM, remembered=False)
    if deed.reply is False:
        access.outcome, access.remembered = Outcome.NOT_FOUND, True
        _absent(access.attributes, Attr.VERSION_READ)
    return [access]


def _writes(deed: Deed) -> list[Access]:
    return _write_each(deed.facts)


def _write_each(items: Sequence[tuple[str, Kept]]) -> list[Access]:
    accesses = []
    for resource, value in items:
        access = Access(Op.WRITE, resource, SYSTEM, finds_base=True)
        state(value, access.attributes, Attr.VERSION_WRITTEN)
        accesses.append(access)
    return accesses


def _set(deed: Deed) -> list[Access]:
    deed.facts = [deed.facts]
    return _writes(deed)


def _delete(deed: Deed) -> list[Access]:
    access = Access(Op.DELETE, deed.facts[0], SYSTEM, finds_base=True)
    _absent(access.attributes, Attr.VERSION_WRITTEN)
    if isinstance(deed.error, KeyError | AttributeError):
        access.outcome = Outcome.NO_EFFECT
    return [access]


def _pop(deed: Deed) -> list[Access]:
    """The object looks and deletes at once; with a default nobody can tell whether anything was there."""
    (access,) = _delete(deed)
    if access.outcome is Outcome.OK and deed.reply is not None:
        overwritten: dict[str, AttributeValue] = {}
        state(deed.reply, overwritten, Attr.VERSION_OVERWRITTEN)
        if deed.facts[1].data != deed.reply.data:
            access.attributes |= overwritten
    return [access]


def _default(deed: Deed) -> list[Access]:
    """`setdefault`: the object itself looks, and perhaps writes."""
    attributes: dict[str, AttributeValue] = {Attr.WRITE_MODE: WriteMode.MERGE}
    if deed.reply is not None:
        state(deed.reply, attributes, Attr.VERSION_WRITTEN)
    return [Access(Op.UPDATE, deed.facts[0], SYSTEM, attributes=attributes)]


def _clear(deed: Deed) -> list[Access]:
    access = Access(Op.DELETE, f"{deed.facts}/", SYSTEM)
    _absent(access.attributes, Attr.VERSION_WRITTEN)
    return [access]


def _scan(deed: Deed) -> list[Access]:
    """All keys, with their values where the reply has them."""
    access = Access(Op.SCAN, f"{deed.facts}/", SYSTEM)
    members = []
    for key, value in deed.reply or ():
        told: dict[str, AttributeValue] = {}
        members.append(Member(_key(deed.facts, key), state(value, told, Attr.VERSION_READ) or ""))
        if Attr.VERSION_VERBATIM in told:
            access.attributes[Attr.VERSION_VERBATIM] = False
    access.attributes |= {
        Attr.PREDICATE: "*",
        Attr.RESULT_RESOURCES: tuple(each.resource for each in members[:RESULTS_MAX]),
        Attr.RESULT_COUNT: len(members),
    }
    if members and all(each.version for each in members):
        access.members = tuple(members)
        access.attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
        access.attributes[Attr.RESULT_VERSIONS] = tuple(each.version for each in members[:RESULTS_MAX])
    if len(members) > RESULTS_MAX:
        access.attributes[Attr.PARTIAL] = True
    return [access]


def _look(deed: Deed) -> list[Access]:
    return [Access(Op.READ, deed.facts, SYSTEM, remembered=False)]


def _append(deed: Deed) -> list[Access]:
    return [Access(Op.UPDATE, deed.facts, SYSTEM, attributes={Attr.WRITE_MODE: WriteMode.APPEND})]


def _change(deed: Deed) -> list[Access]:
    return [
        Access(Op.UPDATE, deed.facts, SYSTEM, attributes={Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True})
    ]  # fmt: skip


_ONE_KEY: Final[dict[str, tuple[Callable[[Deed], list[Access]], Callable[[Any], Any]]]] = {
    "__getitem__": (_read, kept),
    "get": (_read, kept),
    "__contains__": (_has, _found),
    "__setitem__": (_set, _nothing),
    "__delitem__": (_delete, _nothing),
    "pop": (_pop, kept),
    "setdefault": (_default, kept),
}


# -- locks ---------------------------------------------------------------------------------------------------------


def _locking(original: Any, proxy: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    op = Op.LOCK if method == "acquire" else Op.UNLOCK
    begun = _begin_lock(proxy, op)
    try:
        answer = original(proxy, method, *args, **kwargs)
    except BaseException as error:
        _end_lock(begun, op, Outcome.ERROR, error)
        raise
    _end_lock(begun, op, Outcome.OK if op is Op.UNLOCK or answer else Outcome.REJECTED)
    return answer


def _begin_lock(proxy: Any, op: Op) -> tuple[Call | None, str, strands.Strand] | None:
    """None where nothing changes: an RLock that is taken again, or not yet given back for the last time."""
    with GUARD:
        name, holder = _place(proxy), strands.current()
        if op is Op.LOCK:
            if proxy._token.typeid == "RLock" and name in holder.locks:
                _depths[name] = _depths.get(name, 1) + 1
                return None
            return holding.begin(LIBRARY, op, name, SYSTEM), name, holder
        if _depths.get(name, 1) > 1:
            _depths[name] -= 1
            return None
        _depths.pop(name, None)
        holder = holder if name in holder.locks else _holders.pop(name, holder)
        holding.drop(holder, name)
        return holding.begin(LIBRARY, op, name, SYSTEM), name, holder
    return None


def _end_lock(
    begun: tuple[Call | None, str, strands.Strand] | None, op: Op, outcome: Outcome, error: BaseException | None = None
) -> None:
    with GUARD:
        if begun is None:
            return
        call, name, holder = begun
        if call is not None:
            holding.end(call, holding.Fact(op, name, SYSTEM, holder.id, outcome), error)
        if op is Op.LOCK and outcome is Outcome.OK:
            _holders[name] = holder
            holding.take(holder, name)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
