"""`noclobber demo` as a person meets it: what it says, how it ends, and that nothing of it stays."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it brings none
import pytest

COMMAND = [sys.executable, "-m", "noclobber.cli", "demo"]
WHOLE_S = 100
STEP_S = 60


def environment(folder: Path, home: str) -> dict[str, str]:
    """An environment whose temporary files all lie in `folder`, which also names its processes."""
    return {**os.environ, "TMPDIR": str(folder), "HOME": home}


def alive(folder: Path) -> list[str]:
    """What still runs of a demo that was started with this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def taken_ports() -> Iterator[list[int]]:
    """The sidecar's own ports and Redis's, as far as they were free, in somebody else's hands."""
    held = []
    for port in (4317, 4318, 8501, 6379):
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", port))
            holder.listen()
        except OSError:
            holder.close()  # taken already, which is as good
        else:
            held.append(holder)
    yield [4317, 4318, 8501, 6379]
    for holder in held:
        holder.close()


def test_it_finds_explains_and_leaves_nothing(tmp_path: Path, taken_ports: list[int]) -> None:
    """All ports taken, no home to write to: finding, how sure it is, webhook, safe twin; and then nothing is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    done = subprocess.run(
        [*COMMAND, "--once"], capture_output=True, text=True, timeout=WHOLE_S, check=False,
        env=environment(folder, "/proc/nowhere"),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for said in (
        r"noclobber found it \d+\.\d s after the last access \(\d+ s in all\)",
        r"LOST UPDATE \(likely, high\) on redis://[^ ]+/acct:\d",
        r"likely, not certain: it lacks what the write replaced",
        r"fix: WATCH the key",
        r"webhook: issue\.opened came, its signature is right",
        r"http://127\.0\.0\.1:\d+/finding\?id=[0-9a-f]{32}",
        r"noclobber is silent\. Defended: 2 atomic\.",
    ):
        assert re.search(said, " ".join(done.stdout.split())), said
    used = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", done.stdout)}
    assert used.isdisjoint(taken_ports)
    assert list(folder.iterdir()) == []
    assert alive(folder) == []


def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    """In the middle of the play, to the whole group as a terminal does it: exit 130, no traceback, nothing stays."""
    folder, home, said = tmp_path / "temporary", tmp_path / "home", tmp_path / "said"
    folder.mkdir()
    home.mkdir()
    with said.open("w") as out:
        process = subprocess.Popen(
            [*COMMAND, "--no-browser"], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, env=environment(folder, str(home)),
        )  # fmt: skip
    until = time.monotonic() + STEP_S
    while "== account" not in said.read_text():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < until, said.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(STEP_S) == 130
    assert said.read_text().endswith("\nstopped; nothing runs any more\n")
    assert "Traceback" not in said.read_text()
    assert list(folder.iterdir()) == []
    assert list(home.rglob("*")) == []
    assert alive(folder) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scenario", "bank"], "there is no scenario 'bank'. Known: account, langgraph, sql, queue, all."),
        (["--keep", "{full}"], "is not empty; name a new folder for --keep"),
        (["--keep", "{full}/a file"], "can't be used for --keep: File exists"),
        (["--twice"], "unrecognized arguments: --twice"),
    ],
    ids=["unknown scenario", "full folder", "a file", "unknown option"],
)
def test_mistakes_are_told_in_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    """Exit code 2, one sentence, no traceback, nothing started."""
    (tmp_path / "a file").touch()
    typed = [word.format(full=tmp_path) for word in words]
    done = subprocess.run([*COMMAND, *typed], capture_output=True, text=True, timeout=STEP_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
