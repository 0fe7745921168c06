"""Moments as people type them: `2h` ago, a date, a date with a time."""

import re
from datetime import UTC, datetime

from noclobber.cli import CommandError
from noclobber_analyzer.clock import SECOND_NS

__all__ = ["moment_ns", "moment_text"]

_AGO = re.compile(r"^(\d+)\s*([smhdw])$")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment_ns(text: str | None, option: str, now_ns: int) -> int | None:
    """The moment that was typed, in ns since 1970; None: none was.

    >>> moment_ns("2h", "--since", 10_000 * SECOND_NS) == 2_800 * SECOND_NS
    True
    >>> moment_ns("1970-01-01T00:01:00Z", "--since", 0) == 60 * SECOND_NS
    True

    Raises:
        CommandError: it is none.
    """
    if text is None:
        return None
    ago = _AGO.match(text.strip())
    if ago is not None:
        return max(0, now_ns - int(ago[1]) * _SECONDS[ago[2]] * SECOND_NS)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise CommandError(f"{option} takes 30m, 2h, 7d, or a date as in 2026-05-01T09:30, not '{text}'") from error
    moment = moment if moment.tzinfo else moment.astimezone()
    return max(0, int(moment.timestamp() * 1_000_000) * 1_000)


def moment_text(at_ns: int) -> str:
    """A moment for people, UTC.

    >>> moment_text(60 * SECOND_NS)
    '1970-01-01 00:01:00'
    """
    return datetime.fromtimestamp(at_ns / SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%S")
