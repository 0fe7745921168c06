"""The engine: the one process that holds the store, and all that needs it.

chdb lets one process open a folder, so loader, live analyzer, alert sender, dashboard and API live together here. It
may crash, be slow or be upgraded: what the receiver acknowledged lies in the spool meanwhile, and the engine goes on
from there. Run by the supervisor as `python -m noclobber_sidecar.engine`.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any, Final

from noclobber_sidecar.supervisor import EXIT_HOPELESS

__all__ = ["main"]

STOP_TIMEOUT_S: Final = 25.0
GRACE_S: Final = 3
log = logging.getLogger("noclobber.engine")


def main(argv: list[str] | None = None) -> int:
    """Run the engine until SIGTERM; returns the exit code."""
    words = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from noclobber_collector.errors import StoreError

    try:
        return _run(words)
    except StoreError as error:
        Path(words.reason_file).write_text(f"{error}\n")
        log.error("%s", error)  # noqa: TRY400  the reason is enough for a person
        return EXIT_HOPELESS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noclobber-engine", description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--dashboard-port", type=int, required=True)
    parser.add_argument("--dashboard-fd", type=int, required=True, help="listening socket, bound by the supervisor")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL")
    parser.add_argument("--webhook-allow", action="append", default=[], metavar="CIDR")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--reason-file", required=True)
    parser.add_argument("--life-fd", type=int)
    return parser


def _run(words: argparse.Namespace) -> int:
    """Open the store, start the workers around it, serve pages until told to end.

    Raises:
        StoreError: the store can't be opened, or belongs to somebody else.
    """
    from noclobber_collector.lock import EngineLock
    from noclobber_collector.store import open_store

    address = f"http://{words.host}:{words.dashboard_port}"
    with EngineLock(words.data, address):
        store = open_store(words.store)
        try:
            workers = _Workers(store, words, address)
            return _serve(store, words, workers)
        finally:
            store.close()


class _Workers:
    """Loader, analyzer and sender, in the order in which data passes them."""

    def __init__(self, store: Any, words: argparse.Namespace, address: str) -> None:
        from noclobber_analyzer.alerts.routes import routes_from
        from noclobber_analyzer.alerts.sender import Sender
        from noclobber_analyzer.live import LiveAnalyzer
        from noclobber_collector.loader import Loader

        tables = tomllib.loads(words.config.read_text()).get("alert", []) if words.config else []
        routes = routes_from(tables, os.environ, words.webhook, allow=words.webhook_allow)
        self.sender = Sender(store, routes)
        self.analyzer = LiveAnalyzer(store, on_found=self.sender.wake, dashboard=address)
        self.loader = Loader(store, words.data / "spool", on_loaded=self.analyzer.wake)

    def start(self) -> None:
        for worker in (self.sender, self.analyzer, self.loader):
            worker.start()
        threading.Thread(target=_warm_up, name="warm up", daemon=True).start()

    def stop(self) -> None:
        for worker in (self.loader, self.analyzer, self.sender):
            worker.stop(STOP_TIMEOUT_S)


def _warm_up() -> None:
    """Import what the first page needs, before somebody waits for it."""
    import altair
    import pandas

    del altair, pandas


def _serve(store: Any, words: argparse.Namespace, workers: _Workers) -> int:
    import uvicorn

    from noclobber_collector.receiver.process import QuietServer, end_with
    from noclobber_dashboard.app import build_app
    from noclobber_dashboard.settings import DashboardSettings

    token = os.environ.get("NOCLOBBER_TOKEN") or None
    settings = DashboardSettings(words.host, words.dashboard_port, token)
    app = build_app(store, settings, on_startup=[workers.start], on_shutdown=[workers.stop])
    server = QuietServer(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S, ws="websockets-sansio"
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if words.life_fd is not None:
        end_with(words.life_fd, stop)
    listener = socket.socket(fileno=words.dashboard_fd)
    log.info("engine ready: store %s, pages on %s:%d", store.name, words.host, words.dashboard_port)
    asyncio.run(server.serve([listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
