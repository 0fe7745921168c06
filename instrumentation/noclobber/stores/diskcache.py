"""diskcache: keys of a cache that processes of a machine share by its folder, transactions, and its lock.

Methods of `Cache` are wrapped; `FanoutCache`, `Deque` and `Index` call them. What they do in SQLite and in files is not
told a second time. A cache forgets by itself, so a miss is partial. `add` looks and writes at once and says which.

`transact()` keeps every other writer out until its end, which takes back everything if its block raises: it is a lock
and a transaction. The recipe `Lock` is told as a lock.

Source: diskcache/core.py, recipes.py (5.6); capture.md section 2.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, AttributeValue, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import host_name, quoted, uri
from noclobber.stores.deeds import Deed, Note, quietly, recorded
from noclobber.stores.object_values import UNKNOWN, Kept, kept, state
from noclobber.stores.wrapping import Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "diskcache"
SYSTEM: Final = "diskcache"
REFUSALS: Final = ("Timeout", "KeyError", "TypeError")
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "set": ("key", "value", "expire", "read"),
    "add": ("key", "value", "expire", "read"),
    "get": ("key", "default", "read", "expire_time", "tag"),
    "incr": ("key", "delta", "default"),
    "pop": ("key", "default", "expire_time", "tag"),
    "__delitem__": ("key",),
    "__contains__": ("key",),
    "clear": (),
    "evict": ("tag",),
    "push": ("value",),
    "pull": (),
}
_QUIET: Final = (
    "__init__", "close", "touch", "peek", "peekitem", "check", "create_tag_index", "drop_tag_index", "expire", "cull",
    "stats", "volume", "__len__", "reset",
)  # fmt: skip
"""Methods that touch no key's content, but SQLite."""
_wrapping = Wrapping(LIBRARY)
_numbers = itertools.count(1)
_open: dict[tuple[str, int], str] = {}
"""Folder and thread -> the transaction that is open there."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """One key in one call; `default` is what stands for a miss, `txn` the transaction that is open."""

    resource: str
    value: Kept = UNKNOWN
    expire: float | None = None
    default: Any = None
    txn: str | None = None


_MISS: Final = Kept(None, verbatim=False)
_DEFAULT: Final = Kept(None, verbatim=False)


def install(library: ModuleType) -> None:
    """Wrap the methods that touch keys, and what keeps others out."""
    from diskcache import recipes

    _wrapping.wrap(
        [
            *((library.Cache, name, recorded(LIBRARY, _noting(name))) for name in _ORDER),
            *((library.Cache, name, quietly) for name in _QUIET),
            (library.Cache, "transact", _transacting),
            (recipes.Lock, "acquire", _locking(Op.LOCK)),
            (recipes.Lock, "release", _locking(Op.UNLOCK)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()
    _open.clear()


# -- at the call ---------------------------------------------------------------------------------------------------


def _place(cache: Any) -> str:
    return uri("cache", host_name(), *str(cache.directory).lstrip("/").split("/")) + "/"


def _key(place: str, key: Any) -> str | None:
    """A key's name; of what is no text with its type, so that 1 and "1" are two. None where it can't be shown."""
    if type(key) is str:
        return place + quoted(key)
    data = kept(key).data
    return None if data is None else place + quoted(f"{type(key).__name__}({data.decode('utf-8', 'backslashreplace')})")


def _noting(name: str) -> Note:
    def note(cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
        asked = {**dict(zip(_ORDER[name], args, strict=False)), **kwargs}
        place, txn = _place(cache), _open.get((cache.directory, threading.get_ident()))
        if "key" not in _ORDER[name]:
            return Deed(name, 1, _DESCRIBE[name], _Fact(place, txn=txn), _nothing, REFUSALS)
        resource = _key(place, asked["key"])
        if resource is None:
            return Deed(name, 1, _change, _Fact(place, txn=txn), _nothing, REFUSALS)
        value = UNKNOWN if asked.get("read") or "value" not in asked else kept(asked["value"])
        default = asked.get("default")
        fact = _Fact(resource, value, asked.get("expire"), default, txn)
        return Deed(name, 1, _DESCRIBE[name], fact, _keeping(name, asked, default), REFUSALS)

    return note


def _keeping(name: str, asked: dict[str, Any], default: Any) -> Callable[[Any], Any]:
    """What is kept of a reply."""
    if name not in ("get", "pop"):
        return bool if name in ("add", "__contains__") else kept if name == "incr" else _nothing
    more = bool(asked.get("expire_time")) or bool(asked.get("tag"))

    def keep(reply: Any) -> Kept:
        value = reply[0] if more else reply
        if value is default:
            return _MISS if default is None or type(default).__name__ == "Constant" else _DEFAULT
        return UNKNOWN if asked.get("read") else kept(value)

    return keep


def _nothing(_reply: Any) -> None:
    return None


# -- in the drain --------------------------------------------------------------------------------------------------


def _told(deed: Deed, op: Op, *, finds_base: bool = False, **more: Any) -> Access:
    fact: _Fact = deed.facts
    access = Access(op, fact.resource, SYSTEM, finds_base=finds_base, **more)
    if fact.txn is not None:
        access.attributes |= _in(fact.txn)
    return access


def _in(txn: str) -> dict[str, AttributeValue]:
    return {Attr.TXN_ID: txn, Attr.TXN_ISOLATION: "serializable", Attr.GUARD: Guard.SERIALIZABLE}


def _absent(access: Access, name: str) -> None:
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, name: ABSENT}


def _get(deed: Deed) -> list[Access]:
    access = _told(deed, Op.READ)
    if deed.reply is _MISS:
        access.outcome = Outcome.NOT_FOUND
        _absent(access, Attr.VERSION_READ)
    elif deed.reply is not None:
        state(deed.reply, access.attributes, Attr.VERSION_READ)
    if deed.reply in (_MISS, _DEFAULT):  # forgotten, or a default that may also be the value: nobody can tell
        access.attributes[Attr.PARTIAL] = True
    return [access]


def _has(deed: Deed) -> list[Access]:
    access = _told(deed, Op.READ, remembered=False)
    if deed.reply is False:
        access.outcome = Outcome.NOT_FOUND
        access.attributes[Attr.PARTIAL] = True
        _absent(access, Attr.VERSION_READ)
    return [access]


def _set(deed: Deed) -> list[Access]:
    access = _told(deed, Op.WRITE, finds_base=True)
    state(deed.facts.value, access.attributes, Attr.VERSION_WRITTEN)
    if deed.facts.expire is not None:
        access.attributes[Attr.TTL_MS] = max(0, int(deed.facts.expire * 1000))
    if deed.name == "add":
        access.attributes |= {Attr.GUARD: Guard.UNIQUE, Attr.WRITE_MODE: WriteMode.INSERT}
        if deed.error is None and not deed.reply:
            access.outcome = Outcome.REJECTED
    return [access]


def _incr(deed: Deed) -> list[Access]:
    access = _told(deed, Op.UPDATE)
    access.attributes[Attr.WRITE_MODE] = WriteMode.INCREMENT
    if deed.reply is not None:
        state(deed.reply, access.attributes, Attr.VERSION_WRITTEN)
    return [access]


def _delete(deed: Deed) -> list[Access]:
    access = _told(deed, Op.DELETE, finds_base=True)
    _absent(access, Attr.VERSION_WRITTEN)
    if deed.reply is _MISS or isinstance(deed.error, KeyError):
        access.outcome = Outcome.NO_EFFECT
    elif deed.name == "pop" and deed.reply not in (None, _DEFAULT):
        state(deed.reply, access.attributes, Attr.VERSION_OVERWRITTEN)
    return [access]


def _change(deed: Deed) -> list[Access]:
    access = _told(deed, Op.UPDATE)
    access.attributes |= {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}
    return [access]


def _clear(deed: Deed) -> list[Access]:
    access = _told(deed, Op.DELETE)
    _absent(access, Attr.VERSION_WRITTEN)
    return [access]


_DESCRIBE: Final[dict[str, Callable[[Deed], list[Access]]]] = {
    "get": _get, "__contains__": _has, "set": _set, "add": _set, "incr": _incr, "pop": _delete, "__delitem__": _delete,
    "clear": _clear, "evict": _change, "push": _change, "pull": _change,
}  # fmt: skip


# -- transactions and locks ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Transaction:
    """One `transact()`: a lock that is held, and the transaction under it."""

    key: tuple[str, int]
    place: str
    lock: Call | None
    holder: strands.Strand
    id: str
    entered: bool = False

    @property
    def name(self) -> str:
        return f"{self.place}?transact"


def _transacting(original: Any) -> Any:
    @contextlib.contextmanager
    def transact(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        begun, closing = _begin(self), None
        error: BaseException | None = None
        try:
            with original(self, *args, **kwargs) as entered:
                _enter(begun)
                try:
                    yield entered
                except BaseException:
                    closing = _close(begun)
                    raise
                closing = _close(begun)
        except BaseException as raised:
            error = raised
            raise
        finally:
            _end(begun, closing, error)

    return transact


def _begin(cache: Any) -> _Transaction | None:
    """None where nothing is recorded, and inside another transaction."""
    with GUARD:
        active, holder = recorder.recording(), strands.current()
        key = (cache.directory, threading.get_ident())
        if active is None or key in _open:
            return None
        identifier = f"{strands.process_id()}-{LIBRARY}-{next(_numbers)}"
        begun = _Transaction(key, _place(cache), None, holder, identifier)
        begun.lock = holding.begin(LIBRARY, Op.LOCK, begun.name, SYSTEM)
        holder.suppressed += 1  # its BEGIN
        return begun
    return None


def _enter(begun: _Transaction | None) -> None:
    with GUARD:
        if begun is None:
            return
        begun.holder.suppressed -= 1
        begun.entered = True
        _open[begun.key] = begun.id
        if begun.lock is not None:
            holding.end(begun.lock, holding.Fact(Op.LOCK, begun.name, SYSTEM, begun.holder.id))
        holding.take(begun.holder, begun.name)
        active = recorder.active()
        if active is not None:
            active.edge(LIBRARY, _bound, (Op.BEGIN, begun, None))


def _close(begun: _Transaction | None) -> Call | None:
    """The commit, or the abort, begins."""
    with GUARD:
        active = recorder.active()
        if begun is not None:
            _open.pop(begun.key, None)
            begun.holder.suppressed += 1
            return active.begin(LIBRARY) if active is not None else None
    return None


def _end(begun: _Transaction | None, closing: Call | None, error: BaseException | None) -> None:
    with GUARD:
        if begun is None:
            return
        begun.holder.suppressed -= 1
        active = recorder.active()
        if not begun.entered:
            if begun.lock is not None:
                refused = Outcome.REJECTED if type(error).__name__ == "Timeout" else Outcome.ERROR
                holding.end(begun.lock, holding.Fact(Op.LOCK, begun.name, SYSTEM, begun.holder.id, refused), error)
            return
        if closing is not None and active is not None:
            active.end(closing, _bound, (Op.ABORT if error is not None else Op.COMMIT, begun, error))
        holding.drop(begun.holder, begun.name)
        unlock = holding.begin(LIBRARY, Op.UNLOCK, begun.name, SYSTEM)
        if unlock is not None:
            holding.end(unlock, holding.Fact(Op.UNLOCK, begun.name, SYSTEM, begun.holder.id))


def _bound(call: Call) -> list[Access]:
    op, begun, _ = call.facts
    return [Access(op, begun.place, SYSTEM, attributes=_in(begun.id), remembered=False)]


def _locking(op: Op) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def method(self: Any) -> Any:
            begun = _begin_lock(self, op)
            try:
                answer = original(self)
            except BaseException as error:
                _end_lock(begun, op, error)
                raise
            _end_lock(begun, op, None)
            return answer

        return method

    return make


def _begin_lock(lock: Any, op: Op) -> tuple[Call, str, strands.Strand] | None:
    with GUARD:
        holder = strands.current()
        name = _key(f"{_place(lock._cache)}?lock=", lock._key)
        if name is None:
            return None
        if op is Op.UNLOCK:
            holding.drop(holder, name)
        call = holding.begin(LIBRARY, op, name, SYSTEM)
        if call is None:
            return None
        holder.suppressed += 1
        return call, name, holder
    return None


def _end_lock(begun: tuple[Call, str, strands.Strand] | None, op: Op, error: BaseException | None) -> None:
    with GUARD:
        if begun is None:
            return
        call, name, holder = begun
        holder.suppressed -= 1
        outcome = Outcome.OK if error is None else Outcome.ERROR
        holding.end(call, holding.Fact(op, name, SYSTEM, holder.id, outcome), error)
        if op is Op.LOCK and error is None:
            holding.take(holder, name)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
