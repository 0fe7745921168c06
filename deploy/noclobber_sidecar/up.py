"""`noclobber up`: the sidecar by one command.

It binds all addresses, then starts the receiver and the engine under a supervisor, and prints where everything is.
"""

import argparse
import contextlib
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from noclobber.cli import Command, CommandError
from noclobber_sidecar.sockets import bind
from noclobber_sidecar.supervisor import Child, Supervisor

__all__ = ["COMMAND"]

READY_TIMEOUT_S: Final = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber up`."""
    from noclobber_collector.commands import add_receiver_options

    add_receiver_options(parser)
    parser.add_argument("--store", metavar="URL", help="http(s)://user@host:8123 instead of the embedded store")
    parser.add_argument("--dashboard-port", type=int, default=8501, metavar="PORT", help="dashboard and API (8501)")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL", help="send alerts there; repeatable")
    parser.add_argument("--webhook-secret", metavar="whsec_...", help="signs them (or NOCLOBBER_WEBHOOK_SECRET)")
    parser.add_argument(
        "--webhook-allow", action="append", default=[], metavar="CIDR", help="private addresses to allow"
    )
    parser.add_argument("--config", type=Path, metavar="TOML", help="configuration file")


def run(words: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C."""
    from noclobber_collector.commands import check_bind, data_folder
    from noclobber_collector.lock import holder

    check_bind(words.host, words.token, forced=words.insecure_bind)
    data = data_folder(words.data)
    taken = holder(data)
    if taken is not None:
        raise CommandError(f"a sidecar already runs on {data}: process {taken.pid}, {taken.address or 'no address'}")
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"the data folder {data} can't be used: {error.strerror}") from error
    if words.config is not None and not words.config.is_file():
        raise CommandError(f"there is no configuration file {words.config}")
    otlp = bind(words.host, words.otlp_http_port, "otlp http")
    pages = bind(words.host, words.dashboard_port, "dashboard")
    _probe_grpc(words.host, words.otlp_grpc_port)
    supervisor = Supervisor(
        [_receiver(words, data, otlp), _engine(words, data, pages)],
        on_hopeless=lambda child: _answer_with(pages, child.hopeless or ""),
    )
    threading.Thread(target=_announce, args=(words, data), name="announce", daemon=True).start()
    return supervisor.run()


def _probe_grpc(host: str, port: int) -> None:
    """gRPC binds its own address, in the receiver; find out now whether it is free."""
    bind(host, port, "otlp grpc").close()


def _secrets(words: argparse.Namespace) -> dict[str, str]:
    """What children need and no list of processes may show."""
    chosen = {"NOCLOBBER_TOKEN": words.token, "NOCLOBBER_WEBHOOK_SECRET": words.webhook_secret}
    return {name: value for name, value in chosen.items() if value}


def _receiver(words: argparse.Namespace, data: Path, otlp: socket.socket) -> Child:
    return Child(
        "receiver",
        [sys.executable, "-m", "noclobber_collector.receiver", "--spool", str(data / "spool"), "--host", words.host,
         "--otlp-grpc-port", str(words.otlp_grpc_port), "--http-fd", str(otlp.fileno()), "--life-fd", "{life}"],
        sockets=[otlp.fileno()],
        stop_timeout_s=15.0,
        environment=_secrets(words),
    )  # fmt: skip


def _engine(words: argparse.Namespace, data: Path, pages: socket.socket) -> Child:
    reason = data / "engine.reason"
    more = [f"--webhook={url}" for url in words.webhook] + [f"--webhook-allow={net}" for net in words.webhook_allow]
    if words.config is not None:
        more += ["--config", str(words.config)]
    return Child(
        "engine",
        [sys.executable, "-m", "noclobber_sidecar.engine", "--data", str(data), "--host", words.host,
         "--store", words.store or f"chdb://{data / 'store'}", "--dashboard-port", str(words.dashboard_port),
         "--dashboard-fd", str(pages.fileno()), "--reason-file", str(reason), "--life-fd", "{life}", *more],
        sockets=[pages.fileno()],
        stop_timeout_s=60.0,
        reason_file=reason,
        environment=_secrets(words),
    )  # fmt: skip


def _announce(words: argparse.Namespace, data: Path) -> None:
    """Say where everything is, once it answers."""
    base = f"http://{words.host}"
    if not _answers(f"{base}:{words.otlp_http_port}/ready"):
        return
    print(
        f"noclobber takes spans on {base}:{words.otlp_http_port} (HTTP) and :{words.otlp_grpc_port} (gRPC)", flush=True
    )
    if _answers(f"{base}:{words.dashboard_port}/api/v1/health"):
        print(f"dashboard and API on {base}:{words.dashboard_port}, data in {data}", flush=True)
        print("now run an agent:  noclobber run -- python agent.py", flush=True)


def _answers(address: str) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    request = urllib.request.Request(address)  # noqa: S310  our own address
    token = os.environ.get("NOCLOBBER_TOKEN")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=2):  # noqa: S310  our own address
                return True
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return True
            time.sleep(0.1)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def _answer_with(pages: socket.socket, reason: str) -> None:
    """Answer every request for a page with the reason why there is none."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Reason(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802  the base class's name
            body = f"noclobber goes on receiving, but its engine can't run: {reason}\n".encode()
            self.send_response(503)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(pages.getsockname()[:2], Reason, bind_and_activate=False)
    server.socket.close()
    server.socket = pages
    threading.Thread(target=server.serve_forever, name="reason", daemon=True).start()


COMMAND = Command(
    name="up",
    summary="the sidecar in one command: receiver, store, analyzer, dashboard",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber up\n"
        "  noclobber up --webhook https://hooks.example/race --webhook-secret whsec_...\n"
        "  noclobber up --store http://default@clickhouse:8123"
    ),
)
