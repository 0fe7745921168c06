"""A server that speaks MongoDB's wire protocol, over SQLite; MongoDB itself is not to be had from a package."""

import contextlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from noclobber_sidecar.sockets import free_port

__all__ = ["mongo"]

START_TIMEOUT_S = 30.0


@contextlib.contextmanager
def mongo(folder: Path) -> Iterator[str]:
    """The server's URL."""
    if importlib.util.find_spec("nx_27017") is None:
        pytest.skip("nx-27017, a server of MongoDB's wire protocol, is not installed")
    import pymongo

    port = free_port("127.0.0.1", 0)
    program = str(Path(sys.executable).with_name("nx-27017"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--db", "memory", "--host", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log, cwd=folder
        )
    url = f"mongodb://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        with pymongo.MongoClient(url, serverSelectionTimeoutMS=200) as client:
            while process.poll() is None:
                with contextlib.suppress(pymongo.errors.PyMongoError):
                    client.admin.command("ping")
                    break
                assert time.monotonic() < deadline, "the server did not come up"
        yield url
    finally:
        process.terminate()
        process.wait(10)
