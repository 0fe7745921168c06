"""`noclobber collector`: receiver and loader over a ClickHouse server."""

import argparse
import ipaddress
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from noclobber.cli import Command, CommandError

__all__ = ["COLLECTOR", "add_receiver_options", "check_bind", "data_folder"]

STOP_TIMEOUT_S: Final = 25.0
GIVEN_BACK, KEPT = 4 << 20, 1 << 20
"""Bytes of a block that is large: segments and what becomes of them, but not the arrays of a few thousand spans; and of
what is kept of smaller ones."""


def data_folder(chosen: Path | None) -> Path:
    """Where data lies: as chosen, else `NOCLOBBER_DATA`, else in the user's own folder for data."""
    if chosen is not None:
        return chosen.absolute()
    if os.environ.get("NOCLOBBER_DATA"):
        return Path(os.environ["NOCLOBBER_DATA"]).absolute()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "noclobber"


def add_receiver_options(parser: argparse.ArgumentParser) -> None:
    """Options that every command with a receiver has."""
    from noclobber_collector.receiver import options

    parser.add_argument("--data", type=Path, metavar="DIR", help="spool, embedded store and key (default: the user's)")
    parser.add_argument(
        "--host", default=os.environ.get("NOCLOBBER_HOST") or "127.0.0.1",
        help="address to listen on (default 127.0.0.1) [NOCLOBBER_HOST]",
    )  # fmt: skip
    parser.add_argument("--otlp-grpc-port", type=int, default=4317, metavar="PORT")
    parser.add_argument("--otlp-http-port", type=int, default=4318, metavar="PORT")
    parser.add_argument("--token", default=os.environ.get("NOCLOBBER_TOKEN"), help="bearer token (or NOCLOBBER_TOKEN)")
    parser.add_argument(
        "--spool-bytes-max", type=int, default=1 << 30, metavar="BYTES",
        help="what the spool may take on disk; then clients are told to come again (default 1 GiB)",
    )  # fmt: skip
    parser.add_argument(
        "--insecure-bind", action="store_true", help="listen beyond this machine without a token, on your own risk"
    )
    options.add_options(parser)


def check_bind(host: str, token: str | None, *, forced: bool) -> None:
    """Refuse to listen beyond this machine without a token.

    Raises:
        CommandError: says what to do.
    """
    if not _is_loopback(host) and not token and not forced:
        raise CommandError(
            f"listening on {host} lets anybody who reaches it write here: set --token (NOCLOBBER_TOKEN), "
            "or say --insecure-bind if something else protects it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber collector`."""
    parser.add_argument(
        "--store", metavar="URL", default=os.environ.get("NOCLOBBER_STORE"),
        help="http(s)://user:password@host:8123/db [NOCLOBBER_STORE, which stands in no list of processes]",
    )  # fmt: skip
    parser.add_argument("--name", default="local", help="name of this collector, where several share one store")
    add_receiver_options(parser)


def run(words: argparse.Namespace) -> int:
    """Receive and load until SIGTERM."""
    from noclobber_collector import logs
    from noclobber_collector.errors import StoreBusyError
    from noclobber_collector.lock import EngineLock
    from noclobber_collector.receiver import options

    if not words.store:
        raise CommandError("which store? Name it with --store http://user@host:8123, or set NOCLOBBER_STORE")
    logs.begin("collector")
    check_bind(words.host, words.token, forced=words.insecure_bind)
    options.check(words)
    if words.store.startswith("chdb:"):
        raise CommandError("the embedded store belongs to `noclobber up`; a collector alone needs a server's URL")
    data = data_folder(words.data)
    try:
        with EngineLock(data):
            return _collect(words, data / "spool")
    except StoreBusyError as error:
        raise CommandError(f"{error}: one collector to a data folder") from error
    except OSError as error:
        raise CommandError(f"the data folder {data} can't be used: {error.strerror or error}") from error


def _collect(words: argparse.Namespace, spool: Path) -> int:
    ending = threading.Event()
    receiver = _Receiver(words, spool)

    def end(*_: object) -> None:
        ending.set()
        receiver.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    _say(f"collecting on {words.host}:{words.otlp_grpc_port} (gRPC) and :{words.otlp_http_port} (HTTP)")
    _need_little_memory()
    loading = threading.Thread(target=_load, args=(words, spool, ending, receiver), name="load")
    loading.start()
    while (code := receiver.wait()) < 0 and not ending.is_set():
        _say(f"the receiver was killed by {signal.Signals(-code).name}; starting it again")
        receiver.start()
    ending.set()
    loading.join()
    return code


def _need_little_memory() -> None:
    """Keep no large blocks, and do without pandas: the store's client loads it to ask if rows are a frame, 25 MiB."""
    from noclobber_collector.heap import give_back
    from noclobber_collector.unneeded import do_without

    give_back(GIVEN_BACK, KEPT)
    do_without("pandas")


class _Receiver:
    """The receiver's process; it ends when this one does, however that is: the next one needs its ports and spool."""

    def __init__(self, words: argparse.Namespace, spool: Path) -> None:
        from noclobber_collector.receiver import options

        self._life, self._held = os.pipe()
        self._argv = [
            sys.executable, "-m", "noclobber_collector.receiver", "--spool", str(spool), "--host", words.host,
            "--otlp-grpc-port", str(words.otlp_grpc_port), "--otlp-http-port", str(words.otlp_http_port),
            "--collector", words.name, "--spool-bytes-max", str(words.spool_bytes_max), "--life-fd", str(self._life),
            *options.words_for_process(words),
        ]  # fmt: skip
        token = {"NOCLOBBER_TOKEN": words.token} if words.token else {}
        self._environment = {**os.environ, **options.environment(words), **token}
        self._stopping = False
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv, env=self._environment, pass_fds=[self._life])
        if self._stopping:  # it was told to end while it was being started again
            self._process.terminate()

    def terminate(self) -> None:
        self._stopping = True
        self._process.terminate()

    def wait(self) -> int:
        return self._process.wait()


def _load(words: argparse.Namespace, spool: Path, ending: threading.Event, receiver: _Receiver) -> None:
    """Load what the receiver spools, from when the store answers until the end; the spool keeps it until then."""
    from noclobber_collector.errors import StoreUnusableError
    from noclobber_collector.loader import Loader
    from noclobber_collector.store import wait_for_store

    try:
        store = wait_for_store(words.store, ending, _say)
    except StoreUnusableError as error:
        _say(str(error))
        receiver.terminate()
        return
    if store is None:
        return
    loader = Loader(store, spool, words.name, spool_bytes_max=words.spool_bytes_max)
    loader.start()
    ending.wait()
    receiver.wait()
    loader.stop(STOP_TIMEOUT_S)
    store.close()


def _say(line: str) -> None:
    from noclobber_collector.logs import say_as

    say_as("collector")(f"noclobber: {line}")


COLLECTOR = Command(
    name="collector",
    summary="the collector alone, over a ClickHouse server",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber collector --store http://default:secret@clickhouse:8123 --host 0.0.0.0 --token ...\n"
        "  noclobber collector --store http://clickhouse:8123 --tls-cert tls.crt --tls-key tls.key\n"
        "  noclobber collector --store http://clickhouse:8123 --forward https://otel.example:4318"
    ),
)
