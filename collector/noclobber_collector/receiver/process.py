"""Puts spool, gRPC, HTTP and forwarding together into one process, and ends them in order.

On SIGTERM both servers stop taking requests, those under way are answered, the open segment is closed, and the
process ends. Should its supervisor die, the pipe to it closes and the process ends in the same way.
"""

import logging
import os
import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
import uvloop

from noclobber_collector.heap import give_back
from noclobber_collector.logs import advice
from noclobber_collector.receiver.admission import Admission, connections_max
from noclobber_collector.receiver.connection import protocol_of
from noclobber_collector.receiver.counts import Counts
from noclobber_collector.receiver.forward import Forwarder, ForwardSettings
from noclobber_collector.receiver.grpc import serve_grpc
from noclobber_collector.receiver.http import HttpReceiver
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.receiver.tls import ServerTls, TlsFiles
from noclobber_collector.receiver.token import Token
from noclobber_collector.spool import Spool

__all__ = ["QuietServer", "ReceiverSettings", "end_with", "run_receiver"]

log = logging.getLogger("noclobber.receiver")
KEEP_ALIVE_S: Final = 65
GRACE_S: Final = 5
GIVEN_BACK, KEPT = 512 << 10, 4 << 20
"""Bodies of the first size or more leave nothing behind; of smaller ones so much is kept for the next."""
BACKLOG: Final = 1024
ACCEPTED_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """How the receiver runs.

    Attributes:
        spool: its folder. http_fd: a socket that listens already, in place of host and http_port.
        collector: name of this spool in the store. life_fd: the process ends when this pipe closes.
        tls: None: unencrypted. forward: where spans are passed on to; None: nowhere.
    """

    spool: Path
    host: str = "127.0.0.1"
    grpc_port: int = 4317
    http_port: int = 4318
    http_fd: int | None = None
    collector: str = "local"
    token: str | None = field(default=None, repr=False)
    spool_bytes_max: int = 1 << 30
    life_fd: int | None = None
    tls: TlsFiles | None = None
    forward: ForwardSettings | None = None


class QuietServer(uvicorn.Server):
    """uvicorn without its handling of signals, which raises SIGTERM once more after the end."""

    @contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to the process that runs the server."""
        yield


def run_receiver(settings: ReceiverSettings) -> int:
    """Receive until SIGTERM or SIGINT; returns the exit code."""
    give_back(GIVEN_BACK, KEPT)
    tls = ServerTls(settings.tls) if settings.tls is not None else None
    counts = Counts()
    forwarder = Forwarder(settings.spool, settings.forward, counts) if settings.forward is not None else None
    keep = forwarder.keep if forwarder is not None else None
    spool = Spool(settings.spool, settings.collector, settings.spool_bytes_max, before_close=keep)
    if spool.repaired_bytes:
        log.info("%d bytes of a torn tail were cut off: they had not been acknowledged", spool.repaired_bytes)
    if spool.damaged_spans:
        log.error(
            "%d spans or more that had been written were damaged on disk, and are lost", spool.damaged_spans,
            extra=advice("look after the disk: bytes changed after they had been written"),
        )  # fmt: skip
    try:
        if forwarder is not None:
            forwarder.start()
        uvloop.run(_serve(settings, Intake(spool, counts), tls))
    finally:
        spool.close()
        if forwarder is not None:
            forwarder.stop()
    return 0


class _FairServer(QuietServer):
    """Accepts few connections at a time, so that a crowd of them does not hold up those that have a request."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen; the system keeps the rest waiting."""
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                with socket.socket(fileno=os.dup(listening.fileno())) as same:
                    same.listen(BACKLOG)


async def _serve(settings: ReceiverSettings, intake: Intake, tls: ServerTls | None) -> None:
    """Run both servers until the end is asked for, and let them finish what they have begun."""
    token = Token(settings.token)
    server = _FairServer(
        uvicorn.Config(
            HttpReceiver(intake, token),
            host=settings.host,
            port=settings.http_port,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            http=cast("Any", protocol_of(Admission(intake.counts, connections_max()), tls)),
            ws="none",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            backlog=ACCEPTED_AT_ONCE,
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if settings.life_fd is not None:
        end_with(settings.life_fd, stop)
    sockets = [socket.socket(fileno=settings.http_fd)] if settings.http_fd is not None else None
    grpc_server, grpc_port = await serve_grpc(intake, settings.host, settings.grpc_port, token, tls)
    log.info("receiving OTLP/gRPC on %s:%d, spool %s", settings.host, grpc_port, settings.spool)
    try:
        await server.serve(sockets)
    finally:
        await grpc_server.stop(GRACE_S)


def end_with(life_fd: int, stop: Any) -> None:
    """Call `stop` when the pipe closes whose other end only the supervisor holds."""

    def watch() -> None:
        os.read(life_fd, 1)
        stop()

    threading.Thread(target=watch, name="life line", daemon=True).start()
