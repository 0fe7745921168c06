"""What Redis commands mean: a table from command to the contract's operations.

A hook needs to know at once how many accesses a command is (`count`), and later, in the drain, what they are
(`describe`). Commands that are not in the table but name a key are told as a partial `update` of it, so that nothing
that may have written passes in silence. Values never leave this module but as keyed prints and sizes.

Source: Redis command reference (7.2), contract 2.1, capture.md section 2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noclobber.access import Access, AttributeValue
from noclobber.contract import ABSENT, Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.queues import redis_pubsub, redis_streams
from noclobber.stores.redis_place import resource_of
from noclobber.stores.redis_words import FIRST_KEY_AT, LOOKS, NO_STATE, NOTHING_DONE
from noclobber.versions import encode, fingerprint, fingerprint_parts, is_numeric, is_weak, size_of

__all__ = ["ONE", "Command", "count", "describe", "got", "name_of", "split"]

SYSTEM: Final = "redis"
_CHANGES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})
_READ, _OK, _NOT_FOUND, _PRINT = Op.READ, Outcome.OK, Outcome.NOT_FOUND, VersionKind.FINGERPRINT  # looked up once
Words = Sequence[Any]
Guarded = Mapping[tuple[str, tuple[str, ...]], str]


@dataclass(slots=True)
class Command:
    """One command and what came back.

    Attributes:
        words: name and arguments as the client was given them, name in capitals.
        reply: after the client's own decoding; None where it failed.
        outcome: None where the reply decides.
        place: URI of the database, with a slash at its end.
        guarded: what was read of watched keys since WATCH, by key and parts: the first version of each.
        replaced: what a SET in exact mode replaced, as `(value,)`; None where it was not asked.
    """

    words: Words
    reply: Any
    outcome: Outcome | None
    place: str
    guarded: "Guarded" = field(default_factory=dict)
    replaced: tuple[Any] | None = None


Describe = Callable[[Command], list[Access]]


def split(args: Words) -> Words:
    """The command's words with its name in capitals, two-word names (`CONFIG GET`) taken apart."""
    first = args[0]
    if first in ONE and type(first) is str:
        return args  # as it should be
    name = first.decode() if isinstance(first, bytes) else str(first)
    return (*name.upper().split(), *args[1:])


def name_of(args: Words) -> str:
    """The command's name in capitals."""
    first = args[0]
    name = first.decode() if isinstance(first, bytes) else str(first)
    return name.upper().partition(" ")[0]


def count(args: Words) -> int:
    """How many accesses the command is; 0 where it touches no state, or only its reply will say."""
    name = name_of(args)
    if name in ONE:
        return 1
    if name in NO_STATE or name in redis_streams.LATE or (name not in _TABLE and len(args) < 2):
        return 0
    keys = _MANY.get(name)
    return len(keys(args)) if keys is not None else 1


def describe(command: Command) -> list[Access]:
    """The accesses that the command was, `count` of them."""
    name = command.words[0]
    accesses = _TABLE.get(name, _unknown)(command)
    for access in accesses:
        if command.outcome is not None:
            access.outcome = command.outcome
        elif name in NOTHING_DONE and not command.reply:
            access.outcome = Outcome.NO_EFFECT
        if command.guarded and access.op in _CHANGES:
            _guard(access, command)
        access.attributes["db.operation.name"] = name
    return accesses


def _guard(access: Access, command: Command) -> None:
    """EXEC insists on all that is watched; what it compared is what was read after WATCH."""
    expected = command.guarded.get((access.resource, access.part))
    if expected is None and access.part:
        parts = {name: command.guarded.get((access.resource, (name,))) for name in access.part}
        known = {name: version for name, version in parts.items() if version is not None}
        expected = fingerprint_parts(known) if len(known) == len(parts) else command.guarded.get((access.resource, ()))
    if expected is not None:
        access.attributes[Attr.GUARD] = Guard.VERSION
        access.attributes[Attr.VERSION_EXPECTED] = expected


def _key(command: Command, word: Any) -> str:
    return resource_of(command.place, word)


def _part(word: Any) -> str:
    return encode(word).decode("utf-8", "backslashreplace")


def _state(value: Any, attributes: dict[str, AttributeValue], name: str) -> str:
    """Put the print of `value` under `name`, with what is known about it; returns the print."""
    attributes[Attr.VERSION_KIND] = _PRINT
    if value is None:
        attributes[name] = ABSENT
        return ABSENT
    data = encode(value)
    version = fingerprint(data)
    attributes[name] = version
    attributes[Attr.SIZE] = size_of(data)
    if is_weak(data):
        attributes[Attr.VERSION_WEAK] = True
    if is_numeric(data):
        attributes[Attr.CONTENT_NUMERIC] = True
    return version


def _parts(values: Mapping[str, Any], attributes: dict[str, AttributeValue], name: str) -> dict[str, str]:
    """Put the print of several fields under `name`; returns each field's own."""
    encoded = {part: None if value is None else encode(value) for part, value in values.items()}
    prints = {part: ABSENT if data is None else fingerprint(data) for part, data in encoded.items()}
    attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    attributes[name] = next(iter(prints.values())) if len(prints) == 1 else fingerprint_parts(prints)
    attributes[Attr.SIZE] = sum(size_of(data) for data in encoded.values() if data is not None)
    if all(data is None or is_weak(data) for data in encoded.values()):
        attributes[Attr.VERSION_WEAK] = True
    if len(encoded) == 1 and all(data is not None and is_numeric(data) for data in encoded.values()):
        attributes[Attr.CONTENT_NUMERIC] = True
    return prints


# -- reads ---------------------------------------------------------------------------------------------------------


def got(place: str, key: Any, value: Any) -> Access:
    """The access that a GET is which was answered."""
    attributes: dict[str, AttributeValue] = {}
    _state(value, attributes, Attr.VERSION_READ)
    attributes["db.operation.name"] = "GET"
    return Access(_READ, resource_of(place, key), SYSTEM, _NOT_FOUND if value is None else _OK, (), attributes)


def _read_one(command: Command, word: Any, value: Any) -> Access:
    attributes: dict[str, AttributeValue] = {}
    if command.outcome is None:
        _state(value, attributes, Attr.VERSION_READ)
    outcome = Outcome.NOT_FOUND if value is None else Outcome.OK
    return Access(Op.READ, _key(command, word), SYSTEM, outcome, attributes=attributes)


def _get(command: Command) -> list[Access]:
    return [_read_one(command, command.words[1], command.reply)]


def _mget(command: Command) -> list[Access]:
    keys = _flat(command.words[1:])
    values = command.reply if isinstance(command.reply, list) else [None] * len(keys)
    return [_read_one(command, key, value) for key, value in zip(keys, values, strict=True)]


def _fields(command: Command, values: Mapping[str, Any], *, whole: bool) -> list[Access]:
    attributes: dict[str, AttributeValue] = {}
    found = any(value is not None for value in values.values())
    prints = None
    if command.outcome is None:
        if found or values:
            prints = _parts(values, attributes, Attr.VERSION_READ)
        else:
            _state(None, attributes, Attr.VERSION_READ)
    return [
        Access(
            Op.READ,
            _key(command, command.words[1]),
            SYSTEM,
            Outcome.OK if found else Outcome.NOT_FOUND,
            () if whole else tuple(sorted(values)),
            attributes,
            prints,
        )
    ]


def _hget(command: Command) -> list[Access]:
    return _fields(command, {_part(command.words[2]): command.reply}, whole=False)


def _hmget(command: Command) -> list[Access]:
    names = [_part(word) for word in _flat(command.words[2:])]
    values = command.reply if isinstance(command.reply, list) else [None] * len(names)
    return _fields(command, dict(zip(names, values, strict=True)), whole=False)


def _hgetall(command: Command) -> list[Access]:
    reply = command.reply if isinstance(command.reply, dict) else {}
    return _fields(command, {_part(name): value for name, value in reply.items()}, whole=True)


def _look(command: Command) -> list[Access]:
    """A read of something that is no whole state (a length, a member, a range): no version."""
    return [Access(Op.READ, _key(command, _first_key(command.words)), SYSTEM, remembered=False)]


def _looks(command: Command) -> list[Access]:
    return [Access(Op.READ, _key(command, key), SYSTEM, remembered=False) for key in _flat(command.words[1:])]


def _collection(command: Command) -> list[Access]:
    """A read of a whole list or set, where the range says so."""
    words, reply = command.words, command.reply
    whole = words[0] == "SMEMBERS" or (len(words) > 3 and encode(words[2]) == b"0" and encode(words[3]) == b"-1")
    if not whole or command.outcome is not None or not isinstance(reply, list | set):
        return _look(command)
    members = [encode(member) for member in reply]
    members = sorted(members) if words[0] == "SMEMBERS" else members
    attributes: dict[str, AttributeValue] = {}
    _state(b"".join(b"%d:%s," % (len(member), member) for member in members) or None, attributes, Attr.VERSION_READ)
    outcome = Outcome.OK if members else Outcome.NOT_FOUND
    return [Access(Op.READ, _key(command, words[1]), SYSTEM, outcome, attributes=attributes)]


# -- writes --------------------------------------------------------------------------------------------------------


def _write(command: Command, key: Any, value: Any, op: Op = Op.WRITE) -> Access:
    attributes: dict[str, AttributeValue] = {}
    _state(value, attributes, Attr.VERSION_WRITTEN)
    return Access(op, _key(command, key), SYSTEM, attributes=attributes, finds_base=True)


def _set(command: Command) -> list[Access]:
    words = command.words
    access = _write(command, words[1], words[2])
    options = [encode(word).upper() for word in words[3:]]
    attributes = access.attributes
    _expiry(options, attributes)
    if b"NX" in options:
        attributes[Attr.GUARD] = Guard.UNIQUE
        attributes[Attr.WRITE_MODE] = WriteMode.INSERT
    elif b"IFEQ" in options:
        attributes[Attr.GUARD] = Guard.VERSION
        attributes[Attr.VERSION_EXPECTED] = fingerprint(encode(words[4 + options.index(b"IFEQ")]))
    if command.outcome is None:
        _conclude(command, access, options)
    _overwritten(command, access)
    return [access]


def _conclude(command: Command, access: Access, options: Sequence[bytes]) -> None:
    """Whether a SET was applied, which with GET has to be told from the old value."""
    attributes, reply = access.attributes, command.reply
    if b"GET" not in options:
        applied = reply is not None and reply is not False
    elif b"NX" in options:
        applied = reply is None
    elif b"IFEQ" in options:
        applied = reply is not None and fingerprint(encode(reply)) == attributes[Attr.VERSION_EXPECTED]
    else:
        applied = b"XX" not in options or reply is not None
    if applied and b"GET" in options:
        command.replaced = (reply,)
    elif not applied:
        access.outcome = Outcome.NO_EFFECT if b"XX" in options else Outcome.REJECTED
        if b"GET" in options and reply is not None:
            attributes[Attr.VERSION_READ] = fingerprint(encode(reply))


def _overwritten(command: Command, access: Access) -> None:
    if command.replaced is not None:
        (old,) = command.replaced
        access.attributes[Attr.VERSION_OVERWRITTEN] = ABSENT if old is None else fingerprint(encode(old))


def _expiry(options: Sequence[bytes], attributes: dict[str, AttributeValue]) -> None:
    for unit, factor in ((b"PX", 1), (b"EX", 1000)):
        if unit in options[:-1]:
            amount = options[options.index(unit) + 1]
            if amount.isdigit():
                attributes[Attr.TTL_MS] = int(amount) * factor


def _setex(command: Command) -> list[Access]:
    name, key, seconds, value = command.words[:4]
    access = _write(command, key, value)
    text = encode(seconds)
    if text.isdigit():
        access.attributes[Attr.TTL_MS] = int(text) * (1 if name == "PSETEX" else 1000)
    return [access]


def _setnx(command: Command) -> list[Access]:
    access = _write(command, command.words[1], command.words[2])
    access.attributes[Attr.GUARD] = Guard.UNIQUE
    access.attributes[Attr.WRITE_MODE] = WriteMode.INSERT
    if command.outcome is None and not command.reply:
        access.outcome = Outcome.REJECTED
    return [access]


def _getset(command: Command) -> list[Access]:
    command.replaced = (command.reply,) if command.outcome is None else None
    access = _write(command, command.words[1], command.words[2])
    _overwritten(command, access)
    return [access]


def _mset(command: Command) -> list[Access]:
    words = _flat(command.words[1:])
    return [_write(command, key, value) for key, value in zip(words[::2], words[1::2], strict=True)]


def _msetnx(command: Command) -> list[Access]:
    accesses = _mset(command)
    for access in accesses:
        access.attributes[Attr.GUARD] = Guard.UNIQUE
        access.attributes[Attr.WRITE_MODE] = WriteMode.INSERT
        if command.outcome is None and not command.reply:
            access.outcome = Outcome.REJECTED
    return accesses


def _hset(command: Command) -> list[Access]:
    words = _flat(command.words[2:])
    values = {_part(name): value for name, value in zip(words[::2], words[1::2], strict=False)}
    attributes: dict[str, AttributeValue] = {}
    prints = _parts(values, attributes, Attr.VERSION_WRITTEN)
    access = Access(
        Op.WRITE, _key(command, command.words[1]), SYSTEM, Outcome.OK, tuple(sorted(values)), attributes, prints,
        finds_base=True,
    )  # fmt: skip
    if command.words[0] == "HSETNX":
        attributes[Attr.GUARD] = Guard.UNIQUE
        attributes[Attr.WRITE_MODE] = WriteMode.INSERT
        if command.outcome is None and not command.reply:
            access.outcome = Outcome.REJECTED
    return [access]


def _hdel(command: Command) -> list[Access]:
    names = [_part(word) for word in _flat(command.words[2:])]
    attributes: dict[str, AttributeValue] = {}
    prints = _parts(dict.fromkeys(names), attributes, Attr.VERSION_WRITTEN)
    outcome = Outcome.NO_EFFECT if command.reply == 0 else Outcome.OK
    return [
        Access(
            Op.DELETE, _key(command, command.words[1]), SYSTEM, outcome, tuple(sorted(names)), attributes, prints,
            finds_base=True,
        )
    ]  # fmt: skip


def _delete(command: Command) -> list[Access]:
    keys = _flat(command.words[1:])
    accesses = [_write(command, key, None, Op.DELETE) for key in keys]
    for access in accesses:
        if command.outcome is None and command.reply == 0:
            access.outcome = Outcome.NO_EFFECT
        elif command.outcome is None and isinstance(command.reply, int) and command.reply < len(keys):
            access.attributes[Attr.PARTIAL] = True  # some of them were not there, and it does not say which
        if len(keys) == 1:
            _overwritten(command, access)
    return accesses


def _getdel(command: Command) -> list[Access]:
    access = _write(command, command.words[1], None, Op.DELETE)
    if command.outcome is None:
        command.replaced = (command.reply,)
        access.outcome = Outcome.NO_EFFECT if command.reply is None else Outcome.OK
        _overwritten(command, access)
    return [access]


def _flush(command: Command) -> list[Access]:
    place = command.place if command.words[0] == "FLUSHDB" else command.place.rsplit("/", 2)[0] + "/"
    attributes: dict[str, AttributeValue] = {
        Attr.VERSION_KIND: VersionKind.FINGERPRINT,
        Attr.VERSION_WRITTEN: ABSENT,
    }
    return [Access(Op.DELETE, place, SYSTEM, attributes=attributes)]


# -- what the server itself reads and writes at once ---------------------------------------------------------------


def _updates(mode: WriteMode, *, replies_state: bool = False, part_at: int | None = None) -> Describe:
    def describe_update(command: Command) -> list[Access]:
        attributes: dict[str, AttributeValue] = {Attr.WRITE_MODE: mode}
        if replies_state and command.outcome is None and not isinstance(command.reply, float):
            # a client that makes a float of the reply has lost how the store writes it
            _state(command.reply, attributes, Attr.VERSION_WRITTEN)
        part = (_part(command.words[part_at]),) if part_at is not None and len(command.words) > part_at else ()
        return [Access(Op.UPDATE, _key(command, command.words[1]), SYSTEM, Outcome.OK, part, attributes)]

    return describe_update


def _merged() -> dict[str, AttributeValue]:
    return {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}


def _script(command: Command) -> list[Access]:
    return [Access(Op.UPDATE, _key(command, key), SYSTEM, attributes=_merged()) for key in _script_keys(command.words)]


def _keys_updated(command: Command) -> list[Access]:
    return [Access(Op.UPDATE, _key(command, key), SYSTEM, attributes=_merged()) for key in command.words[1:3]]


def _unknown(command: Command) -> list[Access]:
    attributes: dict[str, AttributeValue] = {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}
    return [Access(Op.UPDATE, _key(command, _first_key(command.words)), SYSTEM, attributes=attributes)]


def _sort(command: Command) -> list[Access]:
    options = [encode(word).upper() for word in command.words[:-1]]
    if b"STORE" not in options:
        return _look(command)
    attributes: dict[str, AttributeValue] = {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}
    target = command.words[options.index(b"STORE") + 1]
    return [Access(Op.UPDATE, _key(command, target), SYSTEM, attributes=attributes)]


def _first_key(words: Words) -> Any:
    """The first key that a command names, itself where it names none in its place."""
    name = words[0]
    at = FIRST_KEY_AT.get(name, 1)
    first = words[at] if at < len(words) else words[-1]
    return first[0] if isinstance(first, list | tuple) and first else first


# -- how many ------------------------------------------------------------------------------------------------------


def _flat(words: Words) -> list[Any]:
    flat: list[Any] = []
    for word in words:
        flat.extend(word) if isinstance(word, list | tuple) else flat.append(word)
    return flat


def _script_keys(words: Words) -> list[Any]:
    number = encode(words[2]) if len(words) > 2 else b"0"
    return list(words[3 : 3 + int(number)]) if number.isdigit() else []


_TWO_KEYS: Final = ("RENAME", "RENAMENX", "COPY", "SMOVE", "LMOVE", "BLMOVE", "RPOPLPUSH", "BRPOPLPUSH")
_MANY: Final[dict[str, Callable[[Words], list[Any]]]] = {
    **dict.fromkeys(("MGET", "DEL", "UNLINK", "EXISTS"), lambda words: _flat(words[1:])),
    **dict.fromkeys(("MSET", "MSETNX"), lambda words: _flat(words[1:])[::2]),
    **dict.fromkeys(("EVAL", "EVALSHA", "FCALL"), _script_keys),
    **dict.fromkeys(redis_streams.SETTLES, redis_streams.ids_of),
    **dict.fromkeys(_TWO_KEYS, lambda words: list(words[1:3])),
}

_increments = _updates(WriteMode.INCREMENT, replies_state=True)
_merges = _updates(WriteMode.MERGE)
_appends = _updates(WriteMode.APPEND)

_TABLE: Final[dict[str, Describe]] = {
    "GET": _get, "GETEX": _get, "MGET": _mget,
    "HGET": _hget, "HMGET": _hmget, "HGETALL": _hgetall,
    "LRANGE": _collection, "SMEMBERS": _collection,
    **dict.fromkeys(LOOKS, _look),
    "EXISTS": _looks,
    "SET": _set, "SETEX": _setex, "PSETEX": _setex, "SETNX": _setnx, "GETSET": _getset, "MSET": _mset,
    "MSETNX": _msetnx, "HSET": _hset, "HMSET": _hset, "HSETNX": _hset, "HDEL": _hdel,
    "DEL": _delete, "UNLINK": _delete, "GETDEL": _getdel, "FLUSHDB": _flush, "FLUSHALL": _flush,
    "INCR": _increments, "DECR": _increments, "INCRBY": _increments, "DECRBY": _increments, "INCRBYFLOAT": _increments,
    "HINCRBY": _updates(WriteMode.INCREMENT, replies_state=True, part_at=2),
    "HINCRBYFLOAT": _updates(WriteMode.INCREMENT, replies_state=True, part_at=2),
    **dict.fromkeys("APPEND LPUSH RPUSH LPUSHX RPUSHX LINSERT".split(), _appends),  # noqa: SIM905
    **dict.fromkeys(
        """SADD SREM SPOP ZADD ZREM ZINCRBY ZPOPMIN ZPOPMAX LPOP RPOP LREM LTRIM LSET SETRANGE SETBIT BITFIELD PFADD
        XTRIM XDEL XDELEX GEOADD""".split(),  # noqa: SIM905
        _merges,
    ),
    **dict.fromkeys(("EVAL", "EVALSHA", "FCALL"), _script), "SORT": _sort,
    **dict.fromkeys(_TWO_KEYS, _keys_updated),
    "XADD": redis_streams.add, **dict.fromkeys(redis_streams.SETTLES, redis_streams.settle),
    **dict.fromkeys(("PUBLISH", "SPUBLISH"), redis_pubsub.publish),
}  # fmt: skip
ONE: Final = _TABLE.keys() - _MANY.keys()
"""Commands that are one access, which `count` need not look at further."""
