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

from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments, sound_requests


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
