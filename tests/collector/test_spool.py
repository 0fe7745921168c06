"""The spool: durable before acknowledged, repaired after a crash, bounded, and alive whatever the disk does."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import accesses
from processes import wait_until

from noclobber_collector.errors import SpoolBusyError, SpoolFullError
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import (
    Segment,
    bare_requests,
    closed_segments,
    frame,
    newest_number,
    repair,
    salvage,
    sound_requests,
)
from noclobber_collector.spool import Spool

ONE = accesses(2).SerializeToString()


def spans_of(folder: Path) -> int:
    """Spans in closed segments, by their content; the names must agree."""
    total = 0
    for segment in closed_segments(folder, loaded=True):
        data = segment.path.read_bytes()
        found = list(sound_requests(data, segment.number))
        assert sum(end - begin for begin, end in found) == len(data)
        spans = sum(count_spans(_body(data[begin:end])) for begin, end in found)
        assert spans == segment.spans
        total += spans
    return total


def _body(framed: bytes) -> bytes:
    head = 1
    while framed[head - 1] & 0x80:
        head += 1
    return framed[head:]


# -- the happy path ------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_lies_on_disk(tmp_path: Path) -> None:
    """Also before the segment is closed: a copy of the open file holds it whole."""
    spool = Spool(tmp_path, close_after_s=60)
    spool.put(ONE, 2).result(10)
    (opened,) = tmp_path.glob("*.open")
    data = opened.read_bytes()
    assert [data[begin:end] for begin, end in sound_requests(data, spool._last_number)] == [data]
    assert _body(data).startswith(ONE)
    spool.close()
    assert spans_of(tmp_path) == 2


def test_requests_that_come_together_are_synced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Group commit: a hundred requests that wait while the disk is busy cost one more sync."""
    go, real = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (go.wait(10), real(file)))
    spool = Spool(tmp_path)
    first = spool.put(ONE, 2)
    wait_until(lambda: not spool._waiting, what="the first commit")
    rest = [spool.put(ONE, 2) for _ in range(100)]
    assert not any(each.done() for each in (first, *rest))
    go.set()
    for each in (first, *rest):
        each.result(10)
    assert spool.commits == 2
    spool.close()
    assert spans_of(tmp_path) == 202


def test_a_segment_closes_by_time_and_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By time while nothing comes, by size while much comes; numbers ascend."""
    spool = Spool(tmp_path / "a", close_after_s=0.05)
    spool.put(ONE, 2).result(10)
    wait_until(lambda: closed_segments(tmp_path / "a"), what="the close by time")
    spool.close()
    monkeypatch.setattr("noclobber_collector.spool.CLOSE_SPANS", 10)
    spool = Spool(tmp_path / "b", close_after_s=60)
    for _ in range(20):
        spool.put(ONE, 2).result(10)
    spool.close()
    segments = closed_segments(tmp_path / "b")
    assert [segment.spans for segment in segments] == [10, 10, 10, 10]
    assert len({segment.number for segment in segments}) == 4


def test_a_segment_has_no_more_bytes_than_a_loader_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they come one by one or together; what is larger by itself goes alone, and comes back as it was."""
    monkeypatch.setattr("noclobber_collector.spool.CLOSE_BYTES", 3 * len(ONE) + 200)
    monkeypatch.setattr("noclobber_collector.spool.WRITE_BYTES", 2 * len(ONE))
    go, real = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (go.wait(10), real(file)))
    spool = Spool(tmp_path, close_after_s=60)
    large = accesses(30).SerializeToString()
    first = spool.put(ONE, 2)
    wait_until(lambda: not spool._waiting, what="the first group")
    group = [spool.put(data, spans) for data, spans in [(ONE, 2)] * 7 + [(large, 30)] + [(ONE, 2)] * 2]
    go.set()
    for each in (first, *group):
        each.result(10)
    for _ in range(4):
        spool.put(ONE, 2).result(10)
    spool.close()
    segments = closed_segments(tmp_path)
    assert [segment.spans for segment in segments] == [2, 6, 6, 2, 30, 4 + 2, 6]
    found = [each for segment in segments for each in bare_requests(segment.path.read_bytes(), segment.number)]
    assert found == [ONE] * 8 + [large] + [ONE] * 6


def test_numbers_never_repeat_or_fall_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """Also over a restart, and while only a loaded segment is left."""
    now = [1_800_000_000.0]
    numbers = []
    for _ in range(4):
        spool = Spool(tmp_path, clock=lambda: now[0])
        spool.put(ONE, 2).result(10)
        spool.close()
        numbers.append(newest_number(tmp_path))
        (closed,) = closed_segments(tmp_path)
        for old in tmp_path.glob("*.done"):
            old.unlink()
        closed.path.rename(closed.path.with_suffix(".done"))
        now[0] -= 3_600
    assert numbers == sorted(set(numbers))
    assert numbers[0] >> 16 == 1_800_000_000_000
    assert Segment(tmp_path, numbers[0], 1, loaded=False).day == 20_833


def test_close_commits_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    """An orderly end leaves no open segment."""
    spool = Spool(tmp_path)
    waiting = [spool.put(ONE, 2) for _ in range(50)]
    spool.close()
    assert all(each.exception(0) is None for each in waiting)
    with pytest.raises(SpoolFullError, match="ending"):
        spool.put(ONE, 2).result(0)
    assert (spans_of(tmp_path), list(tmp_path.glob("*.open"))) == (100, [])


def test_a_spool_keeps_its_collectors_name(tmp_path: Path) -> None:
    """Another name would count nothing of what lies there."""
    Spool(tmp_path, "east").close()
    Spool(tmp_path, "east").close()
    with pytest.raises(SpoolBusyError, match="belongs to the collector 'east', not 'west'"):
        Spool(tmp_path, "west")


# -- after a crash -------------------------------------------------------------------------------------------------


@given(cut=st.integers(1, 3 * (len(ONE) + 40)))
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_is_cut_at_the_last_whole_request(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever the file ends, whole requests before it stay and nothing else does."""
    folder = tmp_path_factory.mktemp("torn")
    framed = [frame(ONE, 7 << 16, number, b"local") for number in (1, 2, 3)]
    whole = b"".join(framed)
    data = whole[: len(whole) - cut] if cut < len(whole) else b""
    (folder / f"{7 << 16:020d}.open").write_bytes(data)
    kept = sum(len(whole[: len(framed[0]) * n]) <= len(data) for n in (1, 2, 3))
    assert repair(folder) == (len(data) - kept * len(framed[0]), 0)
    assert spans_of(folder) == 2 * kept
    assert list(folder.glob("*.open")) == []


@pytest.mark.parametrize(
    "tail", [bytes(500), b"\xff" * 500, os.urandom(500), ONE], ids=["zeros", "ones", "random", "bare"]
)
def test_a_tail_of_garbage_is_cut(tmp_path: Path, tail: bytes) -> None:
    """As a file system may leave it after a power loss."""
    good = frame(ONE, 7 << 16, 1, b"local")
    (tmp_path / f"{7 << 16:020d}.open").write_bytes(good + tail)
    assert repair(tmp_path) == (len(tail), 0)
    assert spans_of(tmp_path) == 2


@pytest.mark.parametrize("told", [True, False], ids=["format 2", "format 1"])
@pytest.mark.parametrize("name", ["open", "6.seg"])
@given(at=st.integers(0), value=st.integers(1, 255))
@settings(max_examples=80, deadline=None)
def test_a_damaged_byte_costs_the_request_that_it_was_in(
    tmp_path_factory: pytest.TempPathFactory, name: str, told: bool, at: int, value: int
) -> None:
    """Whatever it was, a length, a span or our own fields; the others stay, and what is lost is counted."""
    folder = tmp_path_factory.mktemp("damaged")
    framed = [frame(ONE, 7 << 16, number, b"local", 2 * number if told else 0) for number in (1, 2, 3)]
    data = bytearray(b"".join(framed))
    at %= len(data)
    data[at] ^= value
    (folder / f"{7 << 16:020d}.{name}").write_bytes(bytes(data))
    repaired = repair(folder)
    (segment,) = closed_segments(folder)
    lost = salvage(segment) if name != "open" else repaired.damaged_spans
    hit = at // len(framed[0])
    kept = b"".join(each for number, each in enumerate(framed) if number != hit)
    assert closed_segments(folder)[0].path.read_bytes() == kept
    assert (spans_of(folder), repaired.cut_bytes) == (4, 0)
    assert lost == 2 or (name == "open" and lost >= 1 and (not told or hit == 2))


@pytest.mark.parametrize("at", [0, 1, 2, 5_000, -3])
def test_a_damaged_byte_in_one_of_five_large_requests(tmp_path: Path, at: int) -> None:
    """As a crash leaves them, each acknowledged, and half a sixth: a hundred spans are lost, and so many counted."""
    hundred = accesses(100).SerializeToString()
    framed = [frame(hundred, 7 << 16, number, b"local", 100 * number) for number in range(1, 6)]
    first = bytearray(framed[0])
    first[at] ^= 1
    torn = framed[0][: len(framed[0]) // 2]
    (tmp_path / f"{7 << 16:020d}.open").write_bytes(b"".join((bytes(first), *framed[1:], torn)))
    assert repair(tmp_path) == (len(torn), 100)
    assert spans_of(tmp_path) == 400


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_bytes_overwritten_by_zeros_cost_only_the_requests_that_they_were_in(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Also where the end of one request and its length are both gone, so that nothing tells where the next begins."""
    folder = tmp_path_factory.mktemp("page")
    framed = [frame(ONE, 7 << 16, number, b"local", 2 * number) for number in range(1, 6)]
    size = len(framed[0])
    begin = data.draw(st.integers(0, 4 * size))
    end = data.draw(st.one_of(st.integers(begin + 1, 5 * size - 1), st.just((begin // size + 1) * size)))
    whole = b"".join(framed)
    (folder / f"{7 << 16:020d}.10.seg").write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
    hit = {
        number
        for number in range(5)
        if whole[begin:end].strip(b"\0") and begin < (number + 1) * size and end > number * size
    }
    lost = salvage(closed_segments(folder)[0])
    kept = b"".join(each for number, each in enumerate(framed) if number not in hit)
    assert lost == 2 * len(hit)
    assert b"".join(each.path.read_bytes() for each in closed_segments(folder)) == kept


def test_a_sound_segment_is_left_alone(tmp_path: Path) -> None:
    """Salvage changes nothing without need."""
    path = tmp_path / f"{7 << 16:020d}.2.seg"
    path.write_bytes(frame(ONE, 7 << 16, 1, b"local"))
    before = path.stat().st_ino, path.stat().st_mtime_ns
    assert salvage(closed_segments(tmp_path)[0]) == 0
    assert before == (path.stat().st_ino, path.stat().st_mtime_ns)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """Kill -9 in the middle of appends, eight writers: what was told as done is there after repair."""
    program = (
        "import sys, threading, pathlib; from noclobber_collector.spool import Spool\n"
        "data = pathlib.Path(sys.argv[2]).read_bytes(); spool = Spool(pathlib.Path(sys.argv[1]))\n"
        "def write():\n"
        "    while True:\n"
        "        spool.put(data, 2).result(10); sys.stdout.write('+'); sys.stdout.flush()\n"
        "[threading.Thread(target=write).start() for _ in range(8)]\n"
    )
    (tmp_path / "one").write_bytes(ONE)
    words = [sys.executable, "-c", program, str(tmp_path / "spool"), str(tmp_path / "one")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = len(writer.stdout.read(2_000))
        writer.kill()
        acknowledged += len(writer.stdout.read())
    Spool(tmp_path / "spool").close()
    assert spans_of(tmp_path / "spool") >= 2 * acknowledged


# -- bounds and a disk that refuses --------------------------------------------------------------------------------


def test_the_limit_counts_what_is_not_loaded_and_what_is_kept(tmp_path: Path) -> None:
    """Refused above the limit, taken again once loaded files have gone; the newest, which stays, is left out."""
    spool = Spool(tmp_path, bytes_max=4 * len(ONE), close_after_s=0.01)
    error = None
    while error is None:
        error = spool.put(ONE, 2).exception(10)
        wait_until(lambda: not list(tmp_path.glob("*.open")), what="the close")
    assert "its limit" in str(error)
    for segment in closed_segments(tmp_path):
        segment.path.rename(segment.path.with_suffix(".done"))
    spool.stock.look()
    *older, newest = sorted(tmp_path.glob("*.done"))
    wait_until(lambda: spool.stock.kept_bytes, what="a look")
    assert spool.stock.kept_bytes == sum(path.stat().st_size for path in older) > len(ONE)
    assert "its limit" in str(spool.put(2 * ONE, 4).exception(10))
    for path in older:
        path.unlink()
    wait_until(lambda: spool.put(2 * ONE, 4).exception(10) is None, what="room")
    assert newest.exists()
    spool.close()


def test_a_request_looks_at_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many segments there are: a thread lists them, asks each for its size once; what is closed is added."""
    for number in range(1, 1_001):
        (tmp_path / f"{number << 16:020d}.2.seg").write_bytes(bytes(10))
    spool = Spool(tmp_path, close_after_s=60)
    asked: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (asked.append(threading.current_thread().name), listdir(path))[1])
    monkeypatch.setattr("noclobber_collector.stock.size_of", lambda path: asked.append(f"size of {path.name}") or 10)
    for _ in range(20):
        spool.put(ONE, 2).result(10)
    assert spool.held_bytes == 10_000 + sum(path.stat().st_size for path in tmp_path.glob("*.open"))
    wait_until(lambda: asked.count("stock") >= 2, what="two looks")
    assert set(asked) == {"stock"}
    spool.close()
    assert spool.held_bytes == 10_000 + closed_segments(tmp_path)[-1].path.stat().st_size


def test_memory_for_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk stands still only so many bytes wait."""
    go, real = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (go.wait(10), real(file)))
    monkeypatch.setattr("noclobber_collector.spool.WAITING_MAX", 5 * len(ONE))
    spool = Spool(tmp_path)
    futures = [spool.put(ONE, 2) for _ in range(20)]
    refused = [each for each in futures if each.done()]
    assert len(refused) >= 14
    assert "too slow" in str(refused[0].exception())
    go.set()
    taken = sum(each.exception(10) is None for each in futures)
    spool.close()
    assert spans_of(tmp_path) == 2 * taken


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Half a request on disk was never acknowledged: it is cut off, and what comes later is whole."""
    spool = Spool(tmp_path, close_after_s=60)
    spool.put(ONE, 2).result(10)
    real = os.write
    failing = [True]

    def write(file: int, data: bytes) -> int:
        if failing and len(data) > 100:
            if failing.pop():
                failing.append(False)
                return real(file, bytes(data[:50]))
            raise OSError(number, os.strerror(number))
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(SpoolFullError, match="full" if number == errno.ENOSPC else "refuses"):
        spool.put(ONE, 2).result(10)
    spool.put(ONE, 2).result(10)
    spool.close()
    assert spans_of(tmp_path) == 4


def test_a_disk_that_lets_nothing_be_renamed_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool's thread lives on, and closes the segment when it can."""
    spool = Spool(tmp_path, close_after_s=0.02)
    failing, real = [True], Path.rename

    def rename(path: Path, target: Path) -> Path:
        if failing:
            raise OSError(errno.EROFS, "read-only")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    spool.put(ONE, 2).result(10)
    wait_until(lambda: spool._open is not None and spool._open._file < 0, what="a failed close")
    with pytest.raises(SpoolFullError, match="refuses"):
        spool.put(ONE, 2).result(10)
    failing.clear()
    wait_until(lambda: closed_segments(tmp_path), what="the close")
    spool.put(ONE, 2).result(10)
    spool.close()
    assert spans_of(tmp_path) == 4


def test_a_client_that_went_away_stops_nothing(tmp_path: Path) -> None:
    """A cancelled future is nobody's answer any more."""
    spool = Spool(tmp_path)
    for _ in range(20):
        spool.put(ONE, 2).cancel()
    spool.put(ONE, 2).result(10)
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a small file system of its own needs root and mount")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """Refused with the reason, nothing acknowledged is lost, and taken again once there is room."""
    spool = Spool(small_disk / "spool", close_after_s=0.02)
    big = accesses(500).SerializeToString()
    acknowledged, error = 0, None
    while error is None:
        error = spool.put(big, 500).exception(10)
        acknowledged += error is None
    assert "the disk is full" in str(error)
    assert acknowledged > 2
    assert "full" in str(spool.put(big, 500).exception(10))
    wait_until(lambda: not list(small_disk.rglob("*.open")), what="the close")
    assert spans_of(small_disk / "spool") == 500 * acknowledged
    closed_segments(small_disk / "spool")[0].path.unlink()
    spool.put(big, 500).result(10)
    spool.close()


def test_a_torn_segment_is_repaired_on_a_full_disk(small_disk: Path) -> None:
    """Cutting needs no room."""
    folder = small_disk / "spool"
    folder.mkdir()
    whole = b"".join(frame(ONE, 7 << 16, number, b"local") for number in range(1, 200))
    (folder / f"{7 << 16:020d}.open").write_bytes(whole[:-5])
    with pytest.raises(OSError, match="No space"):
        (small_disk / "fill").write_bytes(bytes(2 << 20))
    assert repair(folder).cut_bytes > 0
    assert spans_of(folder) == 2 * 198
