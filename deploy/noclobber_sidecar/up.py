"""`noclobber up`: the sidecar by one command.

It binds all addresses, then starts the receiver and the engine under a supervisor, and prints where everything is.
"""

import argparse
import os
import socket
import ssl
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from noclobber.cli import Command, CommandError
from noclobber_sidecar.reason_page import serve_reason
from noclobber_sidecar.sockets import bind, in_url
from noclobber_sidecar.supervisor import Child, Supervisor

__all__ = ["COMMAND"]

READY_TIMEOUT_S: Final = 60.0
ORPHAN_WAIT_S: Final = 15.0
"""How long to wait for an engine whose supervisor was killed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber up`."""
    from noclobber_analyzer.commands.links import add_dashboard_url
    from noclobber_collector.commands import add_receiver_options
    from noclobber_dashboard.commands import add_allowed_host

    add_receiver_options(parser)
    parser.add_argument(
        "--store", metavar="URL", default=os.environ.get("NOCLOBBER_STORE"),
        help="http(s)://user@host:8123 instead of the embedded store [NOCLOBBER_STORE]",
    )  # fmt: skip
    parser.add_argument(
        "--dashboard-port", type=int, default=os.environ.get("NOCLOBBER_DASHBOARD_PORT", "8501"), metavar="PORT",
        help="dashboard and API (8501) [NOCLOBBER_DASHBOARD_PORT]",
    )  # fmt: skip
    add_allowed_host(parser)
    add_dashboard_url(parser)
    parser.add_argument("--webhook", action="append", default=[], metavar="URL", help="send alerts there; repeatable")
    parser.add_argument("--webhook-secret", metavar="whsec_...", help="signs them (or NOCLOBBER_WEBHOOK_SECRET)")
    parser.add_argument(
        "--webhook-allow", action="append", default=[], metavar="CIDR", help="private addresses to allow"
    )
    parser.add_argument("--config", type=Path, metavar="TOML", help="configuration file")


def run(words: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C."""
    from noclobber_collector.commands import check_bind, data_folder
    from noclobber_collector.errors import StoreBusyError
    from noclobber_collector.lock import SupervisorLock
    from noclobber_collector.receiver import options

    check_bind(words.host, words.token, forced=words.insecure_bind)
    options.check(words)
    _check_alerts(words)
    _check_declarations(words)
    _check_names(words)
    data = data_folder(words.data)
    try:
        with SupervisorLock(data, f"http://{in_url(words.host)}:{words.dashboard_port}") as lock:
            _wait_for_orphan(data)
            return _supervise(words, data, wait_s=ORPHAN_WAIT_S if lock.left_behind else 0.0)
    except StoreBusyError as error:
        raise CommandError(f"a sidecar already runs: {error}") from error
    except OSError as error:
        raise CommandError(f"the data folder {data} can't be used: {error.strerror or error}") from error


def _check_declarations(words: argparse.Namespace) -> None:
    """Say what the engine would say of its configuration, before anything starts.

    Raises:
        CommandError: a declaration that can't be understood.
    """
    from noclobber_analyzer.commands.options import declared

    declared(words)


def _check_names(words: argparse.Namespace) -> None:
    """Find names and addresses of the dashboard that make no sense before anything starts.

    Raises:
        CommandError: there is one.
    """
    from noclobber_analyzer.commands.links import dashboard_url
    from noclobber_dashboard.commands import allowed_hosts

    allowed_hosts(words)
    dashboard_url(words)


def _check_alerts(words: argparse.Namespace) -> None:
    """Find mistakes in what was typed before anything starts.

    Raises:
        CommandError: a configuration that can't be read, or a route that makes no sense.
    """
    from noclobber_analyzer.alerts.inhibition import inhibitions_from
    from noclobber_analyzer.alerts.routes import routes_from
    from noclobber_dashboard.login import login_from

    try:
        tables = tomllib.loads(words.config.read_text()) if words.config is not None else {}
        secrets = {**os.environ, **_secrets(words)}
        routes_from(tables.get("alert", []), secrets, words.webhook, allow=words.webhook_allow)
        inhibitions_from(tables.get("inhibit", []))
        login_from(tables.get("login"), os.environ)
    except OSError as error:
        raise CommandError(f"the configuration file {words.config} can't be read: {error.strerror}") from error
    except ValueError as error:  # TOML's and the routes' own errors are such
        raise CommandError(f"{words.config}: {error}" if words.config is not None else str(error)) from error


def _wait_for_orphan(data: Path) -> None:
    """Nobody supervises this folder: a receiver or an engine on it lost its supervisor and is ending.

    It may also be a command that opened the store by itself.

    Raises:
        StoreBusyError: it does not end.
    """
    from noclobber_collector.lock import SPOOL, EngineLock, FolderLock

    FolderLock(data / "spool", SPOOL, "", ORPHAN_WAIT_S).release()
    EngineLock(data, wait_s=ORPHAN_WAIT_S).release()


def _supervise(words: argparse.Namespace, data: Path, wait_s: float) -> int:
    """Bind everything, then run the children.

    Args:
        words: as typed.
        data: the data folder.
        wait_s: how long addresses may still be held by children of a supervisor that was killed.
    """
    from noclobber_collector.logs import say_as

    otlp = bind(words.host, words.otlp_http_port, "otlp http", wait_s)
    pages = bind(words.host, words.dashboard_port, "dashboard", wait_s)
    bind(words.host, words.otlp_grpc_port, "otlp grpc", wait_s).close()  # gRPC binds its own: is it free?
    supervisor = Supervisor(
        [_receiver(words, data, otlp), _engine(words, data, pages)],
        say=say_as("supervisor"),
        on_hopeless=lambda child: _explain(pages, child) if child.name == "engine" else None,
    )
    threading.Thread(target=_announce, args=(words, data), name="announce", daemon=True).start()
    return supervisor.run()


def _explain(pages: socket.socket, engine: Child) -> None:
    serve_reason(pages, lambda: f"noclobber goes on receiving, but its engine can't run: {engine.hopeless}")


def _secrets(words: argparse.Namespace) -> dict[str, str]:
    """What children need and no list of processes may show."""
    chosen = {"NOCLOBBER_TOKEN": words.token, "NOCLOBBER_WEBHOOK_SECRET": words.webhook_secret}
    return {name: value for name, value in chosen.items() if value}


def _receiver(words: argparse.Namespace, data: Path, otlp: socket.socket) -> Child:
    from noclobber_collector.receiver import options

    return Child(
        "receiver",
        [sys.executable, "-m", "noclobber_collector.receiver", "--spool", str(data / "spool"), "--host", words.host,
         "--otlp-grpc-port", str(words.otlp_grpc_port), "--http-fd", str(otlp.fileno()), "--life-fd", "{life}",
         "--spool-bytes-max", str(words.spool_bytes_max), *options.words_for_process(words)],
        sockets=[otlp.fileno()],
        stop_timeout_s=15.0,
        pause_max_s=1.0,  # it starts in half a second, and clients wait for it
        environment={**_secrets(words), **options.environment(words)},
    )  # fmt: skip


def _engine(words: argparse.Namespace, data: Path, pages: socket.socket) -> Child:
    from noclobber_analyzer.commands.links import dashboard_url
    from noclobber_dashboard.commands import allowed_hosts

    reason = data / "engine.reason"
    more = [f"--webhook={url}" for url in words.webhook] + [f"--webhook-allow={net}" for net in words.webhook_allow]
    more += [f"--allowed-host={name}" for name in allowed_hosts(words)]
    more += [f"--dashboard-url={dashboard_url(words)}"]
    if words.config is not None:
        more += ["--config", str(words.config.absolute())]
    return Child(
        "engine",
        [sys.executable, "-m", "noclobber_sidecar.engine", "--data", str(data), "--host", words.host,
         "--dashboard-port", str(words.dashboard_port), "--dashboard-fd", str(pages.fileno()),
         "--reason-file", str(reason), "--life-fd", "{life}", "--spool-bytes-max", str(words.spool_bytes_max), *more],
        sockets=[pages.fileno()],
        stop_timeout_s=60.0,
        reason_file=reason,
        environment={**_secrets(words), "NOCLOBBER_STORE": words.store or f"chdb://{data / 'store'}"},
    )  # fmt: skip


def _announce(words: argparse.Namespace, data: Path) -> None:
    """Say where everything is, once it answers."""
    base = f"http://{in_url(words.host)}"
    otlp = base if words.tls_cert is None else f"https://{in_url(words.host)}"
    if not _answers(f"{otlp}:{words.otlp_http_port}/ready"):
        return
    print(
        f"noclobber takes spans on {otlp}:{words.otlp_http_port} (HTTP) and :{words.otlp_grpc_port} (gRPC)", flush=True
    )
    if _answers(f"{base}:{words.dashboard_port}/api/v1/health"):
        print(f"dashboard and API on {base}:{words.dashboard_port}, data in {data}", flush=True)
        print("now run an agent:  noclobber run -- python agent.py", flush=True)


def _answers(address: str) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    own = ssl.create_default_context()
    own.check_hostname, own.verify_mode = False, ssl.CERT_NONE  # it is asked whether it runs, and told nothing
    request = urllib.request.Request(address)  # noqa: S310  our own address
    token = os.environ.get("NOCLOBBER_TOKEN")
    if token and "/api/" in address:
        request.add_header("authorization", f"Bearer {token}")
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=2, context=own):  # noqa: S310  our own address
                return True
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return True
            time.sleep(0.1)
        except ssl.SSLError:
            return True  # it asks for our certificate, so it runs
        except (urllib.error.URLError, OSError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLError):
                return True
            time.sleep(0.1)
    return False


COMMAND = Command(
    name="up",
    summary="the sidecar in one command: receiver, store, analyzer, dashboard",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber up\n"
        "  noclobber up --webhook https://hooks.example/race --webhook-secret whsec_...\n"
        "  noclobber up --store http://default@clickhouse:8123\n"
        "  noclobber up --dashboard-url https://noclobber.example\n"
        "  noclobber up --forward http://jaeger:4318"
    ),
)
