"""Prints: equal for equal states whatever they came as, keyed, and weak where they name no single state."""

import hashlib
from decimal import Decimal

import numpy as np
import pytest

from noclobber import versions
from noclobber.versions import encode, fingerprint, is_numeric, is_weak


@pytest.mark.parametrize("value", [150, "150", b"150", bytearray(b"150"), memoryview(b"150"), Decimal(150)])
def test_one_state_has_one_encoding(value: object) -> None:
    """An int that was sent and the bytes or text that come back."""
    assert encode(value) == b"150"


def test_structures_are_encoded_in_any_order() -> None:
    """Dictionaries by sorted keys; what JSON does not know by its `repr`."""
    assert encode({"b": [1, None], "a": "ü"}) == encode({"a": "ü", "b": [1, None]}) == '{"a":"ü","b":[1,null]}'.encode()
    assert encode({1, 2}) == b'"{1, 2}"'
    assert encode("\ud800") == b"\xed\xa0\x80"
    circle: list[object] = []
    circle.append(circle)
    assert encode(circle) == b"[[...]]"


def test_arrays_are_encoded_whole() -> None:
    """Their `repr` leaves out the middle."""
    first = np.arange(5000.0)
    second = first.copy()
    second[2500] = 0
    assert repr(first) == repr(second)
    assert encode(first) == encode(first.copy()) != encode(second)
    assert encode({"vector": first}) != encode({"vector": second})


@pytest.mark.parametrize(
    ("value", "weak"),
    [(b"", True), (b"true", True), (b"150", True), (b"-1.5", True), (b"running", True), (b"in review", False),
     (b"a longer word", False), (b'{"a":1}', False), (b"123456789", False)],
)  # fmt: skip
def test_weak_values(value: bytes, weak: bool) -> None:
    """Null, empty, booleans, small numbers and words name no single state."""
    assert is_weak(value) is weak


@pytest.mark.parametrize(
    ("value", "number"), [(b"50", True), (b"-1.5e3", True), (b".5", True), (b"5a", False), (b"", False)]
)
def test_numbers(value: bytes, number: bool) -> None:
    """The text of one number, and nothing else."""
    assert is_numeric(value) is number


def test_long_values_are_covered_whole() -> None:
    """A change anywhere in a long value, or in its length, changes its print."""
    long = b"x" * 100_000
    prints = {fingerprint(each) for each in (long, long[:-1] + b"y", b"y" + long[1:], long + b"x", long[:50_000])}
    assert len(prints) == 5
    assert fingerprint(long) == fingerprint(bytes(long))


def test_prints_are_keyed() -> None:
    """Another key gives another print; none is a plain hash of the value."""
    before = versions.use_key(b"one".ljust(32))
    try:
        one, name = fingerprint(b"100"), versions.key_identity()
        versions.use_key(b"two".ljust(32))
        assert (fingerprint(b"100") == one, versions.key_identity() == name) == (False, False)
        assert one != hashlib.blake2b(b"100", digest_size=16).hexdigest()
    finally:
        versions.use_key(before)
