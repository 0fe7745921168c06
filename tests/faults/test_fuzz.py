"""Whatever bytes come, the receiver answers 400 with a reason or takes them: no crash, no 5xx, no leak.

Mutations come from a seed that a failure prints. The short forms run always, the long ones (marker `long`) have the
figures of alerts-and-safety.md, test 8: 200,000 protobufs, 100,000 JSON bodies, 10,000 HTTP framings.
"""

import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.protobuf.json_format import Parse
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from made import ACCESS, as_json, request
from processes import Receiver
from results import write_result
from wire import JSON, PROTOBUF, Pipe, Reply, post, statuses, talk

GROUP = 40
RSS_MAX = 20 << 20
SEED = 20_261_126


def seeds() -> list[bytes]:
    """Requests that have every field."""
    made = request(
        [
            {**ACCESS, "b": True, "f": 1.5, "raw": b"\x00\xff", "list": ["a", 1, [2]], "map": {"k": {"n": -1}}},
            {**ACCESS, "noclobber.seq": 2},
        ]
    )
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.parent_span_id, span.trace_state, span.flags = bytes(range(8)), "a=b", 257
    span.status.code, span.status.message = 2, "bad"
    span.events.add(time_unix_nano=7, name="retry", dropped_attributes_count=1)
    span.links.add(trace_id=bytes(range(16)), span_id=bytes(range(8)), flags=1)
    small = request([ACCESS])
    return [made.SerializeToString(), small.SerializeToString(), as_json(made), as_json(small)]


FULL, SMALL, FULL_JSON, SMALL_JSON = seeds()


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Some bytes flipped, cut out, doubled, replaced by telling ones, or the end cut off."""
    made = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(made) or 1)
        match rng.randrange(6):
            case 0 if made:
                made[at] ^= 1 << rng.randrange(8)
            case 1 if made:
                made[at] = rng.choice((0, 0x7F, 0x80, 0xFF, 0x0A, 0x12, 0x4A))
            case 2:
                del made[at : at + rng.randrange(1, 20)]
            case 3:
                made[at:at] = made[at : at + rng.randrange(1, 60)]
            case 4:
                del made[at:]
            case 5:
                made[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(made)


ODD = (None, True, -1, 2**63, 2**70, 1.5, 1e400, "", "\ud83d\ude00", "NaN", "1e3", "0x1", [], {}, [[]], {"a": {}})


def mutated_json(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed, or values exchanged for odd ones, moved and nested, with the document still JSON."""
    if rng.random() < 0.5:
        return mutated(rng, data)
    document = json.loads(data)
    places = list(_places(document))
    for holder, key in rng.sample(places, rng.randrange(1, 4)):
        match rng.randrange(20):
            case 0:
                with contextlib.suppress(LookupError):
                    for _ in range(rng.randrange(1, 130)):
                        holder[key] = {"arrayValue": {"values": [holder[key]]}}
            case 1 | 2 | 3:
                other, at = rng.choice(places)
                with contextlib.suppress(LookupError):  # it was taken away before
                    holder[key] = json.loads(json.dumps(other[at]))
            case 4 | 5 | 6:
                with contextlib.suppress(LookupError):
                    del holder[key]
            case _:
                with contextlib.suppress(LookupError):
                    holder[key] = rng.choice(ODD)
    return json.dumps(document).encode()


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in pairs:
        yield node, key
        yield from _places(inner)


FRAMINGS: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: mutated(rng, post(SMALL)),
    lambda rng: post(SMALL).replace(b"content-length: ", rng.choice((b"content-length: -", b"content-length: +", b""))),
    lambda rng: post(SMALL, PROTOBUF, "/v1/traces", f"content-length: {rng.randrange(900)}"),
    lambda rng: post(SMALL).replace(b"HTTP/1.1", rng.choice((b"HTTP/1.0", b"HTTP/9.9", b"HTTP/2", b"ICY/1.1", b""))),
    lambda rng: post(SMALL).replace(
        b"POST", rng.choice((b"GET", b"CONNECT", b"\x16\x03\x01", b"PRI", b"post", b"A" * 99))
    ),
    lambda rng: post(SMALL).replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\n ", b"\x00"))),
    lambda rng: post(SMALL, PROTOBUF, "/" + rng.randbytes(9).decode("latin-1")),
    lambda rng: post(SMALL, PROTOBUF, "/v1/traces", "transfer-encoding: chunked"),
    lambda rng: chunked(rng, SMALL),
    lambda rng: mutated(rng, chunked(rng, SMALL)),
    lambda rng: post(SMALL, PROTOBUF, "/v1/traces", "upgrade: websocket", "connection: upgrade"),
    lambda rng: post(SMALL, PROTOBUF, "/v1/traces", f"x: {'y' * rng.choice((10, 70_000, 200_000))}"),
    lambda rng: post(SMALL, PROTOBUF, "/v1/traces", *(f"x{n}: y" for n in range(rng.choice((3, 120, 400))))),
    lambda rng: post(SMALL)[: rng.randrange(len(post(SMALL)))],
    lambda rng: b"".join(mutated(rng, post(SMALL)) for _ in range(rng.randrange(2, 6))),
    lambda rng: rng.randbytes(rng.randrange(1, 300)),
    lambda rng: post(SMALL, rng.randbytes(6).decode("latin-1")),
    lambda rng: post(
        SMALL, PROTOBUF, "/v1/traces", "content-encoding: " + rng.choice(("gzip", "zstd", "x", ",", "gzip,gzip"))
    ),
    lambda rng: post(SMALL, PROTOBUF, "/v1/traces", "expect: 100-continue"),
)


def chunked(rng: random.Random, body: bytes) -> bytes:
    """A chunked request, with extensions and trailers now and then."""
    out, at = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked"), 0
    while at < len(body):
        size = rng.randrange(1, 90)
        part = body[at : at + size]
        out += b"%x%s\r\n" % (len(part), rng.choice((b"", b";a=b", b";" + b"x" * 50))) + part + b"\r\n"
        at += size
    return out + b"0\r\n" + rng.choice((b"", b"x-trailer: y\r\n", b"x: y\r\n" * 200)) + b"\r\n"


def check_answer(reply: Reply, sent: bytes, kind: str) -> None:
    """200, or 400 with a Status in the client's own form."""
    assert reply.status in (200, 400), (reply, sent)
    assert reply.kind == kind, (reply, sent)
    if reply.status == 400:
        status = Status.FromString(reply.body) if kind == PROTOBUF else Parse(reply.body, Status())
        assert status.message, sent
        assert status.details[0].Is(error_details_pb2.BadRequest.DESCRIPTOR)


class Watch:
    """The receiver's memory, from when it is warm."""

    def __init__(self, receiver: Receiver) -> None:
        self._process = psutil.Process(receiver.popen.pid)
        self._warm = 0

    def warm(self) -> None:
        self._warm = self._process.memory_info().rss

    @property
    def grown(self) -> int:
        return int(self._process.memory_info().rss) - self._warm


def fuzz_bodies(receiver: Receiver, count: int, kind: str) -> Counter[int]:
    """Send mutations in groups over one connection; look at each answer."""
    rng, found, watch = random.Random(SEED), Counter[int](), Watch(receiver)
    bases, change = ((FULL, SMALL), mutated) if kind == PROTOBUF else ((FULL_JSON, SMALL_JSON), mutated_json)
    with Pipe(receiver.http_port) as pipe:
        for number in range(count // GROUP):
            bodies = [change(rng, bases[rng.random() < 0.7]) for _ in range(GROUP)]
            for body, reply in zip(bodies, pipe.send([post(body, kind) for body in bodies]), strict=True):
                check_answer(reply, body, kind)
                found[reply.status] += 1
            if number == count // GROUP // 10:
                watch.warm()
    assert watch.grown < RSS_MAX, (watch.grown, SEED)
    alive(receiver)
    return found


def fuzz_framings(receiver: Receiver, count: int) -> Counter[int]:
    """Each on a connection of its own, which always ends."""
    rng, found, watch = random.Random(SEED), Counter[int](), Watch(receiver)
    for number in range(count):
        data = FRAMINGS[number % len(FRAMINGS)](rng)
        answers = statuses(talk(receiver.http_port, data))
        assert all(status < 500 for status in answers), (answers, data)
        found.update(answers or [0])
        if number == count // 10:
            watch.warm()
    assert watch.grown < RSS_MAX, (watch.grown, SEED)
    alive(receiver)
    return found


def alive(receiver: Receiver) -> None:
    """It still takes what is good, and had nothing to write down."""
    assert receiver.popen.poll() is None
    assert receiver.send(SMALL).status == 200
    assert "Traceback" not in receiver.output, receiver.output
    assert len(receiver.output.splitlines()) < 20, receiver.output
    assert receiver.metrics()["failed_total"] == 0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver of its own, whose memory is watched."""
    with Receiver(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("kind", "count"), [(PROTOBUF, 20_000), (JSON, 10_000)], ids=["protobuf", "json"])
def test_damaged_requests(receiver: Receiver, kind: str, count: int) -> None:
    """Most are refused, some are still requests; both answers are seen, and no other."""
    assert fuzz_bodies(receiver, count, kind).keys() == {200, 400}


def test_damaged_http(receiver: Receiver) -> None:
    """What is no HTTP is refused or its connection ends, and neither fills the log."""
    assert {200, 400} <= fuzz_framings(receiver, 1_000).keys()


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("kind", "count"), [(PROTOBUF, 200_000), (JSON, 100_000)], ids=["protobuf", "json"])
def test_damaged_requests_long(receiver: Receiver, kind: str, count: int) -> None:
    """The same, ten times as many."""
    begun = time.monotonic()
    found = fuzz_bodies(receiver, count, kind)
    assert found.keys() == {200, 400}
    told = {"requests": count, "seed": SEED, "answers": dict(found), "seconds": round(time.monotonic() - begun)}
    write_result("fuzz-json" if kind == JSON else "fuzz-protobuf", told)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_damaged_http_long(receiver: Receiver) -> None:
    """The same, ten times as many."""
    found = fuzz_framings(receiver, 10_000)
    assert {200, 400} <= found.keys()
    write_result("fuzz-framings", {"requests": 10_000, "seed": SEED, "answers": dict(found)})
