"""AWS for tests: moto's server, threaded, in a process of its own, and what its clients are given."""

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

from noclobber_sidecar.sockets import free_port

START_TIMEOUT_S: Final = 30
KEY_ID: Final = "AKIAPLANTEDSECRETKEY"
SECRET: Final = "planted/secret+access/key"


@contextlib.contextmanager
def aws() -> Iterator[str]:
    """Run the server; gives its URL."""
    port = free_port("127.0.0.1", 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/moto-api/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None
        try:
            urllib.request.urlopen(url, timeout=START_TIMEOUT_S).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def client(service: str, url: str) -> Any:
    """A client that tries each request once."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service, endpoint_url=url, region_name="eu-west-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
    )  # fmt: skip
