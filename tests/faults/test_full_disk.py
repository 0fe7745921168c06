"""A disk that fills up under a receiver: it says so, loses nothing, and goes on once there is room."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from made import accesses
from processes import Receiver, wait_until

from noclobber_collector.loader import Loader
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments, size_of, sound_requests
from noclobber_collector.store import Store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a small file system of its own needs root and mount")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("options", [[], ["--spool-bytes-max", str(3 << 20)]], ids=["disk", "limit"])
def test_what_is_loaded_and_kept_gives_way(
    small_disk: Path, real_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str]
) -> None:
    """Four times what fits is taken, loaded files should stay an hour; the limit holds but for one segment."""
    monkeypatch.chdir(tmp_path)  # ClickHouse leaves its cache of schemas in the working folder
    real_store.command("TRUNCATE TABLE accesses")
    bytes_max = int(options[1]) if options else 1 << 30
    most = largest = sent = 0
    with Receiver(small_disk, *options) as receiver:
        loader = Loader(real_store, receiver.spool, keep_loaded_s=3_600.0, spool_bytes_max=bytes_max)
        loader.start()
        deadline = time.monotonic() + 90
        while sent < 4 * min(bytes_max, 8 << 20):
            data = accesses(500).SerializeToString()
            while (answer := receiver.send(data)).status != 200:
                assert (answer.status, time.monotonic() < deadline) == (503, True)
                time.sleep(0.2)
            sent += len(data)
            files = [path for path in receiver.spool.iterdir() if path.suffix in (".open", ".seg", ".done")]
            sizes = [size_of(path) for path in files]
            most, largest = max(most, sum(sizes)), max(largest, *sizes)
        wait_until(lambda: not list(receiver.spool.glob("*.open")), what="the close")
        wait_until(lambda: not closed_segments(receiver.spool), 60, "the load")
        wait_until(lambda: receiver.metrics()["spool_kept_bytes"] <= bytes_max // 4, what="the removal")
        metrics = receiver.metrics()
        assert loader.stop(10)
    assert most <= bytes_max + largest
    assert real_store.rows("SELECT uniqExact(trace_id, span_id) FROM accesses") == [(metrics["spans_total"],)]


def test_a_full_disk_is_503_and_room_is_noticed(small_disk: Path) -> None:
    """No acknowledgement without disk, the process lives, and it takes spans again within five seconds of room."""
    data = accesses(500).SerializeToString()
    with Receiver(small_disk) as receiver:
        acknowledged = 0
        while (answer := receiver.send(data)).status == 200:
            acknowledged += 500
        assert (answer.status, 1 <= int(answer.headers["retry-after"]) <= 3) == (503, True)
        assert "the disk is full" in Status.FromString(answer.body).message
        for _ in range(5):
            assert receiver.send(data).status == 503
        wait_until(lambda: not list(receiver.spool.glob("*.open")), what="the close of the last segment")
        assert sum(segment.spans for segment in closed_segments(receiver.spool)) == acknowledged
        for segment in closed_segments(receiver.spool):  # as the loader would, once they are loaded
            whole = segment.path.read_bytes()
            assert sum(end - begin for begin, end in sound_requests(whole, segment.number)) == len(whole)
            segment.path.unlink()
        begun = time.monotonic()
        wait_until(lambda: receiver.send(data).status == 200, 5, "room")
        assert time.monotonic() - begun < 5
        assert receiver.stop() == 0
        assert count_spans(data) == 500
        assert "Traceback" not in receiver.output
