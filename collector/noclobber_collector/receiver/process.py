"""Puts spool, gRPC and HTTP together into one process, and ends them in order.

On SIGTERM both servers stop taking requests, those under way are answered, the open segment is closed, and the
process ends. Should its supervisor die, the pipe to it closes and the process ends in the same way.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from noclobber_collector.receiver.connection import PatientOnlySoLong
from noclobber_collector.receiver.grpc import serve_grpc
from noclobber_collector.receiver.http import HttpReceiver
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.spool import Spool

__all__ = ["QuietServer", "ReceiverSettings", "end_with", "run_receiver"]

log = logging.getLogger("noclobber.receiver")
CONNECTIONS_MAX: Final = 4096
KEEP_ALIVE_S: Final = 65
GRACE_S: Final = 5


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """How the receiver runs.

    Attributes:
        spool: its folder. http_fd: a socket that listens already, in place of host and http_port.
        collector: name of this spool in the store. life_fd: the process ends when this pipe closes.
    """

    spool: Path
    host: str = "127.0.0.1"
    grpc_port: int = 4317
    http_port: int = 4318
    http_fd: int | None = None
    collector: str = "local"
    token: str | None = None
    spool_bytes_max: int = 1 << 30
    life_fd: int | None = None


class QuietServer(uvicorn.Server):
    """uvicorn without its handling of signals, which raises SIGTERM once more after the end."""

    @contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to the process that runs the server."""
        yield


def run_receiver(settings: ReceiverSettings) -> int:
    """Receive until SIGTERM or SIGINT; returns the exit code."""
    spool = Spool(settings.spool, settings.collector, settings.spool_bytes_max)
    if spool.repaired_bytes:
        log.info("%d bytes of a torn tail were cut off: they had not been acknowledged", spool.repaired_bytes)
    intake = Intake(spool)
    grpc_server, grpc_port = serve_grpc(intake, settings.host, settings.grpc_port, settings.token)
    server = QuietServer(
        uvicorn.Config(
            HttpReceiver(intake, settings.token),
            host=settings.host,
            port=settings.http_port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            http=PatientOnlySoLong,
            ws="none",
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            backlog=1024,
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if settings.life_fd is not None:
        end_with(settings.life_fd, stop)
    sockets = [socket.socket(fileno=settings.http_fd)] if settings.http_fd is not None else None
    log.info("receiving OTLP/gRPC on %s:%d, spool %s", settings.host, grpc_port, settings.spool)
    try:
        asyncio.run(server.serve(sockets))
    finally:
        grpc_server.stop(GRACE_S).wait(GRACE_S)
        spool.close()
    return 0


def end_with(life_fd: int, stop: Any) -> None:
    """Call `stop` when the pipe closes whose other end only the supervisor holds."""

    def watch() -> None:
        os.read(life_fd, 1)
        stop()

    threading.Thread(target=watch, name="life line", daemon=True).start()
