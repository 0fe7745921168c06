"""Random programs on one file: they see what they would see without us, and no print is of what the file never held."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noclobber import versions
from noclobber.testing import KEY, capture

STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 40)),
    st.tuples(st.just("write"), st.binary(max_size=40)),
    st.tuples(st.just("seek"), st.integers(0, 60)),
    st.tuples(st.just("truncate"), st.none() | st.integers(0, 60)),
    st.tuples(st.just("readline"), st.just(-1)),
    st.tuples(st.just("flush"), st.none()),
)
MODES = st.sampled_from(["rb", "r+b", "wb", "w+b", "ab", "a+b"])


def perform(path: Path, mode: str, buffering: int, steps: list[tuple[str, Any]]) -> list[Any]:
    """What a program sees that does `steps`."""
    seen: list[Any] = []
    with path.open(mode, buffering) as file:
        for name, argument in steps:
            try:
                seen.append(getattr(file, name)() if name == "flush" else getattr(file, name)(argument))
            except OSError as error:  # not open for it
                seen.append(type(error))
            seen.append(file.tell())
    return seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files lie."""
    return tmp_path_factory.mktemp("random")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=100), MODES, st.sampled_from([-1, 0, 8]), st.lists(STEPS, max_size=8))
def test_as_without(folder: Path, before: bytes, mode: str, buffering: int, steps: list[tuple[str, Any]]) -> None:
    """Same replies, same content; what was read whole or written is printed as it was."""
    plain, watched = folder / "plain", folder / "watched"
    plain.write_bytes(before)
    watched.write_bytes(before)
    expected = perform(plain, mode, buffering, steps)
    with capture(watch_files=(str(watched),)) as captured:
        assert perform(watched, mode, buffering, steps) == expected
        accesses = captured.accesses
        after = watched.read_bytes()
        assert after == plain.read_bytes()
    reads = {each.get("noclobber.version.read") for each in accesses} - {None}
    writes = {each.get("noclobber.version.written") for each in accesses} - {None}
    assert {each["noclobber.outcome"] for each in accesses} <= {"ok"}
    assert mode != "rb" or {each["noclobber.op"] for each in accesses} <= {"read"}
    key = versions.use_key(KEY)
    try:
        assert writes <= {versions.fingerprint(after)}
        if not {"write", "truncate"} & {name for name, _ in steps}:
            assert reads <= {versions.fingerprint(before)}
    finally:
        versions.use_key(key)
