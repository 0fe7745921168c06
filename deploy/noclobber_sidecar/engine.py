"""The engine: the one process that holds the store, and all that needs it.

chdb lets one process open a folder, so loader, live analyzer, alert sender, dashboard and API live together here. It
may crash, be slow or be upgraded: what the receiver acknowledged lies in the spool meanwhile, and the engine goes on
from there. Run by the supervisor as `python -m noclobber_sidecar.engine`.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noclobber_sidecar.supervisor import EXIT_HOPELESS

__all__ = ["main"]

STOP_TIMEOUT_S = 25.0
log = logging.getLogger("noclobber.engine")


def main(argv: list[str] | None = None) -> int:
    """Run the engine until SIGTERM; returns the exit code."""
    words = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    if words.life_fd is not None:
        _end_with_supervisor(words.life_fd)
    from noclobber_collector.errors import StoreUnusableError

    try:
        engine = Engine.open(words)
    except StoreUnusableError as error:
        Path(words.reason_file).write_text(f"{error}\n")
        log.error("%s", error)
        return EXIT_HOPELESS
    return engine.serve(words.dashboard_fd)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noclobber-engine", description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dashboard-fd", type=int, required=True, help="listening socket, bound by the supervisor")
    parser.add_argument("--dashboard-url", required=True, help="address under which people reach the dashboard")
    parser.add_argument("--token", default=os.environ.get("NOCLOBBER_TOKEN"))
    parser.add_argument("--webhook", action="append", default=[], metavar="URL")
    parser.add_argument("--webhook-secret", default=os.environ.get("NOCLOBBER_WEBHOOK_SECRET"))
    parser.add_argument("--webhook-allow", action="append", default=[], metavar="CIDR")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--reason-file", required=True)
    parser.add_argument("--life-fd", type=int)
    return parser


def _end_with_supervisor(life_fd: int) -> None:
    """End this process when the pipe closes, whose other end only the supervisor holds."""

    def watch() -> None:
        os.read(life_fd, 1)
        log.warning("the supervisor is gone; ending")
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(STOP_TIMEOUT_S + 5)
        os._exit(1)

    threading.Thread(target=watch, name="life line", daemon=True).start()
