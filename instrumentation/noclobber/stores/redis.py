"""redis-py: sync and asyncio clients, of servers and of clusters, pipelines, MULTI under WATCH, locks.

All calls pass `execute_command`, a pipeline's `immediate_execute_command` or its `execute`; these are wrapped on the
classes, so clients that exist already are seen too. The wrapper notes the words and the reply and nothing else; what
they mean is worked out in the drain (`redis_commands`). In exact mode a plain SET asks for what it replaces, and the
caller still gets what a plain SET answers.

MULTI/EXEC is no transaction in the contract's sense: a command of it that fails takes nothing back, no reply comes
before all is decided, and there is no abort after a write. Its commands are accesses of one call like those of any
pipeline; WATCH is their version guard, and a WatchError makes them `rejected`. What a cluster's clients do in their
place is named in `redis_cluster`; they have no exact mode.
"""

import asyncio
import fnmatch
import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Op, Outcome
from noclobber.guard import GUARD
from noclobber.locks import redis as locks
from noclobber.pacing.seams import seam
from noclobber.queues import redis_pubsub, redis_receipts
from noclobber.queues.redis_receipts import Late
from noclobber.queues.redis_streams import LATE
from noclobber.recorder import begun, ended
from noclobber.stores import redis_cluster
from noclobber.stores.redis_commands import ONE, Command, count, describe, got, name_of, split
from noclobber.stores.redis_kept import as_now, kept
from noclobber.stores.redis_place import Place, home_of, is_cluster, place_of
from noclobber.stores.redis_words import TAKES
from noclobber.versions import HELD_MAX, encode

__all__ = ["INTEGRATION"]

LIBRARY: Final = "redis"
_originals: dict[tuple[type, str], Any] = {}


def install(_library: ModuleType) -> None:
    """Wrap the client classes."""
    import redis.asyncio.client
    import redis.client

    sync, aio = redis.client, redis.asyncio.client
    _wrap(sync.Redis, "execute_command", _sync_call)
    _wrap(sync.Pipeline, "immediate_execute_command", functools.partial(_sync_call, watches=True))
    _wrap(sync.Pipeline, "execute", _sync_execute)
    for pipeline in (sync.Pipeline, aio.Pipeline):
        _wrap(pipeline, "reset", _forgetting)
        _wrap(pipeline, "raise_first_error", _telling)
    _wrap(aio.Redis, "execute_command", _async_call)
    _wrap(aio.Pipeline, "immediate_execute_command", _async_call)
    _wrap(aio.Pipeline, "execute", _async_execute)
    for (owner, name), kind in redis_cluster.hooks().items():
        _wrap(owner, name, _CLUSTER[kind])
    locks.install()
    redis_pubsub.install()


def uninstall() -> None:
    """Put back what was there."""
    redis_pubsub.uninstall()
    locks.uninstall()
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: type, name: str, make: Any) -> None:
    original = owner.__dict__[name]
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))
    seam(owner, name)


# -- single commands -----------------------------------------------------------------------------------------------


# These run at every command, so they guard themselves by hand: a context manager costs as much as all the rest. What is
# one access goes the short way (`begun`, `ended`).


def _begin_rarer(client: Any, args: Sequence[Any]) -> Call | None:
    active = recorder.recording()
    if active is None:
        return None
    number = count(args)
    if not number:
        if name_of(args) in ("WATCH", "UNWATCH"):
            _watch(client, args)
        return Late() if name_of(args) in LATE else None
    call = active.begin(LIBRARY, number)
    if name_of(args) in TAKES:
        call.build, call.facts = _build, (home_of(client), args, None, None, None)
        active.waits(call)
    return call


def _finish(call: Call, client: Any, args: Sequence[Any], reply: Any, replaced: tuple[Any] | None = None) -> None:
    try:
        active = recorder.active()
        if active is not None:
            if type(call) is Late:
                redis_receipts.note(active, call, home_of(client), args, reply)
                return
            reply = as_now(reply)
            watch = client.__dict__.get("_noclobber_watch")
            active.end(call, _build, (home_of(client), kept(args), reply, replaced, watch))
    except Exception as error:
        GUARD.caught(error)


def _fail(call: Call, client: Any, args: Sequence[Any], error: BaseException) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None and type(call) is not Late:
            watch = client.__dict__.get("_noclobber_watch")
            active.fail(call, error, _build, (home_of(client), kept(args), None, None, watch))


def _sync_call(original: Any, *, watches: bool = False) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        call = None
        try:
            call = begun(LIBRARY) if args[0] in ONE else _begin_rarer(self, args)
        except Exception as error:
            GUARD.caught(error)
        if call is None:
            return original(self, *args, **options)
        try:
            exact = _exactly(self, args, options) if recorder.asks else None
            if exact is None:
                reply, replaced = original(self, *args, **options), None
            else:
                reply, replaced = _asked(exact, original, self)
                if replaced is _REFUSED:
                    reply, replaced = original(self, *args, **options), None
        except BaseException as error:
            _fail(call, self, args, error)
            raise
        try:
            home, simple = self.__dict__.get("connection_pool"), len(args) == 2 and type(args[1]) is str
            if simple and type(reply) is bytes and len(reply) <= HELD_MAX and home is not None:
                # a GET of a single server: nothing that could change, and nothing long
                watch = self.__dict__.get("_noclobber_watch") if watches else None
                ended(call, _build, (home, args, reply, None, watch))
            else:
                _finish(call, self, args, reply, replaced)
        except Exception as error:
            GUARD.caught(error)
        return reply

    return execute_command


def _async_call(original: Any) -> Any:
    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        call = None
        try:
            call = begun(LIBRARY) if args[0] in ONE else _begin_rarer(self, args)
        except Exception as error:
            GUARD.caught(error)
        if call is None:
            return await original(self, *args, **options)
        try:
            exact = _exactly(self, args, options) if recorder.asks else None
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


_NOTHING: Final[dict[Any, str]] = {}


def _build(call: Call) -> Sequence[Access]:
    pool, args, reply, replaced, watch = call.facts
    place = place_of(pool)
    if args[0] == "GET" and call.error is None and call.end_ns and len(args) == 2 and place.encoding is None:
        accesses = [got(place.uri, args[1], reply)]  # the commonest, by a shorter way
    else:
        accesses = describe(_command(call, args, reply, replaced, place))
    for access in accesses:
        _finishing(access, call, place)
    if watch is not None:
        watch.saw(accesses)
    return accesses


def _command(call: Call, args: Sequence[Any], reply: Any, replaced: Any, place: Place) -> Command:
    words = split(args)
    if not call.end_ns:  # still waiting
        return Command(words, None, Outcome.UNKNOWN, place.uri)
    if place.encoding is not None:
        words, reply, replaced = place.words(words), place.raw(reply), place.raw(replaced)
    return Command(words, reply, _outcome(call.error), place.uri, _NOTHING, replaced)


def _finishing(access: Access, call: Call, place: Place) -> None:
    if place.peer:
        access.attributes[Attr.PEER_ADDRESS] = place.peer
    if call.error is not None and isinstance(call.error, asyncio.CancelledError):
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


def _asked(exact: _Exact, original: Any, client: Any) -> tuple[Any, Any]:
    """What the caller gets, and what was replaced."""
    try:
        answer = original(client, *exact.args, **exact.options)
    except _response_error() as error:
        answer = error
    return exact.answer(answer)


def _response_error() -> type[Exception]:
    import redis

    return redis.ResponseError


def _exactly(client: Any, args: Sequence[Any], options: dict[str, Any]) -> _Exact | None:
    """The exact form of a plain SET or of a DEL of one key, None where there is none or it was not asked for."""
    active = recorder.active()
    if active is None or len(args) < 2:
        return None
    with GUARD:
        name = name_of(args)
        if is_cluster(home_of(client)):
            return None
        if name == "SET":
            plain = (
                options.keys() <= {"keys"} and _plain_set(args) and _is_default(client.response_callbacks.get("SET"))
            )
            if plain and _wanted(active, client, args[1]):
                return _Exact((*args, "GET"), {"get": True}, lambda _old: True)
        elif name in ("DEL", "UNLINK") and len(args) == 2 and _wanted(active, client, args[1]):
            return _Exact(("GETDEL", args[1]), {}, lambda old: 0 if old is None else 1)
    return None


def _plain_set(args: Sequence[Any]) -> bool:
    words = {encode(word).upper() for word in args[3:] if isinstance(word, str | bytes)}
    return not words & {b"NX", b"XX", b"GET", b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"}


def _is_default(callback: Any) -> bool:
    return getattr(callback, "__module__", "").startswith("redis.")


def _wanted(active: recorder.Recorder, client: Any, key: Any) -> bool:
    patterns = active.settings.exact
    if "*" in patterns:
        return True
    resource = place_of(client.connection_pool).of(key)
    return any(fnmatch.fnmatchcase(resource, each) for each in patterns) or active.declarations.wants_exact(resource)


# -- pipelines and transactions ------------------------------------------------------------------------------------


class _Watch:
    """What one connection watches, and what it read since; filled in the drain, which sees calls in their order."""

    __slots__ = ("keys", "versions")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.versions: dict[tuple[str, tuple[str, ...]], str] = {}

    def saw(self, accesses: Sequence[Access]) -> None:
        """The first read of a watched key after WATCH is what EXEC will insist on."""
        for access in accesses:
            version = access.attributes.get(Attr.VERSION_READ)
            if access.op is Op.READ and access.resource in self.keys and isinstance(version, str):
                self.versions.setdefault((access.resource, access.part), version)
                for name, each in (access.part_versions or {}).items():
                    self.versions.setdefault((access.resource, (name,)), each)


def _watch(pipeline: Any, args: Sequence[Any]) -> None:
    if name_of(args) == "UNWATCH":
        pipeline._noclobber_watch = None
        return
    watch = getattr(pipeline, "_noclobber_watch", None)
    if watch is None:
        watch = pipeline._noclobber_watch = _Watch()
    place = place_of(home_of(pipeline))
    watch.keys.update(place.of(key) for key in args[1:])


def _forgetting(original: Any) -> Any:
    """`reset` of a pipeline: its connection watches nothing any more."""

    def reset(self: Any) -> Any:
        self._noclobber_watch = None
        return original(self)

    return reset


def _telling(original: Any) -> Any:
    """`raise_first_error` of a pipeline: what the other commands answered would be lost with the error."""

    def raise_first_error(self: Any, commands: Any, response: Any) -> Any:
        with GUARD:
            self._noclobber_replies = list(response)
        return original(self, commands, response)

    return raise_first_error


def _begin_pipeline(pipeline: Any) -> tuple[Call, list[Any]] | None:
    with GUARD:
        active = recorder.recording()
        if active is None:
            return None
        commands = [kept(_words(entry)) for entry in _queued(pipeline)]
        number = sum(count(words) for words in commands)
        if number:
            return active.begin(LIBRARY, number), commands
        return (Late(), commands) if any(name_of(words) in LATE for words in commands) else None
    return None


def _queued(pipeline: Any) -> Sequence[Any]:
    queued: Sequence[Any] = getattr(pipeline, "command_stack", None) or pipeline.__dict__.get("_command_queue") or ()
    return queued


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
        raw = pipeline.__dict__.pop("_noclobber_replies", None)
        if active is None:
            return
        if error is not None and raw is not None:
            replies = [_applied_anyway(reply) for reply in raw]
        elif isinstance(replies, list):
            replies = [as_now(reply) for reply in replies]
            call = redis_receipts.taken(active, call, commands, replies)
        if type(call) is Late:
            return
        call.error = error
        active.end(call, _build_pipeline, (home_of(pipeline), commands, replies, watch))


_APPLIED: Final[Any] = ("applied, with a reply that was not decoded",)


def _applied_anyway(reply: Any) -> Any:
    """A raw reply of a pipeline that raised, as far as it means the same as a decoded one."""
    return reply if reply is None or isinstance(reply, Exception | int) else _APPLIED


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
    pool, commands, replies, watch = call.facts
    place = place_of(pool)
    guarded = dict(watch.versions) if watch is not None else {}
    known = replies if isinstance(replies, list) and len(replies) == len(commands) else None
    accesses: list[Access] = []
    for number, words in enumerate(commands):
        if known is not None and call.error is None and name_of(words) in LATE:
            accesses += redis_receipts.received(call, place, name_of(words), known[number])
        if not count(words):
            continue
        reply = known[number] if known is not None else None
        outcome, reply = _of_pipelined(reply, call.error, known=known is not None)
        accesses += describe(Command(place.words(split(words)), place.raw(reply), outcome, place.uri, guarded))
    for access in accesses:
        _finishing(access, call, place)
    return accesses


def _of_pipelined(reply: Any, error: BaseException | None, *, known: bool) -> tuple[Outcome | None, Any]:
    """How one command of a pipeline ended (None: its reply decides), and its reply."""
    if not known:
        return _outcome(error) or Outcome.UNKNOWN, None
    if isinstance(reply, Exception):
        return _outcome(reply), None
    return (Outcome.OK, None) if reply is _APPLIED else (None, reply)


_CLUSTER: Final = {
    "call": _sync_call,
    "async call": _async_call,
    "execute": lambda original: _sync_execute(redis_cluster.enclosed(original)),
    "async execute": lambda original: _async_execute(redis_cluster.enclosed_async(original)),
    "reset": _forgetting,
    "raise": redis_cluster.telling,
}
INTEGRATION = Integration(LIBRARY, install, uninstall)
