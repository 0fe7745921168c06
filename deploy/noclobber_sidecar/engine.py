"""The engine: the one process that holds the store, and all that needs it.

chdb lets one process open a folder, so loader, alert sender, dashboard and API live together here; live analysis, which
needs a core of its own, is a child that borrows the store. The engine may crash, be slow or be upgraded: what the
receiver acknowledged lies in the spool meanwhile, and the engine goes on from there. Run by the supervisor as
`python -m noclobber_sidecar.engine`.
"""

import argparse
import asyncio
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from noclobber_sidecar.merges import let_merges_yield
from noclobber_sidecar.reason_page import answering
from noclobber_sidecar.sockets import in_url
from noclobber_sidecar.supervisor import EXIT_HOPELESS

__all__ = ["main"]

STOP_TIMEOUT_S: Final = 25.0
GRACE_S: Final = 3
EXIT_ORPHANED: Final = 70
log = logging.getLogger("noclobber.engine")


def main(argv: list[str] | None = None) -> int:
    """Run the engine until SIGTERM; returns the exit code."""
    words = _parser().parse_args(argv)
    if words.life_fd is not None:  # before anything slow: it holds a socket that the next supervisor needs
        threading.Thread(target=_end_with, args=(words.life_fd,), name="life line", daemon=True).start()
    from noclobber_collector import logs

    logs.begin("engine")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from noclobber.cli import CommandError
    from noclobber_analyzer.alerts.routes import RouteError
    from noclobber_collector.errors import StoreBusyError, StoreUnusableError
    from noclobber_dashboard.login import LoginError

    try:
        return _run(words)
    except StoreBusyError as error:  # somebody's `analyze`, perhaps: the supervisor tries again
        log.error("%s", error)  # noqa: TRY400  the reason is enough for a person
        return 1
    except (StoreUnusableError, RouteError, LoginError, CommandError) as error:
        Path(words.reason_file).write_text(f"{error}\n")
        log.error("%s", error)  # noqa: TRY400  the reason is enough for a person
        return EXIT_HOPELESS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noclobber-engine", description=__doc__)
    parser.add_argument("--store", default=os.environ.get("NOCLOBBER_STORE"))  # it may hold a password
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--spool-bytes-max", type=int, default=1 << 30)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--dashboard-port", type=int, required=True)
    parser.add_argument("--dashboard-fd", type=int, required=True, help="listening socket, bound by the supervisor")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME")
    parser.add_argument("--dashboard-url", default="", metavar="URL", help="where people reach the pages")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL")
    parser.add_argument("--webhook-allow", action="append", default=[], metavar="CIDR")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--reason-file", required=True)
    parser.add_argument("--life-fd", type=int)
    return parser


def _run(words: argparse.Namespace) -> int:
    """Open the store, start the workers around it, serve pages until told to end.

    Raises:
        StoreBusyError: another process holds the data folder.
        StoreUnusableError: the store can't be opened, and never will.
    """
    from noclobber_collector.lock import EngineLock

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    pages = socket.socket(fileno=words.dashboard_fd)
    address = f"http://{in_url(words.host)}:{words.dashboard_port}"
    with EngineLock(words.data, address):
        os.chdir(words.data)  # ClickHouse leaves its cache of schemas in the working folder
        store = _opened(words.store, pages, ending)
        if store is None:
            return 0
        let_merges_yield()
        try:
            Path(words.reason_file).unlink(missing_ok=True)
            words.dashboard_url = words.dashboard_url or address
            return _serve(store, words, _Workers(store, words), pages, ending)
        finally:
            store.close()


def _end_with(life_fd: int) -> None:
    """End at once when the supervisor is killed: whoever starts the next one must not wait for us.

    What an orderly end would still do the next start does as well: nothing that was acknowledged depends on it.
    """
    os.read(life_fd, 1)
    os._exit(EXIT_ORPHANED)


def _opened(url: str, pages: socket.socket, ending: threading.Event) -> Any:
    """The store as soon as it answers; until then the pages say what they wait for. None: the end came first."""
    from noclobber_collector.store import wait_for_store

    why = ["noclobber goes on receiving; its engine is opening the store"]

    def say(reason: str) -> None:
        log.warning("waiting for the store: %s", reason)
        why[0] = f"noclobber goes on receiving, but its engine waits for the store: {reason}"

    with answering(pages, lambda: why[0]):
        return wait_for_store(url, ending, say)


class _Workers:
    """Loader, analyzer and sender, in the order in which data passes them."""

    def __init__(self, store: Any, words: argparse.Namespace) -> None:
        from noclobber_analyzer.alerts.grouping import finest
        from noclobber_analyzer.alerts.inhibition import inhibitions_from
        from noclobber_analyzer.alerts.routes import routes_from
        from noclobber_analyzer.alerts.sender import Sender
        from noclobber_analyzer.commands.links import doubt
        from noclobber_analyzer.commands.options import declared
        from noclobber_analyzer.issue_log import DEFAULT_POLICY
        from noclobber_analyzer.live_apart import ApartAnalyzer
        from noclobber_collector.loader import Loader
        from noclobber_dashboard.login import login_from

        tables = tomllib.loads(words.config.read_text()) if words.config else {}
        routes = routes_from(tables.get("alert", []), os.environ, words.webhook, allow=words.webhook_allow)
        if routes and (why := doubt(words.dashboard_url)):
            log.warning("%s", why)
        self.declarations = declared(words)
        self.login = login_from(tables.get("login"), os.environ)
        self.sender = Sender(store, routes, inhibitions=inhibitions_from(tables.get("inhibit", [])))
        policy = json.dumps(asdict(finest(routes, DEFAULT_POLICY)))
        own = ["--dashboard", words.dashboard_url, "--policy", policy]
        own += ["--config", str(words.config)] if words.config else []
        self.analyzer = ApartAnalyzer(store, on_found=self.sender.wake, words=own)
        self.loader = Loader(
            store, words.data / "spool", on_loaded=self.analyzer.wake, spool_bytes_max=words.spool_bytes_max
        )

    def start(self) -> None:
        for worker in (self.sender, self.analyzer, self.loader):
            worker.start()
        threading.Thread(target=_warm_up, name="warm up", daemon=True).start()

    def stop(self) -> None:
        """End in order; what is not loaded within the time lies in the spool for the next start."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for worker in (self.loader, self.analyzer, self.sender):
            worker.stop(max(1.0, deadline - time.monotonic()))


def _warm_up() -> None:
    """Import what the first page needs, before somebody waits for it."""
    for name in ("altair", "pandas", "pygments.lexers"):
        importlib.import_module(name)


def _serve(
    store: Any, words: argparse.Namespace, workers: _Workers, pages: socket.socket, ending: threading.Event
) -> int:
    import uvicorn

    from noclobber_collector.receiver.process import QuietServer
    from noclobber_dashboard.app import build_app
    from noclobber_dashboard.settings import DashboardSettings
    from noclobber_sidecar.engine_metrics import engine_routes

    token = os.environ.get("NOCLOBBER_TOKEN") or None
    settings = DashboardSettings(
        words.host, words.dashboard_port, token, declarations=tuple(workers.declarations.declared), login=workers.login,
        trace_url=os.environ.get("NOCLOBBER_TRACE_URL", ""), url=words.dashboard_url,
        allowed_hosts=tuple(words.allowed_host),
    )  # fmt: skip
    routes = engine_routes(store, workers.loader, workers.analyzer, workers.sender)
    app = build_app(store, settings, on_startup=[workers.start], on_shutdown=[workers.stop], routes=routes)
    server = QuietServer(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            ws="websockets-sansio",
            proxy_headers=False,  # whose word counts is said by [login.proxy], not by uvicorn
        )
    )
    threading.Thread(target=_end_after, args=(ending, server), name="ending", daemon=True).start()
    log.info("engine ready: store %s, pages on %s:%d", store.name, words.host, words.dashboard_port)
    asyncio.run(server.serve([pages]))
    return 0


def _end_after(ending: threading.Event, server: Any) -> None:
    ending.wait()
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
