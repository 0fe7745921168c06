"""Redis: a write of a guarded key becomes WATCH, the same reads again, MULTI, the write, EXEC.

Whatever was read of the key (a string, a hash's field, a range of a list) is read again on the watched connection; if
any answer differs, or EXEC finds that the key was touched meanwhile, nothing is written and StaleWrite is raised. The
transaction reads once more after the write, so that the block's next write rests on this one.

What the server itself reads and writes at once (INCR, HINCRBY, LPUSH, SET NX, a script) loses nothing and passes.
Writes of several keys, in pipelines that watch nothing and on clusters can't be guarded: they are refused before they
are sent.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import Attr, BaseSource, Guard, Op, Outcome
from noclobber.guard import GUARD
from noclobber.guarding.blocks import Memory, Unguardable, guards, memory_of, stale, wrote
from noclobber.stores.redis_commands import got
from noclobber.stores.redis_place import home_of, is_cluster, place_of
from noclobber.stores.wrapping import Wrapping
from noclobber.versions import encode

__all__ = ["install", "uninstall"]

READS: Final = frozenset(
    {
        "GET", "GETRANGE", "STRLEN", "HGET", "HMGET", "HGETALL", "HVALS", "HKEYS", "HLEN", "HEXISTS", "LRANGE",
        "LINDEX", "LLEN", "SMEMBERS", "SISMEMBER", "SCARD", "ZRANGE", "ZSCORE", "ZCARD", "ZRANGEBYSCORE", "JSON.GET",
        "EXISTS",
    }
)  # fmt: skip
OVERWRITES: Final = frozenset(
    {"SET", "SETEX", "PSETEX", "GETSET", "SETRANGE", "HSET", "HMSET", "LSET", "LTRIM", "DEL", "UNLINK", "JSON.SET"}
)
SEVERAL: Final = frozenset({"MSET", "RENAME", "COPY", "SMOVE"})
CONDITIONS: Final = frozenset({b"NX", b"XX", b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"})
READS_MAX: Final = 64
"""Different reads of one key that are read again."""
_wrapping = Wrapping("redis guard")
_Seen = list[tuple[tuple[Any, ...], dict[str, Any], Any]]


def install() -> None:
    """Put the guard around the clients, above whatever is there.

    Raises:
        Unguardable: a version of the library that is not known.
    """
    import redis.asyncio.client
    import redis.asyncio.cluster
    import redis.client
    import redis.cluster

    sync, aio = redis.client, redis.asyncio.client
    _wrapping.wrap(
        [
            (sync.Redis, "execute_command", _sync),
            (aio.Redis, "execute_command", _async),
            (sync.Pipeline, "execute", _pipelined),
            (aio.Pipeline, "execute", _pipelined),
            (sync.Pipeline, "watch", _watching),
            (aio.Pipeline, "watch", _watching),
            (redis.cluster.RedisCluster, "execute_command", _refusing),
            (redis.asyncio.cluster.RedisCluster, "execute_command", _refusing),
        ]
    )
    if not _wrapping:
        raise Unguardable("noclobber can't guard Redis: it does not know this version of redis-py")


def uninstall() -> None:
    """Take it off again."""
    _wrapping.restore()


class _Guarded:
    """One command on a guarded key."""

    __slots__ = ("_words", "args", "memory", "name", "options", "resource")

    def __init__(self, name: str, resource: str, memory: Memory, args: Sequence[Any], options: dict[str, Any]) -> None:
        self.name, self.resource, self.memory = name, resource, memory
        self.args, self.options = args, options

    def keep(self, reply: Any) -> None:
        """Remember a read."""
        seen: _Seen = self.memory.known(self.resource) or []
        fresh = [each for each in seen if each[0] != tuple(self.args)]
        if len(fresh) >= READS_MAX:
            raise Unguardable(f"more than {READS_MAX} different reads of {self.resource} under one guard")
        self.memory.saw(self.resource, [*fresh, (tuple(self.args), self.options, reply)])

    def seen(self) -> _Seen | None:
        """What the write rests on; None where it rests on nothing and need not."""
        found: _Seen | None = self.memory.seen(self.resource)
        return found

    def refused(self, place: str, seen: _Seen) -> None:
        """Tell the record of a write that was not even sent; EXEC's refusals are recorded where it is called."""
        with GUARD:
            active = recorder.recording()
            if active is not None:
                call = active.begin("redis")
                active.end(call, _build_refused, (self.name, self.resource, place, tuple(self.args), tuple(seen)))

    def after(self, seen: _Seen, replies: Sequence[Any]) -> Any:
        """What the caller gets; what was read again is what the next write rests on."""
        again = [(args, options, reply) for (args, options, _), reply in zip(seen, replies[1:], strict=True)]
        self.memory.saw(self.resource, again)
        wrote(self.resource)
        return replies[0]


def _build_refused(call: Call) -> Sequence[Access]:
    name, resource, place, words, seen = call.facts
    attributes: dict[str, AttributeValue] = {Attr.GUARD: Guard.VERSION, "db.operation.name": name}
    whole = next((reply for args, _, reply in seen if args[0] == "GET"), None)
    if whole is None:
        attributes[Attr.PARTIAL] = True  # parts of it were compared, which have no version of their own here
    else:
        known = got(place, words[1], whole).attributes
        attributes |= {name: known[name] for name in (Attr.VERSION_KIND, Attr.VERSION_WEAK) if name in known}
        attributes[Attr.VERSION_EXPECTED] = attributes[Attr.VERSION_BASE] = known[Attr.VERSION_READ]
        attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT
    return [Access(Op.WRITE, resource, "redis", Outcome.REJECTED, attributes=attributes)]


def _of(client: Any, args: Sequence[Any], options: dict[str, Any]) -> _Guarded | None:
    """The command, if it reads or overwrites what is guarded here; whoever writes elsewhere is noted."""
    if not args or not isinstance(args[0], str | bytes) or not guards("redis://"):
        return None
    name = encode(args[0]).decode("ascii", "replace").upper()
    if len(args) < 2 or not (name in READS or name in OVERWRITES or name in SEVERAL):
        return None
    home = home_of(client)
    place = place_of(home)
    keys = _keys(name, args)
    for key in keys:
        resource = place.of(key)
        memory = memory_of(resource)
        if memory is not None:
            _refuse(name, resource, keys, cluster=is_cluster(home))
            if name in READS or not _conditional(name, args):
                return _Guarded(name, resource, memory, args, options)
    return None


def _keys(name: str, args: Sequence[Any]) -> Sequence[Any]:
    if name in ("DEL", "UNLINK", "EXISTS"):
        return args[1:]
    if name == "MSET":
        return args[1::2]
    return args[1:3] if name in SEVERAL else args[1:2]


def _conditional(name: str, args: Sequence[Any]) -> bool:
    words = {encode(word).upper() for word in args[3:] if isinstance(word, str | bytes)}
    return name in ("SET", "JSON.SET") and bool(words & CONDITIONS)


def _refuse(name: str, resource: str, keys: Sequence[Any], *, cluster: bool) -> None:
    if name in READS:
        if cluster:
            raise Unguardable(
                f"{resource} is in a cluster, where noclobber can't guard: use WATCH on its node, or a lock"
            )
    elif cluster or len(keys) > 1 or name in SEVERAL:
        raise Unguardable(f"{name} of several keys, or in a cluster, can't be guarded: write {resource} by itself")


def _note(client: Any, args: Sequence[Any]) -> None:
    """Remember who writes; a mistake in that is nobody's concern."""
    with GUARD:
        if args and isinstance(args[0], str | bytes):
            name = encode(args[0]).decode("ascii", "replace").upper()
            if name not in READS and len(args) > 1 and isinstance(args[1], str | bytes):
                wrote(place_of(home_of(client)).of(args[1]))


def _sync(below: Any) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        asked = _of(self, args, options)
        seen = asked.seen() if asked is not None and asked.name not in READS else None
        if asked is not None and seen is not None:
            return _write(self, asked, seen)
        reply = below(self, *args, **options)
        if asked is not None and asked.name in READS:
            asked.keep(reply)
        else:
            _note(self, args)
        return reply

    return execute_command


def _write(client: Any, asked: _Guarded, seen: _Seen) -> Any:
    import redis

    with client.pipeline(transaction=True) as pipe:
        pipe.watch(asked.args[1])
        for args, options, before in seen:
            if pipe.immediate_execute_command(*args, **options) != before:
                asked.refused(place_of(home_of(client)).uri, seen)
                raise stale(asked.resource)
        pipe.multi()
        _fill(pipe, asked, seen)
        try:
            return asked.after(seen, _plainly(pipe))
        except redis.WatchError as error:
            raise stale(asked.resource) from error


def _async(below: Any) -> Any:
    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        asked = _of(self, args, options)
        seen = asked.seen() if asked is not None and asked.name not in READS else None
        if asked is not None and seen is not None:
            return await _write_async(self, asked, seen)
        reply = await below(self, *args, **options)
        if asked is not None and asked.name in READS:
            asked.keep(reply)
        else:
            _note(self, args)
        return reply

    return execute_command


async def _write_async(client: Any, asked: _Guarded, seen: _Seen) -> Any:
    import redis

    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(asked.args[1])
        for args, options, before in seen:
            if await pipe.immediate_execute_command(*args, **options) != before:
                asked.refused(place_of(home_of(client)).uri, seen)
                raise stale(asked.resource)
        pipe.multi()
        _fill(pipe, asked, seen)
        try:
            return asked.after(seen, await _plainly(pipe))
        except redis.WatchError as error:
            raise stale(asked.resource) from error


def _fill(pipe: Any, asked: _Guarded, seen: _Seen) -> None:
    pipe.execute_command(*asked.args, **asked.options)
    for args, options, _ in seen:
        pipe.execute_command(*args, **options)


def _plainly(pipe: Any) -> Any:
    pipe._noclobber_guarded = True
    return pipe.execute()


def _watching(below: Callable[..., Any]) -> Any:
    """A pipeline's `watch`: which keys its transaction rests on."""

    @functools.wraps(below)
    def watch(self: Any, *names: Any) -> Any:
        self.__dict__.setdefault("_noclobber_watched", set()).update(map(encode, names))
        return below(self, *names)

    return watch


def _pipelined(below: Callable[..., Any]) -> Any:
    """A pipeline's `execute`: what is guarded it watches by itself, or does not overwrite."""

    @functools.wraps(below)
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__
        watched = own.pop("_noclobber_watched", set()) if self.watching else set()
        if not own.pop("_noclobber_guarded", False):
            for entry in self.command_stack:
                asked = _of(self, entry[0], {})
                if asked is not None and asked.name not in READS and encode(asked.args[1]) not in watched:
                    raise Unguardable(
                        f"a pipeline would overwrite {asked.resource} and does not watch it: WATCH it, or write alone"
                    )
        return below(self, *args, **kwargs)

    return execute


def _refusing(below: Callable[..., Any]) -> Any:
    @functools.wraps(below)
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        _of(self, args, options)
        return below(self, *args, **options)

    return execute_command
