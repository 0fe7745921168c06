"""requests-cache: responses that agents share by a file, a folder, or an object in their process.

A cached session asks its cache for a response and saves the one that it got; these two, `delete` and `clear` are
wrapped on the cache's classes, and what they do in SQLite and in files is not told a second time. Caches in Redis,
DynamoDB and MongoDB are told by their clients' hooks. A response's print is taken over its status and body; it is named
by a keyed print of its key, since the library's own keys are plain hashes of requests, which may hold secrets.

What a session saves came from the server, and was not computed from what the cache had: it has no base. Who saves what
it made of a response that it got from the cache has one. A cache forgets by itself, so a miss is partial.

Source: requests_cache/backends/base.py, sqlite.py, filesystem.py (1.3); capture.md section 2.
"""

import contextvars
import datetime as dt
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Op, Outcome, VersionKind, WriteMode
from noclobber.resources import host_name, uri
from noclobber.stores.deeds import Deed, quietly, recorded
from noclobber.stores.object_values import UNKNOWN, Kept, state
from noclobber.stores.wrapping import Wrapping, knowing
from noclobber.versions import fingerprint, shortened

__all__ = ["INTEGRATION"]

LIBRARY: Final = "requests-cache"
SYSTEM: Final = "requests-cache"
_wrapping = Wrapping(LIBRARY)
_fetching: contextvars.ContextVar[bool] = contextvars.ContextVar("noclobber_fetching", default=False)
"""Whether a session is under way, so that what is saved is a server's answer."""
_numbers = itertools.count(1)


@dataclass(slots=True)
class _Fact:
    """One call: where, of which keys, for how long; `fetched`: whether it is about a server's answer."""

    place: str
    keys: tuple[str, ...] = ()
    expires: Any = None
    fetched: bool = False


def install(_library: ModuleType) -> None:
    """Wrap the caches of which it is known where they are."""
    with knowing(LIBRARY):
        from requests_cache.backends.base import BaseCache
        from requests_cache.backends.filesystem import FileCache
        from requests_cache.backends.sqlite import SQLiteCache, SQLiteDict
        from requests_cache.session import CacheMixin

        _wrapping.wrap(
            [
                (CacheMixin, "send", _sending),
                (BaseCache, "get_response", recorded(LIBRARY, _getting)),
                (BaseCache, "save_response", recorded(LIBRARY, _saving)),
                *((SQLiteDict, name, quietly) for name in ("init_db", "close")),
                *((each, "delete", recorded(LIBRARY, _deleting)) for each in (BaseCache, FileCache, SQLiteCache)),
                *((each, "clear", recorded(LIBRARY, _clearing)) for each in (BaseCache, FileCache, SQLiteCache)),
            ]
        )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- at the call ---------------------------------------------------------------------------------------------------


def _sending(original: Any) -> Any:
    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = _fetching.get()
        _fetching.set(True)
        try:
            return original(self, *args, **kwargs)
        finally:
            _fetching.set(before)

    return send


def _place(cache: Any) -> str | None:
    """Name of all that is in `cache`, None where its own client tells."""
    kind = type(cache).__name__
    path = str(cache.db_path if kind == "SQLiteCache" else cache.cache_dir if kind == "FileCache" else ":memory:")
    if kind not in ("SQLiteCache", "FileCache", "BaseCache"):
        return None
    if ":memory:" in path:
        number = cache.__dict__.setdefault("_noclobber_number", next(_numbers))
        return uri(LIBRARY, strands.process_id(), str(number)) + "/"
    return uri("cache", host_name(), *path.lstrip("/").split("/")) + "/"


def _getting(cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    key, default = _asked(("key", "default"), args, kwargs)
    place = _place(cache)
    if place is None or not isinstance(key, str):
        return None
    return Deed("get_response", 1, _get, _Fact(place, (key,)), _unless(default))


def _saving(cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    response, key, expires = _asked(("response", "cache_key", "expires"), args, kwargs)
    place = _place(cache)
    if place is None:
        return None
    key = key or cache.create_key(response.request)
    return Deed("save_response", 1, _save, _Fact(place, (key,), expires, _fetching.get()), _of(response))


def _deleting(cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    place = _place(cache)
    if place is None:
        return None
    if kwargs or not args or not all(isinstance(key, str) for key in args):
        return Deed("delete", 1, _change, _Fact(place), _nothing)
    return Deed("delete", len(args), _delete, _Fact(place, args), _nothing)


def _clearing(cache: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Deed | None:
    place = _place(cache)
    return None if place is None else Deed("clear", 1, _clear, _Fact(place), _nothing)


def _asked(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return [given.get(name) for name in names]


def _unless(default: Any) -> Callable[[Any], Kept | None]:
    return lambda reply: None if reply is default else _kept(reply)


def _of(response: Any) -> Callable[[Any], Kept]:
    """What was saved: its body was read by then."""
    held = [response]
    return lambda _reply: _kept(held.pop())


def _kept(response: Any) -> Kept:
    body = response.__dict__.get("_content")
    if not isinstance(body, bytes):
        return UNKNOWN
    return Kept(shortened(b"%d:%b" % (response.status_code or 0, body)), verbatim=False)


def _nothing(_reply: Any) -> None:
    return None


# -- in the drain --------------------------------------------------------------------------------------------------


def _access(deed: Deed, op: Op, key: str | None = None) -> Access:
    fact: _Fact = deed.facts
    access = Access(op, fact.place, SYSTEM)
    if key is not None:
        access.finds_base = op in (Op.WRITE, Op.DELETE) and not fact.fetched
        access.resource += fingerprint(key.encode("utf-8", "surrogatepass"))
        access.attributes[Attr.RESOURCE_HASHED] = True
    return access


def _absent(access: Access, name: str) -> Access:
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, name: ABSENT}
    return access


def _get(deed: Deed) -> list[Access]:
    access = _access(deed, Op.READ, deed.facts.keys[0])
    if deed.reply is not None:
        state(deed.reply, access.attributes, Attr.VERSION_READ)
    elif deed.error is None:
        access.outcome = Outcome.NOT_FOUND
        access.attributes[Attr.PARTIAL] = True
        _absent(access, Attr.VERSION_READ)
    return [access]


def _save(deed: Deed) -> list[Access]:
    access = _access(deed, Op.WRITE, deed.facts.keys[0])
    if deed.reply is not None:
        state(deed.reply, access.attributes, Attr.VERSION_WRITTEN)
    if isinstance(deed.facts.expires, dt.datetime):
        left = deed.facts.expires - dt.datetime.now(deed.facts.expires.tzinfo)
        access.attributes[Attr.TTL_MS] = max(0, int(left.total_seconds() * 1000))
    return [access]


def _delete(deed: Deed) -> list[Access]:
    return [_absent(_access(deed, Op.DELETE, key), Attr.VERSION_WRITTEN) for key in deed.facts.keys]


def _clear(deed: Deed) -> list[Access]:
    return [_absent(_access(deed, Op.DELETE), Attr.VERSION_WRITTEN)]


def _change(deed: Deed) -> list[Access]:
    access = _access(deed, Op.UPDATE)
    access.attributes |= {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
