"""How the sidecar's processes log: lines for people, or one JSON object a line for machines.

`NOCLOBBER_LOG=json` chooses the second. Whoever logs a trouble says in `advice` what to do about it
(`log.error("...", extra=advice("..."))`); both forms show it. Nothing that a client sent is logged, so no token and no
value can be: reasons name things of ours (segments, stores, addresses).
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Final

__all__ = ["advice", "begin", "say_as"]

SETTING: Final = "NOCLOBBER_LOG"
TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
ADVICE: Final = "advice"


def begin(process: str) -> None:
    """Log to standard error from now on, as `NOCLOBBER_LOG` says.

    Args:
        process: which of the sidecar's processes this is.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(process) if _is_json() else _Text(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def advice(text: str) -> dict[str, str]:
    """What to do, for `extra`."""
    return {ADVICE: text}


def say_as(process: str) -> Callable[[str], None]:
    """Prints a line for people as it is; in JSON it is a record like any other."""

    def say(line: str) -> None:
        told = _object(time.time(), "INFO", process, f"noclobber.{process}", line.removeprefix("noclobber: "))
        print(json.dumps(told) if _is_json() else line, file=sys.stderr, flush=True)  # noqa: T201  a command's output

    return say


def _is_json() -> bool:
    return os.environ.get(SETTING, "").strip().lower() == "json"


def _object(at_s: float, level: str, process: str, logger: str, message: str) -> dict[str, str | int]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)) + f".{int(at_s % 1 * 1000):03d}Z"
    return {"at": at, "level": level, "process": process, "pid": os.getpid(), "logger": logger, "message": message}


class _Text(logging.Formatter):
    """As usual, and what to do behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the trace of an unexpected error."""
        text, what = super().format(record), getattr(record, ADVICE, "")
        return f"{text} [{what}]" if what else text


class _Json(logging.Formatter):
    """One object a line, errors with their trace in it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        told = _object(record.created, record.levelname, self._process, record.name, record.getMessage())
        if what := getattr(record, ADVICE, ""):
            told[ADVICE] = what
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)
