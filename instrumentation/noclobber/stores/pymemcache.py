"""pymemcache: every client's commands pass three methods of `Client`; these are wrapped.

A state is named by the print of its value. `gets` gives a token too, and `cas` insists on it, but the store never tells
which token a write made: as versions, tokens would compare with no write, and a client that uses them with none that
does not. So a token stands for the value that came with it (`_contents`): a `cas` has that value as its base, and one
that was applied has replaced just that.

By default the library does not wait for the answer to a write (`noreply`). Such a write returns before it happens, so
it is a strand of its own. It ends when the connection next has an answer to something else, since a connection is
served in its order, and who has that answer has waited for it. Where none comes any more its outcome is `unknown`.

A miss proves little, since memcached forgets what it likes: it is partial. What a serializer makes of a value is not
looked at; only texts, bytes and whole numbers under pymemcache's own serializers come back as they went.

Source: pymemcache/client/base.py (4.0); memcached's protocol.txt; capture.md section 2.
"""

import atexit
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final, NamedTuple

from noclobber import edges, recorder, strands
from noclobber.access import Access, AttributeValue, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, BaseSource, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.guard import GUARD
from noclobber.resources import authority, host_name, quoted
from noclobber.stores.object_values import Kept, kept, state
from noclobber.stores.wrapping import Wrapping
from noclobber.versions import encode, fingerprint

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pymemcache"
SYSTEM: Final = "memcached"
PORT: Final = 11211
TOKENS_MAX: Final = 4096
MONTH_S: Final = 30 * 24 * 3600
"""An expiry above this is a moment, not a duration."""
UNSENT: Final = frozenset({"MemcacheIllegalInputError", "MemcacheClientError", "MemcacheUnknownCommandError"})
_PENDING: Final = "_noclobber_pending"
_wrapping = Wrapping(LIBRARY)
_contents: OrderedDict[tuple[str, str], str] = OrderedDict()
"""Key and token -> print of the value that came with it; used by the drain only."""
_unanswered: set[Call] = set()


@dataclass(frozen=True, slots=True)
class Fact:
    """One command, as it was asked and answered.

    Attributes:
        place: the server's URI, with a slash at its end. prefix: what the client puts before each key.
        items: key and value, in order; the value is None where the command has none.
        reply: by key, or for a command of one key what came back; None where it raised.
        plain: whether values go to the server and come back as they are.
        answered: whether the server answered. remembered: whether later writes may rest on it.
    """

    name: str
    place: str
    prefix: bytes
    items: tuple[tuple[Any, Any], ...]
    reply: Any = None
    expire: int = 0
    token: str | None = None
    plain: bool = True
    answered: bool = True
    remembered: bool = True


class _Pending(NamedTuple):
    """A write that had no answer yet: in which process, and the last number of its author's strand then."""

    process: int
    call: Call
    fact: Fact
    started_at: int


def install(_library: ModuleType) -> None:
    """Wrap the methods that talk to a server."""
    from pymemcache.client.base import Client

    _wrapping.wrap(
        [(Client, "_fetch_cmd", _fetching), (Client, "_store_cmd", _storing), (Client, "_misc_cmd", _commanding)]
    )
    atexit.register(_give_up)  # runs before the recorder's, which registered earlier


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()
    _give_up()
    atexit.unregister(_give_up)


# -- at the call ---------------------------------------------------------------------------------------------------


def _begin(count: int, *, answered: bool = True) -> Call | None:
    with GUARD:
        active = recorder.recording()
        if active is None or not count:
            return None
        call = active.begin(LIBRARY, count)
        return call if answered else _apart(call)
    return None


def _apart(call: Call) -> Call:
    """`call` as the doing of a strand of its own, which its caller's starts."""
    parent = call.strand
    parent.seq -= call.count
    child = strands.Strand(parent, parent.name)
    edges.note_spawn(child, parent)
    call.strand, call.seq = child, child.take(call.count)
    return call


def _fact(client: Any, name: str, items: tuple[tuple[Any, Any], ...], **more: Any) -> Fact:
    prefix = client.key_prefix
    prefix = prefix if isinstance(prefix, bytes) else str(prefix).encode()
    return Fact(name, _place(client.server), prefix, items, **more)


def _place(server: Any) -> str:
    if isinstance(server, tuple):
        return f"memcached://{authority(server[0], server[1], PORT)}/"
    return f"memcached://{host_name()}/{quoted(str(server))}/"


def _end(call: Call | None, client: Any, fact: Fact | None, error: BaseException | None, *, answers: bool) -> None:
    """Note how a command ended, after those before it on the same connection that had no answer of their own."""
    with GUARD:
        active = recorder.active()
        if active is None:
            return
        pending = client.__dict__.pop(_PENDING, ()) if answers or error is not None else ()
        waited = _settle(active, pending, call, answered=error is None)
        if call is None or fact is None:
            return
        if error is None and not fact.answered:
            call.build, call.facts = _build, fact
            started_at = strands.current().seq
            client.__dict__.setdefault(_PENDING, []).append(_Pending(os.getpid(), call, fact, started_at))
            _unanswered.add(call)
            if call.count == 1:
                active.waits(call)
            return
        call.error = error
        active.end(call, _build, fact)
        for strand in waited:
            edges.joined(strand)


def _settle(
    active: recorder.Recorder, pending: Sequence[_Pending], after: Call | None, *, answered: bool
) -> list[strands.Strand]:
    """End what waited for an answer, and name its strands if there was one.

    A write is remembered only where its author did nothing meanwhile: what that got elsewhere is newer.
    """
    waited = []
    for process, call, fact, started_at in pending:
        try:
            _unanswered.remove(call)
        except KeyError:  # given up
            continue
        if process != os.getpid():
            continue
        author = after is not None and after.strand.id == call.strand.parent_id
        quiet = after is not None and after.seq == started_at + 1 and (author or not started_at)
        active.end(call, _build, replace(fact, answered=answered, remembered=quiet))
        if answered:
            waited.append(call.strand)
    return waited


def _give_up() -> None:
    """What never had an answer: told as it stands, with an unknown outcome."""
    with GUARD:
        active, left = recorder.active(), []
        while _unanswered:
            left.append(_unanswered.pop())
        for call in sorted(left, key=lambda each: each.start_ns):
            if active is not None and call.strand.id.startswith(f"{strands.process_id()}-"):  # else the parent's
                active.end(call, _build, call.facts)


def _fetching(original: Any) -> Any:
    def fetch(self: Any, name: Any, keys: Any, expect_cas: Any, *args: Any, **kwargs: Any) -> Any:
        if name not in (b"get", b"gets") or not hasattr(keys, "__len__"):  # an iterator: the library fails with it
            return original(self, name, keys, expect_cas, *args, **kwargs)
        call = _begin(len(keys))
        try:
            reply = original(self, name, keys, expect_cas, *args, **kwargs)
        except BaseException as error:
            _end(call, self, _reading(self, name, keys, None), error, answers=True)
            raise
        failed = not reply and self.sock is None  # an error that the client was told to ignore
        _end(call, self, _reading(self, name, keys, None if failed else reply), None, answers=not failed)
        return reply

    return fetch


def _reading(client: Any, name: bytes, keys: Iterable[Any], reply: Any) -> Fact | None:
    with GUARD:
        found = (
            None
            if reply is None
            else {key: _unaliased(value, with_token=name == b"gets") for key, value in reply.items()}
        )
        return _fact(client, name.decode(), tuple((key, None) for key in keys), reply=found, plain=_plain(client))
    return None


def _storing(original: Any) -> Any:
    def store(self: Any, name: Any, values: Any, expire: Any, noreply: Any, *args: Any, **kwargs: Any) -> Any:
        fact = None
        with GUARD:
            token = kwargs.get("cas", args[1] if len(args) > 1 else None)
            fact = _fact(
                self, name.decode(), tuple((key, _unaliased(value)) for key, value in values.items()),
                expire=expire if isinstance(expire, int) else 0,
                token=token.decode() if isinstance(token, bytes) else None,
                plain=_plain(self), answered=not noreply,
            )  # fmt: skip
        call = _begin(len(fact.items), answered=fact.answered) if fact is not None else None
        try:
            reply = original(self, name, values, expire, noreply, *args, **kwargs)
        except BaseException as error:
            _end(call, self, fact, error, answers=not noreply)
            raise
        _end(call, self, replace(fact, reply=dict(reply)) if fact else None, None, answers=not noreply)
        return reply

    return store


def _commanding(original: Any) -> Any:
    def command(self: Any, cmds: Any, cmd_name: Any, noreply: Any, *args: Any, **kwargs: Any) -> Any:
        fact = None
        with GUARD:
            fact = _told(self, cmds, noreply)
        call = _begin(len(fact.items), answered=fact.answered) if fact is not None else None
        try:
            reply = original(self, cmds, cmd_name, noreply, *args, **kwargs)
        except BaseException as error:
            _end(call, self, fact, error, answers=not noreply)
            raise
        _end(call, self, replace(fact, reply=list(reply)) if fact else None, None, answers=not noreply)
        return reply

    return command


def _told(client: Any, cmds: Sequence[bytes], noreply: Any) -> Fact | None:
    """What a line of the protocol says that it does; None where it touches no key."""
    words = [each.split() for each in cmds]
    name = words[0][0].decode() if words and words[0] else ""
    if name == "flush_all":
        return Fact(name, _place(client.server), b"", ((b"", None),), answered=not noreply)
    if name not in ("delete", "incr", "decr"):
        return None  # a longer life (`touch`) leaves the state as it is
    items = tuple((each[1], each[2] if len(each) > 2 else None) for each in words)
    return Fact(name, _place(client.server), b"", items, answered=not noreply)


def _plain(client: Any) -> bool:
    ways = (client.serde.serialize, client.serde.deserialize)
    return all(str(getattr(way, "__module__", "")).startswith("pymemcache.") for way in ways)


def _unaliased(value: Any, *, with_token: bool = False) -> Any:
    """`value` as it is now: its author may go on changing it."""
    return (kept(value[0]), value[1]) if with_token else kept(value)


# -- in the drain --------------------------------------------------------------------------------------------------


def _build(call: Call) -> Sequence[Access]:
    fact: Fact = call.facts
    describe = _DESCRIBE.get(fact.name, _change)
    accesses = [describe(fact, number, *item) for number, item in enumerate(fact.items)]
    failed = _outcome(call, fact)
    for access in accesses:
        if failed is not None:
            access.outcome = failed
        access.remembered = access.remembered and fact.remembered
        access.attributes["db.operation.name"] = fact.name
    return accesses


def _outcome(call: Call, fact: Fact) -> Outcome | None:
    """How a command ended that has no answer."""
    if call.error is not None:
        refused = type(call.error).__name__ in UNSENT or isinstance(call.error, ConnectionRefusedError)
        return Outcome.ERROR if refused else Outcome.UNKNOWN
    if not call.end_ns or not fact.answered:
        return Outcome.UNKNOWN
    return Outcome.ERROR if fact.reply is None else None


def _resource(fact: Fact, key: Any) -> str:
    return fact.place + quoted((fact.prefix + encode(key)).decode("utf-8", "backslashreplace"))


def _state(value: Kept, attributes: dict[str, AttributeValue], name: str, *, plain: bool) -> str | None:
    """Put the print of `value` under `name`, with what is known about it."""
    version = state(value, attributes, name)
    if version is not None and not (plain and value.data is not None and value.data.isascii()):
        attributes[Attr.VERSION_VERBATIM] = False
    return version


def _read(fact: Fact, _number: int, key: Any, _value: Any) -> Access:
    access = Access(Op.READ, _resource(fact, key), SYSTEM)
    if fact.reply is None:
        return access
    if key not in fact.reply:
        access.outcome = Outcome.NOT_FOUND
        access.attributes |= {
            Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_READ: ABSENT, Attr.PARTIAL: True,
        }  # fmt: skip
        return access
    value = fact.reply[key]
    if fact.name == "gets":
        value, token = value
        version = _state(value, access.attributes, Attr.VERSION_READ, plain=fact.plain)
        if version is not None:
            _contents[access.resource, encode(token).decode()] = version
        if len(_contents) > TOKENS_MAX:
            _contents.popitem(last=False)
    else:
        _state(value, access.attributes, Attr.VERSION_READ, plain=fact.plain)
    return access


def _write(fact: Fact, _number: int, key: Any, value: Any) -> Access:
    access = Access(Op.WRITE, _resource(fact, key), SYSTEM, finds_base=True)
    attributes = access.attributes
    _state(value, attributes, Attr.VERSION_WRITTEN, plain=fact.plain)
    if fact.expire:
        life_s = fact.expire if fact.expire <= MONTH_S else fact.expire - time.time()
        attributes[Attr.TTL_MS] = max(0, int(life_s * 1000))
    stored = fact.reply.get(key) if isinstance(fact.reply, dict) else None
    if fact.name == "add":
        attributes |= {Attr.GUARD: Guard.UNIQUE, Attr.WRITE_MODE: WriteMode.INSERT}
    elif fact.name == "cas":
        _insist(fact, access, stored)
    if not stored:
        access.outcome = Outcome.REJECTED if fact.name in ("add", "cas") else Outcome.NO_EFFECT
    return access


def _insist(fact: Fact, access: Access, stored: Any) -> None:
    """A `cas` compares a token, which stands for the value that came with it."""
    attributes = access.attributes
    attributes[Attr.GUARD] = Guard.VERSION
    known = _contents.get((access.resource, fact.token or ""))
    access.finds_base = False
    if known is None:  # a token from another process
        attributes[Attr.VERSION_EXPECTED] = fingerprint((fact.token or "").encode())
        return
    attributes |= {
        Attr.VERSION_EXPECTED: known, Attr.VERSION_BASE: known, Attr.VERSION_BASE_SOURCE: BaseSource.EXPLICIT,
    }  # fmt: skip
    if stored and fact.answered:
        attributes[Attr.VERSION_OVERWRITTEN] = known
    elif stored is None and fact.answered and isinstance(fact.reply, dict):
        attributes[Attr.VERSION_READ] = ABSENT


def _delete(fact: Fact, number: int, key: Any, _value: Any) -> Access:
    access = Access(Op.DELETE, _resource(fact, key), SYSTEM, finds_base=True)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    if _line(fact, number) == b"NOT_FOUND":
        access.outcome = Outcome.NO_EFFECT
    return access


def _change(fact: Fact, number: int, key: Any, _value: Any) -> Access:
    """`append`, `prepend`, `incr`, `decr`: the store reads and writes at once."""
    access = Access(Op.UPDATE, _resource(fact, key), SYSTEM)
    mode = WriteMode.INCREMENT if fact.name in ("incr", "decr") else WriteMode.APPEND
    access.attributes[Attr.WRITE_MODE] = mode
    line = _line(fact, number)
    if mode is WriteMode.INCREMENT and line is not None and line.isdigit():
        _state(kept(line), access.attributes, Attr.VERSION_WRITTEN, plain=False)  # `decr` pads with blanks
    missing = line == b"NOT_FOUND" or (isinstance(fact.reply, dict) and not fact.reply.get(key))
    if missing:
        access.outcome = Outcome.NO_EFFECT
    return access


def _flush(fact: Fact, _number: int, _key: Any, _value: Any) -> Access:
    attributes: dict[str, AttributeValue] = {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    return Access(Op.DELETE, fact.place, SYSTEM, attributes=attributes)


def _line(fact: Fact, number: int) -> bytes | None:
    return fact.reply[number] if isinstance(fact.reply, list) and number < len(fact.reply) else None


_DESCRIBE: Final = {
    "get": _read, "gets": _read, "set": _write, "add": _write, "replace": _write, "cas": _write,
    "delete": _delete, "flush_all": _flush,
}  # fmt: skip

INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
