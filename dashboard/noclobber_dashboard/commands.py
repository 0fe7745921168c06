"""`noclobber dashboard`: pages and API alone, over a store that other parts fill.

The engine of `noclobber up` serves the same application beside its workers; this command is for a deployment in
which the dashboard is a process or a machine of its own, over a ClickHouse server.
"""

import argparse
import os
import re
import signal
import socket
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noclobber.cli import Command, CommandError
from noclobber.declarations import Declaration
from noclobber_analyzer.commands.links import add_dashboard_url, dashboard_url
from noclobber_dashboard.login import Login, is_address, login_from
from noclobber_dashboard.settings import DashboardSettings
from noclobber_dashboard.traces import is_template

if TYPE_CHECKING:
    from noclobber_collector.store import Store

__all__ = ["DASHBOARD", "add_allowed_host", "allowed_hosts"]

GRACE_S: Final = 3
"""How long pages that are open may hold up the end."""
_NAME: Final = re.compile(r"[\w.-]+")


def add_allowed_host(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME",
                        help="a further name browsers may ask for, such as a proxy's; repeatable "
                        "[NOCLOBBER_ALLOWED_HOST]")  # fmt: skip


def allowed_hosts(words: argparse.Namespace) -> tuple[str, ...]:
    """The names that were typed, else those of `NOCLOBBER_ALLOWED_HOST`, which has spaces between them.

    Raises:
        CommandError: one that no request can carry.
    """
    names = tuple(words.allowed_host) or tuple(os.environ.get("NOCLOBBER_ALLOWED_HOST", "").split())
    for name in names:
        if not _NAME.fullmatch(name) and not is_address(name):
            raise CommandError(f"--allowed-host '{name}' must be a name alone, without scheme, port or path.")
    return names


def _configure(parser: argparse.ArgumentParser) -> None:
    environ = os.environ
    parser.add_argument("--store", default=environ.get("NOCLOBBER_STORE"), metavar="URL",
                        help="chdb:///path or http(s)://user@host:8123/db [NOCLOBBER_STORE]")  # fmt: skip
    parser.add_argument("--host", default=environ.get("NOCLOBBER_HOST", "127.0.0.1"),
                        help="address to listen on (default 127.0.0.1); a wider one needs a token")  # fmt: skip
    parser.add_argument("--dashboard-port", default=environ.get("NOCLOBBER_DASHBOARD_PORT", "8501"), metavar="PORT",
                        help="port to listen on (default 8501)")  # fmt: skip
    parser.add_argument("--token", default=None, help="what callers must show; better given as NOCLOBBER_TOKEN")
    add_allowed_host(parser)
    add_dashboard_url(parser)
    parser.add_argument("--config", metavar="FILE",
                        help="TOML file: its [login] and [[resource]] tables [NOCLOBBER_CONFIG]")  # fmt: skip
    parser.add_argument("--trace-url", default=environ.get("NOCLOBBER_TRACE_URL", ""), metavar="TEMPLATE",
                        help="your backend's address of a trace, with {trace_id} and perhaps {span_id} in it "
                        "[NOCLOBBER_TRACE_URL]")  # fmt: skip


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if not arguments.store:
        raise CommandError("which store? Name it with --store http://user@host:8123/db, or set NOCLOBBER_STORE.")
    listening = _listen(settings)
    try:
        from noclobber_collector.store import open_store

        try:
            store = open_store(arguments.store)
        except Exception as error:
            raise CommandError(f"the store {_masked(arguments.store)} cannot be opened: {error}") from error
        try:
            _serve(store, settings, listening)
        finally:
            store.close()
    finally:
        listening.close()
    return 0


def _settings(arguments: argparse.Namespace) -> DashboardSettings:
    port = str(arguments.dashboard_port)
    if not port.isdigit() or int(port) > 65_535:
        raise CommandError(f"--dashboard-port must be a number up to 65535, not '{port}'.")
    settings = DashboardSettings(
        host=arguments.host,
        port=int(port),
        token=arguments.token or os.environ.get("NOCLOBBER_TOKEN") or None,
        allowed_hosts=allowed_hosts(arguments),
        declarations=_declarations(arguments),
        login=_login(arguments),
        trace_url=arguments.trace_url,
        url=dashboard_url(arguments),
    )
    if settings.trace_url and not is_template(settings.trace_url):
        raise CommandError(
            f"--trace-url '{settings.trace_url}' must be an http or https address with {{trace_id}} in it."
        )
    if not settings.is_local and settings.token is None and settings.login is None:
        raise CommandError(
            f"--host {settings.host} can be reached from other machines: set NOCLOBBER_TOKEN (or --token) first."
        )
    return settings


def _declarations(arguments: argparse.Namespace) -> tuple[Declaration, ...] | None:
    """Those of the file, where one is named; None: this process does not know."""
    if not arguments.config and not os.environ.get("NOCLOBBER_CONFIG"):
        return None
    from noclobber_analyzer.commands.options import declared

    return tuple(declared(arguments).declared)


def _login(arguments: argparse.Namespace) -> Login | None:
    path = arguments.config or os.environ.get("NOCLOBBER_CONFIG")
    try:
        table = tomllib.loads(Path(path).read_text()).get("login") if path else None
        return login_from(table, os.environ)
    except OSError as error:
        raise CommandError(f"the configuration file {path} can't be read: {error.strerror or error}") from error
    except ValueError as error:  # TOML's and the login's own errors are such
        raise CommandError(f"{path}: {error}") from error


def _listen(settings: DashboardSettings) -> socket.socket:
    """Bind before anything slow or threaded starts, so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise CommandError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.") from error
    return listening


def _serve(store: "Store", settings: DashboardSettings, listening: socket.socket) -> None:
    import uvicorn

    from noclobber_collector.receiver.process import QuietServer
    from noclobber_dashboard.app import build_app
    from noclobber_dashboard.probes import probe_routes

    port = listening.getsockname()[1]
    app = build_app(store, settings, routes=probe_routes(store))
    print(f"noclobber dashboard: http://{settings.host}:{port}", file=sys.stderr)  # noqa: T201  a command's output
    server = QuietServer(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, ws_max_size=2**20,
            proxy_headers=False, timeout_graceful_shutdown=GRACE_S,
        )
    )  # fmt: skip

    def end(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    server.run(sockets=[listening])


def _masked(url: str) -> str:
    """A store's address without the password in it."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}:***@{tail}" if at and ":" in user else url


DASHBOARD = Command(
    name="dashboard",
    summary="the dashboard and API alone, over a ClickHouse server",
    configure=_configure,
    run=_run,
    epilog="example:\n  noclobber dashboard --store http://default@127.0.0.1:8123/noclobber",
)
