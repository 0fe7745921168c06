"""`noclobber analyzer`: live analyzer and alert sender alone, over a ClickHouse server that collectors fill."""

import argparse
import logging
import os
import secrets
import signal
import socket
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.links import add_dashboard_url, dashboard_url, doubt
from noclobber_analyzer.commands.options import declared

if TYPE_CHECKING:
    from noclobber.declarations import Declarations
    from noclobber_analyzer.alerts import Route, Sender
    from noclobber_analyzer.alerts.inhibition import Inhibition
    from noclobber_analyzer.live import LiveAnalyzer
    from noclobber_analyzer.probes import Probes
    from noclobber_collector.store import Store

__all__ = ["COMMAND"]

STOP_TIMEOUT_S: Final = 25.0
log = logging.getLogger("noclobber.analyzer")


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
    add_dashboard_url(parser)
    parser.add_argument("--webhook", action="append", default=[], metavar="URL", help="send alerts there; repeatable")
    parser.add_argument("--webhook-secret", action="append", default=[], metavar="whsec_...", help="signs them")
    parser.add_argument(
        "--webhook-allow", action="append", default=[], metavar="CIDR", help="private addresses to allow"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="TOML",
        help="configuration file: its [[alert]], [[inhibit]] and [[resource]] tables",
    )
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="answer /live, /ready and /metrics there (default: nowhere)"
    )
    parser.add_argument(
        "--host", default=os.environ.get("NOCLOBBER_HOST") or "127.0.0.1",
        help="address of that port (default 127.0.0.1) [NOCLOBBER_HOST]",
    )  # fmt: skip
    parser.add_argument(
        "--token", default=os.environ.get("NOCLOBBER_TOKEN"), help="bearer token for /metrics (or NOCLOBBER_TOKEN)"
    )
    parser.add_argument(
        "--insecure-bind", action="store_true", help="answer beyond this machine without a token, on your own risk"
    )


def run(words: argparse.Namespace) -> int:
    """Analyse until SIGTERM or Ctrl-C."""
    if not words.store:
        raise CommandError("which store? Name it with --store http://user@host:8123, or set NOCLOBBER_STORE")
    if words.store.startswith("chdb:"):
        raise CommandError("the embedded store belongs to `noclobber up`, which analyses it; this needs a server's URL")
    from noclobber_collector import logs

    logs.begin("analyzer")
    url = dashboard_url(words)
    alerting, declarations = _alerting(words), declared(words)
    if alerting[0] and (why := doubt(url)):
        log.warning("%s", why)
    listening = _listening(words)
    from noclobber_collector.errors import StoreError
    from noclobber_collector.store import open_store

    try:
        store = open_store(words.store)
    except StoreError as error:
        raise CommandError(f"{error}. The analyzer needs its store once at the start.", exit_code=1) from error
    try:
        return _work(store, words, alerting, declarations, listening)
    finally:
        store.close()


def _alerting(words: argparse.Namespace) -> "tuple[tuple[Route, ...], tuple[Inhibition, ...]]":
    from noclobber_analyzer.alerts.inhibition import inhibitions_from
    from noclobber_analyzer.alerts.routes import routes_from

    try:
        tables = tomllib.loads(words.config.read_text()) if words.config else {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"the configuration file {words.config} can't be read: {error}") from error
    try:
        routes = routes_from(
            tables.get("alert", []), os.environ, words.webhook, words.webhook_secret, words.webhook_allow
        )
        return routes, inhibitions_from(tables.get("inhibit", []))
    except ValueError as error:
        raise CommandError(str(error)) from error


def _listening(words: argparse.Namespace) -> socket.socket | None:
    """The port for operators, bound before anything starts; None: none is wanted.

    Raises:
        CommandError: it can't be had, or would be open to anybody.
    """
    if words.metrics_port is None:
        return None
    from noclobber_collector.commands import check_bind

    check_bind(words.host, words.token, forced=words.insecure_bind)
    try:
        family = socket.AF_INET6 if ":" in words.host else socket.AF_INET
        return socket.create_server((words.host, words.metrics_port), family=family)
    except (OSError, OverflowError) as error:
        raise CommandError(f"the port {words.metrics_port} of {words.host} can't be had: {error}") from error


def _work(
    store: "Store",
    words: argparse.Namespace,
    alerting: "tuple[tuple[Route, ...], tuple[Inhibition, ...]]",
    declarations: "Declarations",
    listening: socket.socket | None,
) -> int:
    routes, inhibitions = alerting
    from noclobber_analyzer.alerts import Sender
    from noclobber_analyzer.alerts.grouping import finest
    from noclobber_analyzer.clock import SYSTEM
    from noclobber_analyzer.issue_log import DEFAULT_POLICY
    from noclobber_analyzer.leases import Leases
    from noclobber_analyzer.live import LiveAnalyzer

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    sender = Sender(store, routes, may_send=lambda: analyzer.leads, inhibitions=inhibitions)
    analyzer = LiveAnalyzer(
        store,
        on_found=sender.wake,
        dashboard=dashboard_url(words),
        declarations=declarations,
        leases=Leases(store, words.name, owner, SYSTEM),
        policy=finest(routes, DEFAULT_POLICY),
    )
    sender.start()
    analyzer.start()
    told = _told(store, words, analyzer, sender, listening)
    print(f"analysing {store.name} as '{words.name}', {len(routes)} alert routes, known as {owner}", flush=True)
    ended.wait()
    in_time = analyzer.stop(STOP_TIMEOUT_S)
    in_time = sender.stop(STOP_TIMEOUT_S) and in_time
    if told is not None:
        told.stop()
    return 0 if in_time else 1


def _told(
    store: "Store",
    words: argparse.Namespace,
    analyzer: "LiveAnalyzer",
    sender: "Sender",
    listening: socket.socket | None,
) -> "Probes | None":
    """Answer operators, if they have a port."""
    if listening is None:
        return None
    from noclobber_analyzer.metrics import ANALYZER, Record, of_analyzer, of_sender
    from noclobber_analyzer.probes import Probes, probes

    record = Record(store)
    pages = probes(
        ANALYZER,
        lambda: {**of_analyzer(analyzer.stats()), **of_sender(sender.health()), **record.values()},
        {"analyzer": analyzer},
        words.token,
    )
    answering = Probes(listening, pages)
    answering.start()
    return answering


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
        "  noclobber analyzer --store http://default@clickhouse:8123 --webhook https://hooks.example/race\n"
        "  noclobber analyzer --store http://default@clickhouse:8123 --metrics-port 9464"
    ),
)
