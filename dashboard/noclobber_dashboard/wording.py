"""How numbers, times and names are put for a person, and how untrusted text is made harmless where it must be text.

Every resource and agent name is chosen by an agent, so an attacker may have chosen it. Most places take such text as
data; where a Streamlit call reads markdown, `inline_code` is the one way in, and a CSV cell goes through `csv_cell`.
"""

import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

__all__ = [
    "age",
    "clock_time",
    "csv_cell",
    "duration",
    "inline_code",
    "kind_title",
    "plural",
    "short_name",
    "shorten",
    "spark",
    "window",
]

_SPECIAL: Final = {
    "lost_update": "Lost update",
    "check_then_act": "Check-then-act",
    "read_your_writes": "Read-your-writes broken",
    "monotonic_reads": "Monotonic reads broken",
    "monotonic_writes": "Monotonic writes broken",
    "writes_follow_reads": "Writes-follow-reads broken",
}
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Source: OWASP, CSV Injection: the signs, their full-width forms, and what a spreadsheet drops before them."""
_BARS: Final = "▁▂▃▄▅▆▇█"


def kind_title(kind: str) -> str:
    """A kind as a heading: `stale_write` becomes `Stale write`."""
    return _SPECIAL.get(kind, kind.replace("_", " ").capitalize())


def short_name(resource: str) -> str:
    """The last, telling part of a resource: `redis://host:6379/0/acct:42` gives `acct:42`; never empty."""
    path = resource.partition("://")[2] if "://" in resource else resource
    parts = [part for part in path.split("/") if part]
    if not parts:
        return resource
    # a row needs its table beside it: `accounts/id=1`
    name = "/".join(parts[-2:]) if "=" in parts[-1] and len(parts) > 1 else parts[-1]
    return unquote(name)


def shorten(text: str, characters: int) -> str:
    """The text, its middle replaced by an ellipsis where it is longer; both ends of a name tell most."""
    if len(text) <= characters:
        return text
    head = (characters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (characters - 1 - head) :]}"


def duration(nanoseconds: int) -> str:
    """A length of time in the unit that fits: `0.4 ms`, `2.80 s`, `3 h 5 min`."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1_000:.0f} µs"
    if nanoseconds < 1_000_000_000:
        value = nanoseconds / 1_000_000
        return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
    seconds = nanoseconds / 1_000_000_000
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{days} days"


def age(then_ns: int, now_ns: int | None = None) -> str:
    """How long ago: `just now`, `40 s ago`, `3 h ago`; `never` for 0."""
    if then_ns <= 0:
        return "never"
    seconds = ((time.time_ns() if now_ns is None else now_ns) - then_ns) // 1_000_000_000
    for limit, unit, size in ((90, "s", 1), (5_400, "min", 60), (172_800, "h", 3_600)):
        if seconds < limit:
            return "just now" if seconds < 5 else f"{round(seconds / size)} {unit} ago"
    return f"{seconds // 86_400} days ago"


def window(minutes: int) -> str:
    """A window of counting: `last 24 h`, `last 10 min`."""
    return f"last {minutes // 60} h" if minutes >= 60 else f"last {minutes} min"


def spark(counts: Sequence[int]) -> str:
    """Counts as a row of little bars, the largest full: `▁▃█`; zero is a dot.

    >>> spark([0, 1, 8])
    '·▁█'
    """
    most = max(counts, default=0)
    return "".join(_BARS[-(-count * len(_BARS) // most) - 1] if count else "·" for count in counts)


def clock_time(time_ns: int) -> str:
    """UTC with milliseconds: `2026-03-01 10:20:30.123`."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03d}"


def plural(count: int, word: str) -> str:
    """`1 finding`, `2,104 findings`."""
    many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}es" if word.endswith("ss") else f"{word}s"
    return f"{count:,} {word if count == 1 else many}"


def inline_code(text: str) -> str:
    """Untrusted text as a markdown code span: nothing in it is read as markdown or HTML."""
    return "`" + text.replace("`", "'").replace("\n", " ").replace("\r", " ") + "`" if text else ""


def csv_cell(text: str) -> str:
    """Untrusted text for a CSV cell: a spreadsheet reads none of it as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text
