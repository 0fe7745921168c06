"""A program whose collector is away and whose spool has no room: it runs and ends as without noclobber."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber.outbox import Outbox

ACCESSES = 8_000
"""More than is kept in memory while the collector is away."""
PROGRAM = f"""
import resource, sqlite3, sys
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE notes (id integer PRIMARY KEY, text text)")
connection.execute("INSERT INTO notes VALUES (1, 'a note that is long enough')")
print(sum(len(connection.execute("SELECT text FROM notes WHERE id = 1").fetchall()) for _ in range({ACCESSES})))
"""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one megabyte of its own."""
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a small file system of its own needs root and mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def no_folder(folder: Path) -> Iterator[Path]:
    """A path at which no folder can be made: a file is in the way."""
    folder.write_text("in the way")
    yield folder / "spool"


@contextlib.contextmanager
def small_files(folder: Path) -> Iterator[Path]:
    """A folder in which the program may write small files only."""
    yield folder


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (small_disk, ()),
        pytest.param(no_folder, (), marks=pytest.mark.long),
        pytest.param(small_files, ("100000",), marks=pytest.mark.long),
    ],
)
def test_a_spool_without_room_is_not_the_programs_problem(
    room: "contextlib._GeneratorContextManager[Path]", words: tuple[str, ...], tmp_path: Path
) -> None:
    """What it prints, how it exits and how fast; what there is of exports on the disk is whole, and nothing else is."""
    (tmp_path / "agent.py").write_text(PROGRAM)
    with room(tmp_path / "there") as spool:  # type: ignore[operator]
        environment = os.environ | {
            "NOCLOBBER_SPOOL": str(spool), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "NOCLOBBER_CPU_BUDGET": "1", "NOCLOBBER_FLUSH_INTERVAL_S": "0.05",
        }  # fmt: skip
        command = [sys.executable, "-m", "noclobber", "run", "--", sys.executable, str(tmp_path / "agent.py"), *words]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert (done.returncode, done.stdout) == (0, f"{ACCESSES}\n")
        assert time.monotonic() - started < 30
        assert "Traceback" not in done.stderr
        left = [each for each in spool.iterdir() if each.suffix != ".lock"] if spool.is_dir() else []
        assert {each.suffix for each in left} <= {".otlp"}
        for each in left:
            assert ExportTraceServiceRequest.FromString(each.read_bytes()).resource_spans


def test_half_an_export_is_taken_away_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written whole is refused and leaves no bytes behind on the disk that has none left."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noclobber.outbox.MEMORY_BYTES_MAX", 0)
    outbox = Outbox(tmp_path / "spool", "process", 1 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        assert not outbox.put(b"an export", 1)
    assert [each.suffix for each in (tmp_path / "spool").iterdir()] == [".lock"]
    assert outbox.put(b"an export", 1)
    outbox.leave()
