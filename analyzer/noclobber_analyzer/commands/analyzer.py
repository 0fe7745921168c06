"""`noclobber analyzer`: live analyzer and alert sender alone, over a ClickHouse server that collectors fill."""

import argparse
import os
import secrets
import signal
import socket
import threading
import tomllib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.options import declared

if TYPE_CHECKING:
    from noclobber.declarations import Declarations
    from noclobber_analyzer.alerts import Route, Sender
    from noclobber_analyzer.live import LiveAnalyzer
    from noclobber_collector.store import Store

__all__ = ["COMMAND"]

STOP_TIMEOUT_S: Final = 25.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber analyzer`."""
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get("NOCLOBBER_STORE"),
        help="http(s)://user:password@host:8123/db [NOCLOBBER_STORE]",
    )
    parser.add_argument(
        "--name", default="live", help="of the analysis: all that run under it share the work and go on from each other"
    )
    parser.add_argument("--dashboard-url", default="", metavar="URL", help="where pages are, for links in alerts")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL", help="send alerts there; repeatable")
    parser.add_argument("--webhook-secret", action="append", default=[], metavar="whsec_...", help="signs them")
    parser.add_argument(
        "--webhook-allow", action="append", default=[], metavar="CIDR", help="private addresses to allow"
    )
    parser.add_argument(
        "--config", type=Path, metavar="TOML", help="configuration file: its [[alert]] and [[resource]] tables"
    )
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="answer /live, /ready and /metrics there (default: nowhere)"
    )
    parser.add_argument(
        "--host", default=os.environ.get("NOCLOBBER_HOST") or "127.0.0.1",
        help="address for it (default 127.0.0.1) [NOCLOBBER_HOST]",
    )  # fmt: skip


def run(words: argparse.Namespace) -> int:
    """Analyse until SIGTERM or Ctrl-C."""
    if not words.store:
        raise CommandError("which store? Name it with --store http://user@host:8123, or set NOCLOBBER_STORE")
    if words.store.startswith("chdb:"):
        raise CommandError("the embedded store belongs to `noclobber up`, which analyses it; this needs a server's URL")
    from noclobber_collector import logs

    logs.begin("analyzer")
    routes, declarations = _routes(words), declared(words)
    from noclobber_collector.errors import StoreError
    from noclobber_collector.store import open_store

    try:
        store = open_store(words.store)
    except StoreError as error:
        raise CommandError(f"{error}. The analyzer needs its store once at the start.", exit_code=1) from error
    try:
        return _work(store, words, routes, declarations)
    finally:
        store.close()


def _routes(words: argparse.Namespace) -> "tuple[Route, ...]":
    from noclobber_analyzer.alerts.routes import RouteError, routes_from

    try:
        tables = tomllib.loads(words.config.read_text()).get("alert", []) if words.config else []
        return routes_from(tables, os.environ, words.webhook, words.webhook_secret, words.webhook_allow)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"the configuration file {words.config} can't be read: {error}") from error
    except RouteError as error:
        raise CommandError(str(error)) from error


def _work(store: "Store", words: argparse.Namespace, routes: "tuple[Route, ...]", declarations: "Declarations") -> int:
    from noclobber_analyzer.alerts import Sender
    from noclobber_analyzer.clock import SYSTEM
    from noclobber_analyzer.leases import Leases
    from noclobber_analyzer.live import LiveAnalyzer

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    sender = Sender(store, routes, may_send=lambda: analyzer.leads)
    analyzer = LiveAnalyzer(
        store,
        on_found=sender.wake,
        dashboard=words.dashboard_url,
        declarations=declarations,
        leases=Leases(store, words.name, owner, SYSTEM),
    )
    with _answering(words, analyzer, sender):
        sender.start()
        analyzer.start()
        print(f"analysing {store.name} as '{words.name}', {len(routes)} alert routes, known as {owner}", flush=True)
        ended.wait()
    in_time = analyzer.stop(STOP_TIMEOUT_S)
    return 0 if sender.stop(STOP_TIMEOUT_S) and in_time else 1


def _answering(words: argparse.Namespace, analyzer: "LiveAnalyzer", sender: "Sender") -> AbstractContextManager[object]:
    """The port for probes and metrics, where one was asked for."""
    from noclobber_analyzer.operation import Operation

    if words.metrics_port is None:
        return nullcontext()
    try:
        return Operation(words.host, words.metrics_port, analyzer, sender)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(
            f"can't listen on {words.host}:{words.metrics_port}: {reason}. Check --metrics-port"
        ) from error


COMMAND = Command(
    name="analyzer",
    summary="the live analyzer and the alert sender alone, over a ClickHouse server",
    configure=configure,
    run=run,
    epilog=(
        "One analyzer is enough for most stores. Start more of the same name, on any host, and they share the work by\n"
        "ranges of the resource hash; one that is lost has its ranges taken over after 15 seconds.\n\n"
        "examples:\n"
        "  noclobber analyzer --store http://default:secret@clickhouse:8123\n"
        "  noclobber analyzer --store http://default@clickhouse:8123 --webhook https://hooks.example/race"
    ),
)
