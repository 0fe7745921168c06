"""A memcached server for tests: the system's program, on a free port, in memory."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Final

import pytest

from noclobber_sidecar.sockets import free_port

START_TIMEOUT_S: Final = 20


@contextlib.contextmanager
def memcached() -> Iterator[tuple[str, int]]:
    """Run the server; gives its address. Skips where the program is not installed."""
    program = shutil.which("memcached")
    if program is None:
        pytest.skip("no memcached on this machine (apt-get install memcached)")
    port = free_port("127.0.0.1", 0)
    process = subprocess.Popen(
        [program, "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16", "-t", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until_it_answers(port, process)
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
