"""The receiver as a process: `python -m noclobber_collector.receiver`, started by a supervisor."""

import argparse
import logging
import os
import sys
from pathlib import Path

from noclobber.cli import CommandError
from noclobber_collector import logs
from noclobber_collector.errors import SpoolBusyError
from noclobber_collector.receiver import options
from noclobber_collector.receiver.process import ReceiverSettings, run_receiver


def main() -> int:
    """Receive until SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="noclobber-receiver", description=__doc__)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--otlp-grpc-port", type=int, default=4317)
    parser.add_argument("--otlp-http-port", type=int, default=4318)
    parser.add_argument("--http-fd", type=int, help="listening socket, bound by the supervisor")
    parser.add_argument("--collector", default="local")
    parser.add_argument("--spool-bytes-max", type=int, default=1 << 30)
    parser.add_argument("--life-fd", type=int, help="the process ends when this pipe closes")
    options.add_options(parser)
    words = parser.parse_args()
    logs.begin("receiver")
    try:
        return run_receiver(_settings(words))
    except (CommandError, SpoolBusyError, OSError, ValueError) as error:
        logging.getLogger("noclobber.receiver").error("%s", error)  # noqa: TRY400  the reason is enough for a person
        return 1


def _settings(words: argparse.Namespace) -> ReceiverSettings:
    return ReceiverSettings(
        spool=words.spool,
        host=words.host,
        grpc_port=words.otlp_grpc_port,
        http_port=words.otlp_http_port,
        http_fd=words.http_fd,
        collector=words.collector,
        token=os.environ.get("NOCLOBBER_TOKEN") or None,
        spool_bytes_max=words.spool_bytes_max,
        life_fd=words.life_fd,
        tls=options.tls_of(words),
        forward=options.forward_of(words),
    )


if __name__ == "__main__":
    sys.exit(main())
