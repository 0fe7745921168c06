"""A MariaDB server for tests: the system's program, on a free port, in a folder of its own."""

import contextlib
import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pymysql
import pytest

from noclobber_sidecar.sockets import free_port

START_TIMEOUT_S: Final = 60
USER: Final = "agents"
DATABASE: Final = "bank"


@contextlib.contextmanager
def mariadb() -> Iterator[int]:
    """Run the server; gives its port. Skips where the program is not installed."""
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("no mariadbd on this machine (apt-get install mariadb-server)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        user = f"--user={getpass.getuser()}"
        made = [install, "--no-defaults", user, f"--datadir={data}", "--auth-root-authentication-method=normal"]
        subprocess.run([*made, "--skip-test-db"], check=True, capture_output=True, timeout=START_TIMEOUT_S)
        port = free_port("127.0.0.1", 0)
        process = subprocess.Popen(
            [
                server, "--no-defaults", user, f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={port}",
                f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--innodb-buffer-pool-size=32M",
                "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--performance-schema=OFF",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _until_it_answers(port, process)
            with contextlib.closing(pymysql.connect(unix_socket=f"{folder}/socket", user="root")) as root:
                cursor = root.cursor()
                cursor.execute(f"CREATE DATABASE {DATABASE}")
                cursor.execute(f"CREATE USER {USER}@'127.0.0.1'")
                cursor.execute(f"GRANT ALL ON *.* TO {USER}@'127.0.0.1'")
            yield port
        finally:
            process.terminate()
            process.wait(30)


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
