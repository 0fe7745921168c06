"""redis-py against a real server: exact attributes, guards, pipelines, exact mode, and answers as without noclobber."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from within import in_its_task, in_its_thread

from noclobber import versions
from noclobber.resources import host_name
from noclobber.testing import KEY, Captured, capture

HOST = host_name()


def short(access: dict[str, Any], *more: str) -> tuple[Any, ...]:
    """What was done to which key, and how it ended; `more` names further attributes."""
    key = access["noclobber.resource"].rpartition("/")[2]
    return (
        access["noclobber.op"],
        key,
        access["noclobber.outcome"],
        *(access.get(f"noclobber.{name}") for name in more),
    )


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [short(access, *more) for access in captured.accesses]


def printed(value: bytes) -> str:
    before = versions.use_key(KEY)
    try:
        return versions.fingerprint(value)
    finally:
        versions.use_key(before)


def test_get_and_set_whole(client: redis.Redis) -> None:
    """A read and the write after it, attribute by attribute."""
    client.set("acct:42", "a balance of 100")
    port = client.connection_pool.connection_kwargs["port"]
    with capture(agent="teller") as captured:
        client.get("acct:42")
        client.set("acct:42", "a balance of 150", ex=60)
        read, write = captured.accesses
    common = {
        "noclobber.resource": f"redis://{HOST}:{port}/0/acct:42",
        "noclobber.system": "redis",
        "noclobber.outcome": "ok",
        "noclobber.agent": "teller",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.size": 16,
        "noclobber.version.kind": "fingerprint",
        "network.peer.address": "127.0.0.1",
        "code.function.name": "test_get_and_set_whole",
        "code.file.path": __file__,
    }
    assert {**common, "noclobber.op": "read", "noclobber.seq": 1, "db.operation.name": "GET"} | {
        "noclobber.version.read": printed(b"a balance of 100"),
        "code.line.number": read["code.line.number"],
    } == read
    assert {**common, "noclobber.op": "write", "noclobber.seq": 2, "db.operation.name": "SET"} | {
        "noclobber.version.written": printed(b"a balance of 150"),
        "noclobber.version.base": printed(b"a balance of 100"),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "noclobber.ttl_ms": 60_000,
        "code.line.number": read["code.line.number"] + 1,
    } == write
    span = captured.spans[1]
    assert (span.name, span.library, span.parent_id) == ("write redis", "redis", 0)
    assert span.start_ns < span.end_ns


TABLE: list[tuple[Callable[[redis.Redis], Any], list[tuple[str, ...]]]] = [
    (lambda c: c.get("none"), [("read", "none", "not_found")]),
    (lambda c: c.mget("s", "none"), [("read", "s", "ok"), ("read", "none", "not_found")]),
    (lambda c: c.mset({"s": 1, "t": 2}), [("write", "s", "ok"), ("write", "t", "ok")]),
    (lambda c: c.msetnx({"s": 1, "u": 2}), [("write", "s", "rejected"), ("write", "u", "rejected")]),
    (lambda c: c.set("s", 1, nx=True), [("write", "s", "rejected")]),
    (lambda c: c.set("new", 1, nx=True), [("write", "new", "ok")]),
    (lambda c: c.set("none", 1, xx=True), [("write", "none", "no_effect")]),
    (lambda c: c.set("s", 1, nx=True, get=True), [("write", "s", "rejected")]),
    (lambda c: c.set("new", 1, nx=True, get=True), [("write", "new", "ok")]),
    (lambda c: c.execute_command("SET", "s", "x", "IFEQ", "text"), [("write", "s", "ok")]),
    (lambda c: c.execute_command("SET", "s", "x", "IFEQ", "other"), [("write", "s", "rejected")]),
    (lambda c: c.setnx("s", 1), [("write", "s", "rejected")]),
    (lambda c: c.getset("s", "x"), [("write", "s", "ok")]),
    (lambda c: c.getdel("none"), [("delete", "none", "no_effect")]),
    (lambda c: c.delete("s"), [("delete", "s", "ok")]),
    (lambda c: c.delete("none"), [("delete", "none", "no_effect")]),
    (lambda c: c.delete("s", "h"), [("delete", "s", "ok"), ("delete", "h", "ok")]),
    (lambda c: c.incr("n"), [("update", "n", "ok")]),
    (lambda c: c.incrbyfloat("n", 0.5), [("update", "n", "ok")]),
    (lambda c: c.append("s", "x"), [("update", "s", "ok")]),
    (lambda c: c.hget("h", "f"), [("read", "h", "ok")]),
    (lambda c: c.hget("h", "none"), [("read", "h", "not_found")]),
    (lambda c: c.hgetall("none"), [("read", "none", "not_found")]),
    (lambda c: c.hset("h", "f", "x"), [("write", "h", "ok")]),
    (lambda c: c.hsetnx("h", "f", "x"), [("write", "h", "rejected")]),
    (lambda c: c.hincrby("h", "n", 1), [("update", "h", "ok")]),
    (lambda c: c.hdel("h", "none"), [("delete", "h", "no_effect")]),
    (lambda c: c.lpush("l", 1), [("update", "l", "ok")]),
    (lambda c: c.rpop("none"), [("update", "none", "no_effect")]),
    (lambda c: c.lrange("l", 0, -1), [("read", "l", "ok")]),
    (lambda c: c.sadd("m", "a"), [("update", "m", "no_effect")]),
    (lambda c: c.sadd("m", "b"), [("update", "m", "ok")]),
    (lambda c: c.sinter("m", "m2"), [("read", "m", "ok")]),
    (lambda c: c.sunionstore("m2", "m"), [("update", "m2", "ok")]),
    (lambda c: c.sort("l"), [("read", "l", "ok")]),
    (lambda c: c.sort("l", store="l2"), [("update", "l2", "ok")]),
    (lambda c: c.bitop("AND", "b", "s"), [("update", "b", "ok")]),
    (lambda c: c.xadd("x", {"a": 1}), [("send", "x", "ok")]),
    (lambda c: c.xread({"x": "0"}), []),
    (lambda c: c.rename("s", "s2"), [("update", "s", "ok"), ("update", "s2", "ok")]),
    (lambda c: c.eval("return redis.call('set', KEYS[1], 1)", 1, "k"), [("update", "k", "ok")]),
    (lambda c: c.eval("return 1", 0), []),
    (lambda c: c.flushdb(), [("delete", "", "ok")]),
    (lambda c: [c.ping(), c.expire("s", 10), c.ttl("s"), c.keys(), c.dbsize(), c.object("encoding", "s")], []),
]


@pytest.mark.parametrize(("command", "expected"), TABLE, ids=range(len(TABLE)))
def test_commands(client: redis.Redis, command: Callable[[redis.Redis], Any], expected: list[tuple[str, ...]]) -> None:
    """What each command is, to which keys, and how it ended."""
    client.set("s", "text")
    client.hset("h", "f", "v")
    client.rpush("l", 1, 2)
    client.sadd("m", "a")
    with capture() as captured:
        command(client)
        assert expected == told(captured)


def test_ints_bytes_and_text_are_one_print(client: redis.Redis) -> None:
    """What was sent as a number comes back as bytes or text, and is the same state."""
    texts = redis.Redis(connection_pool=redis.ConnectionPool(**client.connection_pool.connection_kwargs))
    texts.connection_pool.connection_kwargs["decode_responses"] = True
    with contextlib.closing(texts), capture() as captured:
        client.set("k", 150)
        assert (client.get("k"), texts.get("k")) == (b"150", "150")
        client.set("k", 1.5)
        client.get("k")
        assert told(captured, "version.written", "version.read") == [
            ("write", "k", "ok", printed(b"150"), None),
            ("read", "k", "ok", None, printed(b"150")),
            ("read", "k", "ok", None, printed(b"150")),
            ("write", "k", "ok", printed(b"1.5"), None),
            ("read", "k", "ok", None, printed(b"1.5")),
        ]


def test_other_encodings_are_printed_as_the_server_has_them(client: redis.Redis) -> None:
    """A client in latin-1 and one that reads bytes see one state."""
    kwargs = {**client.connection_pool.connection_kwargs, "encoding": "latin-1", "decode_responses": True}
    with (
        contextlib.closing(redis.Redis(connection_pool=redis.ConnectionPool(**kwargs))) as latin,
        capture() as captured,
    ):
        latin.set("k", "ä")
        assert (latin.get("k"), client.get("k")) == ("ä", b"\xe4")
        prints = {a.get("noclobber.version.written") or a["noclobber.version.read"] for a in captured.accesses}
    assert prints == {printed(b"\xe4")}


def test_an_own_float_increment_leaves_no_version(client: redis.Redis) -> None:
    """The client makes a float of the reply, so how the store writes it is not known, and nothing is claimed."""
    client.set("k", 100)
    with capture() as captured:
        client.incrbyfloat("k", 30)
        (update,) = captured.accesses
    assert "noclobber.version.written" not in update


def test_fields_of_a_hash_have_bases_of_their_own(client: redis.Redis) -> None:
    """A field that is written has the field as it was read as its base, also from a read of the whole."""
    client.hset("h", mapping={"balance": "one hundred", "note": "first"})
    with capture() as captured:
        client.hgetall("h")
        client.hset("h", "note", "second")
        client.hset("h", "balance", "ninety")
        client.hset("h", mapping={"balance": "eighty", "note": "third"})
        writes = [a for a in captured.accesses if a["noclobber.op"] == "write"]
        both = versions.fingerprint_parts({"balance": printed(b"ninety"), "note": printed(b"second")})
    assert [(w["noclobber.part"], w["noclobber.version.base"]) for w in writes] == [
        ("note", printed(b"first")),
        ("balance", printed(b"one hundred")),
        (["balance", "note"], both),
    ]


def test_a_transaction_under_watch(client: redis.Redis) -> None:
    """EXEC under WATCH is guarded by the version that was read after WATCH; another's write makes it rejected."""
    client.set("k", "first")
    client.set("other", "x")

    def attempt(disturb: bool) -> None:
        with client.pipeline() as pipe:
            pipe.watch("k")
            pipe.get("k")
            if disturb:
                with noclobbering():
                    client.set("k", "meanwhile")
            pipe.multi()
            pipe.set("k", "second")
            pipe.set("other", "y")
            pipe.execute()

    with capture() as captured:
        with pytest.raises(redis.WatchError):
            attempt(disturb=True)
        attempt(disturb=False)
        names = ("guard", "version.expected", "txn.id", "unit")
        assert told(captured, *names) == [
            ("read", "k", "ok", None, None, None, None),
            ("write", "k", "rejected", "version", printed(b"first"), None, None),
            ("write", "other", "rejected", None, None, None, None),
            ("read", "k", "ok", None, None, None, None),
            ("write", "k", "ok", "version", printed(b"meanwhile"), None, None),
            ("write", "other", "ok", None, None, None, None),
        ]


@contextlib.contextmanager
def noclobbering() -> Iterator[None]:
    """Somebody who is not instrumented."""
    from noclobber import strands

    strands.current().suppressed += 1
    try:
        yield
    finally:
        strands.current().suppressed -= 1


def test_a_read_before_watch_guards_nothing(client: redis.Redis) -> None:
    """Without a read after WATCH the write has no version guard, also on a pipeline that was used before."""
    client.set("k", "first")
    with capture() as captured:
        pipe = client.pipeline()
        pipe.watch("k")
        pipe.get("k")
        pipe.reset()
        pipe.multi()
        pipe.set("k", "second")
        pipe.execute()
        pipe.watch("k")
        pipe.multi()
        pipe.set("k", "third")
        pipe.execute()
        assert told(captured, "guard") == [
            ("read", "k", "ok", None), ("write", "k", "ok", None), ("write", "k", "ok", None),
        ]  # fmt: skip


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_that_raised_has_applied_the_rest(client: redis.Redis, transaction: bool) -> None:
    """An error of one command takes nothing back: the others are told as the applied writes that they are."""
    client.lpush("l", 1)
    with capture() as captured:
        pipe = client.pipeline(transaction=transaction)
        pipe.set("a", "x")
        pipe.incr("l")
        pipe.hgetall("none")
        pipe.set("b", "y", xx=True)
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipe.execute()
        assert told(captured)[:2] == [("write", "a", "ok"), ("update", "l", "error")]
        assert told(captured)[3:] == [("write", "b", "no_effect")]
        assert "noclobber.version.read" not in captured.accesses[2]


def test_a_read_in_a_pipeline_is_no_base_of_its_writes(client: redis.Redis) -> None:
    """The replies come after all was sent: the base is what was known before."""
    client.set("k", "old")
    with capture() as captured:
        client.get("k")
        with noclobbering():
            client.set("k", "others'")
        client.pipeline().get("k").set("k", "mine").execute()
        client.set("k", "next")
        bases = [a["noclobber.version.base"] for a in captured.accesses if a["noclobber.op"] == "write"]
    assert bases == [printed(b"old"), printed(b"mine")]


EXACT: list[Callable[[redis.Redis], Any]] = [
    lambda c: c.set("s", "x"), lambda c: c.set("none", "x"), lambda c: c.set("l", "x"), lambda c: c.set("s", "x", ex=9),
    lambda c: c.set("s", "x", nx=True), lambda c: c.set("s", "x", get=True), lambda c: c.set("s", "x", keepttl=True),
    lambda c: c.delete("s"), lambda c: c.delete("none"), lambda c: c.delete("l"), lambda c: c.unlink("s"),
    lambda c: c.delete("s", "l"), lambda c: c.execute_command("SET", b"s", b"x"), lambda c: c.set("s", "x", px=0),
    lambda c: c.hset("h", "f", "x"), lambda c: c.pipeline().set("s", 1).delete("l").execute(),
]  # fmt: skip


def outcome(command: Callable[[redis.Redis], Any], client: redis.Redis) -> Any:
    """What a caller sees, and what the server has afterwards."""
    client.flushall()
    client.set("s", "text", ex=1000)
    client.lpush("l", 1)
    client.hset("h", "f", "v")
    try:
        answer: Any = command(client)
    except redis.RedisError as error:
        answer = (type(error), str(error))
    dump = [client.dump(key) for key in ("s", "l", "none")]
    return answer, type(answer), dump, [client.ttl(key) > 100 for key in ("s", "l")]


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("command", EXACT, ids=range(len(EXACT)))
def test_exact_mode_gives_what_plain_gives(
    client: redis.Redis, command: Callable[[redis.Redis], Any], decode: bool
) -> None:
    """Answers, errors and the state left behind are the same in exact mode, also on a key of another type."""
    kwargs = {**client.connection_pool.connection_kwargs, "decode_responses": decode}
    with contextlib.closing(redis.Redis(connection_pool=redis.ConnectionPool(**kwargs))) as mine:
        plain = outcome(command, mine)
        with capture(exact=("*",)):
            assert plain == outcome(command, mine)


def test_exact_mode_tells_what_was_replaced(client: redis.Redis) -> None:
    """SET and DEL say what they replaced; only where it was asked for."""
    client.set("acct:1", "before")
    client.set("free", "before")
    resource = f"redis://{HOST}:*/0/acct:*"
    with capture(exact=(resource,)) as captured:
        client.set("acct:1", "after")
        client.delete("acct:1")
        client.set("acct:1", "again")
        client.set("free", "after")
        assert told(captured, "version.overwritten") == [
            ("write", "acct:1", "ok", printed(b"before")),
            ("delete", "acct:1", "ok", printed(b"after")),
            ("write", "acct:1", "ok", "absent"),
            ("write", "free", "ok", None),
        ]
    with capture(tables=({"pattern": resource, "exact": True},)) as captured:
        client.set("acct:1", "once more")
        assert told(captured, "version.overwritten") == [("write", "acct:1", "ok", printed(b"again"))]


def test_errors_of_the_server_and_of_the_caller(client: redis.Redis) -> None:
    """A refused command is known not applied, and raises as ever."""
    client.lpush("l", 1)
    with capture() as captured:
        with pytest.raises(redis.ResponseError):
            client.get("l")
        with pytest.raises(redis.DataError):
            client.set("k", object())  # type: ignore[arg-type]  a mistake
        assert [short(a)[2] for a in captured.accesses] == ["error", "error"]
        assert "noclobber.version.read" not in captured.accesses[0]


def test_a_lost_connection_leaves_the_outcome_unknown() -> None:
    """A server that hangs up after the command may have applied it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                while b"SET" not in connection.recv(4096):
                    connection.sendall(b"+OK\r\n" * 4)

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = redis.Redis(port=server.getsockname()[1], retry=None, protocol=2)
        with capture() as captured, contextlib.closing(client):
            with pytest.raises(redis.ConnectionError):
                client.set("k", "v")
            assert told(captured) == [("write", "k", "unknown")]
        thread.join(10)


async def test_asyncio_commands_pipelines_and_watch(valkey: str, client: redis.Redis) -> None:
    """The asyncio client is captured as the plain one is."""
    client.set("k", "first")
    async with redis.asyncio.Redis.from_url(valkey) as aio:
        with capture(exact=("*",)) as captured:
            assert await aio.get("k") == b"first"
            assert await aio.set("k", "second") is True
            assert await aio.delete("none") == 0
            async with aio.pipeline() as pipe:
                await pipe.watch("k")
                await pipe.get("k")
                client.set("k", "meanwhile")
                pipe.multi()
                pipe.set("k", "third")
                with pytest.raises(redis.WatchError):
                    await pipe.execute()
            await aio.lpush("l", 1)
            with pytest.raises(redis.ResponseError):
                await aio.pipeline().set("a", 1).incr("l").execute()
            assert await aio.set("l", "text") is True
            assert told(captured, "version.overwritten", "version.expected") == [
                ("read", "k", "ok", None, None),
                ("write", "k", "ok", printed(b"first"), None),
                ("delete", "none", "no_effect", "absent", None),
                ("read", "k", "ok", None, None),
                ("write", "k", "ok", printed(b"second"), None),
                ("write", "k", "rejected", None, printed(b"second")),
                ("update", "l", "ok", None, None),
                ("write", "a", "ok", None, None),
                ("update", "l", "error", None, None),
                ("write", "l", "ok", None, None),
            ]


async def test_a_cancelled_command_is_unknown(valkey: str, client: redis.Redis) -> None:
    """A cancelled call may have been applied; it says that it was cancelled."""
    async with redis.asyncio.Redis.from_url(valkey) as aio:
        with capture() as captured:
            task = asyncio.create_task(aio.blpop(["none"], timeout=20))
            with noclobbering():
                while not client.info("clients")["blocked_clients"]:  # noqa: ASYNC110  the server has no event
                    await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert told(captured, "cancelled")[0] == ("update", "none", "unknown", True)


def test_declared_names(client: redis.Redis) -> None:
    """Aliases, hashed ids, closed and ignored resources leave the process as their owners asked."""
    port = client.connection_pool.connection_kwargs["port"]
    here = f"redis://localhost:{port}/0"
    tables = (
        {"pattern": f"{here}/*", "alias_of": "redis://shop-cache:6379/0/"},
        {"pattern": f"{here}/user:*", "hash_ids": True},
        {"pattern": f"{here}/secret:*", "ignore": True},
        {"pattern": f"{here}/acct:*", "closed": True},
    )
    with capture(tables=tables) as captured:
        client.set("acct:1", "x")
        client.set("secret:1", "x")
        client.get("user:7")
        one, two, three = captured.accesses
    assert (one["noclobber.resource"], one["noclobber.closed"]) == ("redis://shop-cache:6379/0/acct:1", True)
    assert (two["noclobber.op"], two["noclobber.resource"], two["noclobber.seq"]) == ("read", "ignored://", 2)
    assert three["noclobber.resource"] == f"redis://shop-cache:6379/0/h:{printed(b'user:7')[:16]}"
    assert three["noclobber.resource.hashed"] is True


def test_the_class_is_what_it_was_afterwards() -> None:
    """Hooks come out again, and sit on the classes, so clients that exist already are seen."""
    before = redis.Redis.execute_command
    with capture():
        assert before is not redis.Redis.execute_command
    assert before is redis.Redis.execute_command


def test_what_a_recorded_call_does_in_its_thread(client: redis.Redis) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        in_its_thread(lambda: client.set("a", 1))
        in_its_thread(lambda: client.mset({"a": 1, "b": 2}))
        in_its_thread(lambda: client.pipeline().get("a").set("a", 2).execute())
        in_its_thread(lambda: client.lock("guard", timeout=5).acquire())
        in_its_thread(lambda: client.xadd("stream", {"a": 1}))
        in_its_thread(lambda: client.publish("news", "a"))
        assert captured.accesses == []
        client.get("a")
        assert told(captured) == [("read", "a", "ok")]


async def test_what_a_recorded_call_does_in_its_task(valkey: str) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        async with redis.asyncio.from_url(valkey) as client:
            await in_its_task(lambda: client.set("a", 1))
            await in_its_task(lambda: client.pipeline().get("a").set("a", 2).execute())
            assert captured.accesses == []
            await client.get("a")
        assert told(captured) == [("read", "a", "ok")]
