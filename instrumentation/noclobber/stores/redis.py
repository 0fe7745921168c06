"""redis-py: sync and asyncio clients, pipelines, transactions under WATCH, locks.

All calls pass `execute_command`, a pipeline's `immediate_execute_command` or its `execute`; these are wrapped on the
classes, so clients that exist already are seen too. The wrapper notes the words and the reply and nothing else; what
they mean is worked out in the drain (`redis_commands`). In exact mode a plain SET asks for what it replaces, and the
caller still gets what a plain SET answers.
"""

import asyncio
import fnmatch
import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Outcome
from noclobber.guard import GUARD
from noclobber.locks import redis as locks
from noclobber.resources import authority, host_name, quoted
from noclobber.stores.redis_commands import Command, count, describe, name_of, split

__all__ = ["INTEGRATION"]

LIBRARY: Final = "redis"
DEFAULT_PORT: Final = 6379
_originals: dict[tuple[type, str], Any] = {}


def install(_library: ModuleType) -> None:
    """Wrap the client classes."""
    import redis.asyncio.client
    import redis.client

    sync, aio = redis.client, redis.asyncio.client
    _wrap(sync.Redis, "execute_command", _sync_call)
    _wrap(sync.Pipeline, "immediate_execute_command", _sync_call)
    _wrap(sync.Pipeline, "execute", _sync_execute)
    _wrap(aio.Redis, "execute_command", _async_call)
    _wrap(aio.Pipeline, "immediate_execute_command", _async_call)
    _wrap(aio.Pipeline, "execute", _async_execute)
    locks.install()


def uninstall() -> None:
    """Put back what was there."""
    locks.uninstall()
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: type, name: str, make: Any) -> None:
    original = owner.__dict__[name]
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))


# -- single commands -----------------------------------------------------------------------------------------------


def _begin(client: Any, args: Sequence[Any]) -> Call | None:
    with GUARD:
        active = recorder.active()
        if active is None or strands.current().suppressed:
            return None
        if client is not None and name_of(args) in ("WATCH", "UNWATCH"):
            _watch(client, args)
        number = count(args)
        return active.begin(LIBRARY, number) if number else None
    return None


def _finish(call: Call, client: Any, args: Sequence[Any], reply: Any, replaced: tuple[Any] | None = None) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None:
            if type(reply) in (list, dict, set):
                reply = reply.copy()  # the caller may change what it got
            active.end(
                call, _build, (_address(client), args, reply, replaced, getattr(client, "_noclobber_watch", None))
            )


def _fail(call: Call, client: Any, args: Sequence[Any], error: BaseException) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None:
            watch = getattr(client, "_noclobber_watch", None)
            active.fail(call, error, _build, (_address(client), args, None, None, watch))


def _sync_call(original: Any) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        call = _begin(self, args)
        if call is None:
            return original(self, *args, **options)
        try:
            exact = _exactly(self, args, options)
            reply, replaced = (
                (original(self, *args, **options), None)
                if exact is None
                else exact.answer(_tried(lambda: original(self, *exact.args, **exact.options)))
            )
            if replaced is _REFUSED:
                reply, replaced = original(self, *args, **options), None
        except BaseException as error:
            _fail(call, self, args, error)
            raise
        _finish(call, self, args, reply, replaced)
        return reply

    return execute_command


def _async_call(original: Any) -> Any:
    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        call = _begin(self, args)
        if call is None:
            return await original(self, *args, **options)
        try:
            exact = _exactly(self, args, options)
            if exact is None:
                reply, replaced = await original(self, *args, **options), None
            else:
                try:
                    asked = await original(self, *exact.args, **exact.options)
                except _response_error() as error:
                    asked = error
                reply, replaced = exact.answer(asked)
                if replaced is _REFUSED:
                    reply, replaced = await original(self, *args, **options), None
        except BaseException as error:
            _fail(call, self, args, error)
            raise
        _finish(call, self, args, reply, replaced)
        return reply

    return execute_command


def _build(call: Call) -> Sequence[Access]:
    address, args, reply, replaced, watch = call.facts
    place, peer = _place(address)
    command = Command(split(args), reply, _outcome(call.error), place, replaced=replaced)
    accesses = describe(command)
    for access in accesses:
        _finishing(access, call, peer)
    if watch is not None:
        watch.saw(accesses)
    return accesses


def _finishing(access: Access, call: Call, peer: str | None) -> None:
    if peer:
        access.attributes[Attr.PEER_ADDRESS] = peer
    if isinstance(call.error, asyncio.CancelledError):
        access.attributes[Attr.CANCELLED] = True


def _outcome(error: BaseException | None) -> Outcome | None:
    """How a call ended that raised: refused by the server, or cut off when it may already have been applied."""
    if error is None:
        return None
    import redis

    if isinstance(error, redis.WatchError):
        return Outcome.REJECTED
    if isinstance(error, redis.ResponseError | redis.DataError | TypeError | ValueError):
        return Outcome.ERROR
    return Outcome.UNKNOWN


# -- exact mode ----------------------------------------------------------------------------------------------------

_REFUSED: Any = ("the server refused the exact form",)


class _Exact:
    """A plain command in the form that also tells what it replaces."""

    __slots__ = ("args", "options", "plain")

    def __init__(self, args: Sequence[Any], options: dict[str, Any], plain: Any) -> None:
        self.args, self.options, self.plain = args, options, plain

    def answer(self, asked: Any) -> tuple[Any, Any]:
        """What the caller gets, and what was replaced."""
        if isinstance(asked, Exception):
            return None, _REFUSED
        return self.plain(asked), (asked,)


def _tried(ask: Any) -> Any:
    try:
        return ask()
    except _response_error() as error:
        return error


def _response_error() -> type[Exception]:
    import redis

    return redis.ResponseError


def _exactly(client: Any, args: Sequence[Any], options: dict[str, Any]) -> _Exact | None:
    """The exact form of a plain SET or of a DEL of one key, None where there is none or it was not asked for."""
    with GUARD:
        active = recorder.active()
        if active is None or not active.settings.exact or len(args) < 2:
            return None
        name = name_of(args)
        callbacks = getattr(client, "response_callbacks", {})
        if name == "SET" and not options and _plain_set(args) and _is_default(callbacks.get("SET")):
            if _wanted(active.settings.exact, client, args[1]):
                return _Exact((*args, "GET"), {"get": True}, lambda _old: True)
        elif name in ("DEL", "UNLINK") and len(args) == 2 and not isinstance(args[1], list | tuple):
            if _wanted(active.settings.exact, client, args[1]):
                return _Exact(("GETDEL", args[1]), {}, lambda old: 0 if old is None else 1)
    return None


def _plain_set(args: Sequence[Any]) -> bool:
    words = {str(word).upper() for word in args[3:] if isinstance(word, str)}
    return not words & {"NX", "XX", "GET", "IFEQ"}


def _is_default(callback: Any) -> bool:
    return getattr(callback, "__module__", "").startswith("redis.")


def _wanted(patterns: Sequence[str], client: Any, key: Any) -> bool:
    if "*" in patterns:
        return True
    from noclobber.versions import encode

    resource = _place(_address(client))[0] + quoted(encode(key).decode("utf-8", "backslashreplace"))
    return any(fnmatch.fnmatchcase(resource, pattern) for pattern in patterns)


# -- pipelines and transactions ------------------------------------------------------------------------------------


class _Watch:
    """What one connection watches, and what it read since; filled in the drain, which sees calls in their order."""

    __slots__ = ("versions",)

    def __init__(self) -> None:
        self.versions: dict[str, str | None] = {}

    def saw(self, accesses: Sequence[Access]) -> None:
        """The first read of a watched key after WATCH is what EXEC will insist on."""
        for access in accesses:
            if access.op == "read" and self.versions.get(access.resource, "") is None:
                version = access.attributes.get(Attr.VERSION_READ)
                self.versions[access.resource] = version if isinstance(version, str) else None


def _watch(pipeline: Any, args: Sequence[Any]) -> None:
    active = recorder.active()
    if active is None:
        return
    if name_of(args) == "UNWATCH":
        pipeline._noclobber_watch = None
        return
    watch = getattr(pipeline, "_noclobber_watch", None)
    if watch is None:
        watch = pipeline._noclobber_watch = _Watch()
    place, _ = _place(_address(pipeline))
    from noclobber.versions import encode

    for key in args[1:]:
        watch.versions[place + quoted(encode(key).decode("utf-8", "backslashreplace"))] = None


def _begin_pipeline(pipeline: Any) -> tuple[Call, list[Any]] | None:
    with GUARD:
        active = recorder.active()
        if active is None or strands.current().suppressed:
            return None
        commands = [_words(entry) for entry in pipeline.command_stack]
        commands = [words for words in commands if words and count(words)]
        if not commands:
            return None
        return active.begin(LIBRARY, sum(count(words) for words in commands)), commands
    return None


def _words(entry: Any) -> Sequence[Any]:
    """A queued command's words: a tuple of words and options, or in a cluster an object."""
    args: Sequence[Any] = entry[0] if isinstance(entry, tuple) else entry.args
    return args


def _finish_pipeline(
    begun: tuple[Call, list[Any]], pipeline: Any, watch: _Watch | None, replies: Any, error: BaseException | None
) -> None:
    with GUARD:
        active = recorder.active()
        call, commands = begun
        if active is None:
            return
        if isinstance(replies, list):
            replies = [reply.copy() if type(reply) in (list, dict, set) else reply for reply in replies]
        call.error = error
        active.end(call, _build_pipeline, (_address(pipeline), commands, replies, watch, _stack_size(pipeline)))
        pipeline._noclobber_watch = None


def _stack_size(pipeline: Any) -> int:
    return len(getattr(pipeline, "command_stack", ()))


def _sync_execute(original: Any) -> Any:
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begin_pipeline(self)
        if begun is None:
            return original(self, *args, **kwargs)
        watch = getattr(self, "_noclobber_watch", None)
        try:
            replies = original(self, *args, **kwargs)
        except BaseException as error:
            _finish_pipeline(begun, self, watch, None, error)
            raise
        _finish_pipeline(begun, self, watch, replies, None)
        return replies

    return execute


def _async_execute(original: Any) -> Any:
    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begin_pipeline(self)
        if begun is None:
            return await original(self, *args, **kwargs)
        watch = getattr(self, "_noclobber_watch", None)
        try:
            replies = await original(self, *args, **kwargs)
        except BaseException as error:
            _finish_pipeline(begun, self, watch, None, error)
            raise
        _finish_pipeline(begun, self, watch, replies, None)
        return replies

    return execute


def _build_pipeline(call: Call) -> Sequence[Access]:
    address, commands, replies, watch, _ = call.facts
    place, peer = _place(address)
    guarded = dict(watch.versions) if watch is not None else {}
    known = isinstance(replies, list) and len(replies) == len(commands)
    accesses: list[Access] = []
    for number, words in enumerate(commands):
        reply = replies[number] if known else None
        failed = reply if isinstance(reply, Exception) else call.error
        outcome = _outcome(failed) or (None if known else Outcome.OK if call.error is None else Outcome.UNKNOWN)
        accesses += describe(Command(split(words), None if failed else reply, outcome, place, guarded))
    for access in accesses:
        _finishing(access, call, peer)
    return accesses


# -- where ---------------------------------------------------------------------------------------------------------


def _address(client: Any) -> Any:
    pool = getattr(client, "connection_pool", None)
    return getattr(pool, "connection_kwargs", None) or {}


def _place(address: Any) -> tuple[str, str | None]:
    """URI of the database with a slash at its end, and the peer's address where it was configured as one."""
    database = address.get("db") or 0
    path = address.get("path")
    if path:
        return f"redis://{host_name()}{quoted(str(path))}/{database}/", None
    host, port = address.get("host", "localhost"), address.get("port", DEFAULT_PORT)
    return f"redis://{authority(host, int(port), DEFAULT_PORT)}/{database}/", None


INTEGRATION = Integration(LIBRARY, install, uninstall)
