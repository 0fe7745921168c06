"""The process in which live analysis runs beside the engine: with an interpreter, a memory and a core of its own.

It borrows the engine's store (`loan`) and does what `LiveAnalyzer` does anywhere. The engine says when something was
loaded and when to end, by one letter each; it is told in lines of JSON how things stand and that something was found.
Signals are for the engine: what a terminal sends to all processes is passed over here. When the engine has gone, this
process ends at once: what it knew stands in the store, or will be found again.

Run by `live_apart` as `python -m noclobber_analyzer.live_process`.

Source: docs/decisions/0013.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

if TYPE_CHECKING:
    from noclobber_analyzer.live import LiveAnalyzer

__all__ = ["END", "WAKE", "Told", "main"]

WAKE: Final = b"w"
END: Final = b"e"
TELL_EVERY_S: Final = 0.5
STOP_TIMEOUT_S: Final = 60.0
"""How long it may take to end in order; the engine may have less patience."""
EXIT_ORPHANED: Final = 70
READ_AT_ONCE: Final = 65_536


class Told(msgspec.Struct, omit_defaults=True):
    """What the engine is told.

    Attributes:
        stats: how things stand. found: whether something was written to the log of issues.
    """

    stats: dict[str, object] = {}
    found: bool = False


def main(argv: list[str] | None = None) -> int:
    """Analyse until told to end; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    words = _parser().parse_args(argv)
    from noclobber_analyzer.commands.options import declared
    from noclobber_analyzer.issues import Policy
    from noclobber_analyzer.live import LiveAnalyzer
    from noclobber_collector import logs
    from noclobber_collector.loan import BorrowedStore

    logs.begin("analyzer")
    engine = _Engine(socket.socket(fileno=words.talk_fd))
    analyzer = LiveAnalyzer(
        BorrowedStore(Connection(words.loan_fd), on_gone=_end_orphaned),
        on_found=lambda: engine.tell(Told(found=True)),
        dashboard=words.dashboard,
        declarations=declared(words),
        policy=Policy(**json.loads(words.policy)),
    )
    analyzer.start()
    return _follow(engine, analyzer)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noclobber-live", description=__doc__)
    parser.add_argument("--loan-fd", type=int, required=True, help="over which the engine lends its store")
    parser.add_argument("--talk-fd", type=int, required=True, help="socket over which it says what to do")
    parser.add_argument("--dashboard", default="", metavar="URL")
    parser.add_argument("--config", type=Path)
    parser.add_argument(
        "--policy", default="{}", metavar="JSON", help="how often issues are told of: fields of `Policy`"
    )
    return parser


def _end_orphaned() -> NoReturn:
    """The engine has gone: end at once, whatever is under way, and say nothing, since nothing is wrong here."""
    os._exit(EXIT_ORPHANED)


class _Engine:
    """The engine, as one talks to it; a socket is its end of the conversation."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._lock = threading.Lock()

    def tell(self, what: Told) -> None:
        """Say something; if nobody listens any more, that is the end."""
        line = msgspec.json.encode(what) + b"\n"
        try:
            with self._lock:
                self._talk.sendall(line)
        except OSError:
            _end_orphaned()

    def said(self, timeout_s: float) -> bytes:
        """What it has said meanwhile, if anything; ends the process if it has gone."""
        if not select.select([self._talk], [], [], timeout_s)[0]:
            return b""
        try:
            letters = self._talk.recv(READ_AT_ONCE)
        except OSError:
            letters = b""
        return letters or _end_orphaned()


def _follow(engine: _Engine, analyzer: "LiveAnalyzer") -> int:
    """Do as the engine says; an analyzer that ended by itself is a failure."""
    told_at = 0.0
    letters = b""
    while END not in letters and analyzer.alive:
        now = time.monotonic()
        if now - told_at >= TELL_EVERY_S:
            told_at = now
            engine.tell(Told(stats=analyzer.stats()))
        letters = engine.said(max(0.0, told_at + TELL_EVERY_S - now))
        if WAKE in letters:
            analyzer.wake()
    if not analyzer.alive:
        return 1
    in_time = analyzer.stop(STOP_TIMEOUT_S)
    engine.tell(Told(stats=analyzer.stats()))
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
