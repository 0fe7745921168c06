"""Reading protobuf side by side: the same fields as one by one, and nothing outside of a message."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from made import ACCESS, request
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from noclobber_collector import wire
from noclobber_collector.wire import FEW, Bytes, UnreadableError, fields, fields_of_one, run_of, varints


def spans(count: int, seed: int = 3) -> list[bytes]:
    """Spans of many lengths, some of them empty."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        span = request([{**ACCESS, "n": rng.getrandbits(63), "t": "x" * rng.choice((0, 1, 127, 128, 300, 20_000))}])
        (one,) = span.resource_spans[0].scope_spans[0].spans
        one.flags = rng.getrandbits(32)
        one.dropped_attributes_count = rng.getrandbits(20)
        made.append(b"" if number % 17 == 5 else one.SerializeToString())
    return made


def padded(data: bytes) -> Bytes:
    return np.frombuffer(wire.padded([data]), np.uint8)


def places(messages: Sequence[bytes]) -> tuple[bytes, wire.Places, wire.Places]:
    """The messages one after the other, and where each lies."""
    ends = np.cumsum([len(each) for each in messages]).astype(np.int32)
    return b"".join(messages), np.concatenate([[0], ends[:-1]]).astype(np.int32), ends


def side_by_side(messages: Sequence[bytes]) -> list[list[tuple[int, int, int]]]:
    """Tag and place of each message's fields, counted from where it begins."""
    data, begin, end = places(messages)
    found: list[list[tuple[int, int, int]]] = [[] for _ in messages]
    for owner, tag, start, stop in zip(*(each.tolist() for each in fields(padded(data), begin, end)), strict=True):
        found[owner].append((tag, start - int(begin[owner]), stop - int(begin[owner])))
    return found


@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, 400])
def test_side_by_side_gives_what_one_by_one_gives(count: int) -> None:
    """For few and for many messages, in the order in which the fields of each are written."""
    messages = spans(count)
    assert side_by_side(messages) == [list(fields_of_one(each, 0, len(each))) for each in messages]


def test_messages_are_read_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the numbers that they have among all."""
    messages = spans(300)
    expected = side_by_side(messages)
    monkeypatch.setattr(wire, "SIDE_BY_SIDE", 64)
    assert side_by_side(messages) == expected


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**56 - 1, 2**56, 2**63 - 1, -1, -(2**63)])
def test_numbers_of_every_length(value: int) -> None:
    """Negative ones too, which take ten bytes."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    data = AnyValue(int_value=value).SerializeToString()
    found = fields(padded(data), np.array([0], np.int32), np.array([len(data)], np.int32))
    assert varints(padded(data), found.begin, found.end).view(np.int64).tolist() == [value]


@pytest.mark.parametrize("many", [1, FEW + 9])
@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"\x0a\x05abc", "behind its message"),
        (b"\x0a\xff\xff\xff\xff\x7f", "makes no sense|behind its message"),
        (b"\x09\x00\x00", "behind its message"),
        (b"\x0b\x0c", "no known wire type"),
        (b"\x08" + b"\xff" * 11, "64 bits"),
        (b"\xff" * 12, "64 bits"),
    ],
)
def test_damaged_messages_are_refused(damaged: bytes, reason: str, many: int) -> None:
    """Whatever stands there: an UnreadableError, and no look behind the message is taken for a field."""
    data, begin, end = places([damaged] * many)
    with pytest.raises(UnreadableError, match=reason):
        fields(padded(data + b"\x00" * 40), begin[-many:], end[-many:])


def test_mutated_spans_are_read_or_refused() -> None:
    """What the library's parser takes is read field by field; what is read lies inside its message."""
    rng = random.Random(11)
    messages = []
    for span in spans(60, seed=5) * 20:
        data = bytearray(span[:200])
        for _ in range(rng.randrange(3)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        messages.append(bytes(data))
    refused = 0
    for data in messages:
        try:
            found = side_by_side([data] * (FEW + 1))
        except UnreadableError:
            refused += 1
            continue
        assert all(0 <= start <= stop <= len(data) for _, start, stop in found[0])
    sound = [data for data in messages if _parses(data)]
    assert 0 < refused <= len(messages) - len(sound) + len(messages) // 100  # some groups are sound, and not read
    assert len(sound) > 100


def _parses(data: bytes) -> bool:
    try:
        Span.FromString(data)
    except DecodeError:
        return False
    return True


def test_a_run_ends_where_another_field_begins() -> None:
    """Lengths of one and of two bytes are taken, what is longer is left for others."""
    data = b"\x12\x03abc" + b"\x12\xc8\x01" + b"x" * 200 + b"\x0a\x01n" + b"\x12\x01y"
    begin: list[int] = []
    end: list[int] = []
    assert run_of(0x12, data, (0, len(data)), (begin, end)) == 208
    assert (begin, end) == ([2, 8], [5, 208])
