"""Statement text, before it is parsed: which placeholders stand where, and statements that need no parser.

Each driver writes placeholders its own way (`?`, `%s`, `%(name)s`, `$1`, `:name`). Here they become `:nc_0`, `:nc_1`,
... in the order of the text, with the parameter that each stands for, so that one parser reads all drivers. Strings,
quoted names and comments are left alone. Statements that steer a transaction are told by their first words, since
parsers of SQL disagree about them.

Source: PEP 249 (paramstyle); PostgreSQL 18, 4.1 (lexical structure); capture.md, pitfall P3.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["Control", "ControlVerb", "control", "copied", "number_placeholders"]

Key = str | int
"""What a placeholder asks the parameters for: a name, or a position from 0."""

_SKIPPED: Final = (
    r"[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/"
    r"|(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)|::"
)
_STYLES: Final[dict[str, str]] = {
    "qmark": r"(?P<next>\?)",
    "format": r"(?P<next>%s)|(?P<percent>%%)",
    "pyformat": r"%\((?P<name>[^)]*)\)[sbt]|(?P<next>%[sbt])|(?P<percent>%%)",
    "named": r":(?P<name>[A-Za-z_]\w*)",
    "numeric": r":(?P<number>\d+)",
    "numeric_dollar": r"\$(?P<number>\d+)",
}
_MYSQL: Final = (
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|--\s[^\n]*|#[^\n]*|/\*.*?\*/|" + _STYLES["pyformat"]
)
"""MySQL's strings have backslashes, and may stand in double quotes; its drivers write `%s` and `%(name)s`."""
_SCANNERS: Final = {"mysql": re.compile(_MYSQL, re.DOTALL)} | {
    style: re.compile(f"{_SKIPPED}|{rest}", re.DOTALL) for style, rest in _STYLES.items()
}


def number_placeholders(text: str, style: str) -> tuple[str, tuple[Key, ...]]:
    """The text with `:nc_0`, `:nc_1` ... for its placeholders, and what each of these asks the parameters for.

    Args:
        text: as the driver gets it.
        style: the driver's paramstyle (PEP 249), `numeric_dollar`, or `mysql` (pyformat, in MySQL's own texts).
    """
    keys: list[Key] = []
    counted = 0

    def numbered(match: re.Match[str]) -> str:
        nonlocal counted
        groups = match.groupdict()
        if groups.get("percent"):
            return "%"
        if groups.get("name") is not None:
            keys.append(groups["name"])
        elif groups.get("number") is not None:
            keys.append(int(groups["number"]) - 1)
        elif groups.get("next"):
            keys.append(counted)
            counted += 1
        else:
            return match[0]
        return f":nc_{len(keys) - 1}"

    return _SCANNERS[style].sub(numbered, text), tuple(keys)


_COPY_QUERY: Final = re.compile(r"\s*COPY\s*\((.*)\)\s*TO\s+STDOUT\b.*", re.IGNORECASE | re.DOTALL)
_COPY_TABLE: Final = re.compile(
    r"\s*COPY\s+((?:[\w$]+|\"[^\"]*\")(?:\.(?:[\w$]+|\"[^\"]*\"))?)\s*(?:\(([^)]*)\)\s*)?TO\s+STDOUT\b.*",
    re.IGNORECASE | re.DOTALL,
)


def copied(text: str) -> str | None:
    """The query whose rows a PostgreSQL `COPY .. TO STDOUT` gives; None for any other statement."""
    query = _COPY_QUERY.fullmatch(text)
    if query is not None:
        return query[1]
    table = _COPY_TABLE.fullmatch(text)
    return None if table is None else " ".join(("SELECT", table[2] or "*", "FROM", table[1]))


class ControlVerb(StrEnum):
    """What a statement does to the transaction that it runs in."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback_to"
    RELEASE = "release"
    ISOLATION = "isolation"
    READ_UNCOMMITTED = "read_uncommitted"
    COMMITTED_ONLY = "committed_only"


@dataclass(frozen=True, slots=True)
class Control:
    """A statement that steers a transaction; `name` is the savepoint's, or the isolation level."""

    verb: ControlVerb
    name: str = ""


_SETS: Final = r"(?:BEGIN|START TRANSACTION|SET TRANSACTION|SET SESSION CHARACTERISTICS AS TRANSACTION)"
_NAME: Final = r'["`]?([\w$]+)["`]?'
_CONTROLS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Control]], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), make)
    for pattern, make in (
        (
            rf"{_SETS}\b.*?ISOLATION LEVEL\s+(SERIALIZABLE|REPEATABLE\s+READ|READ\s+(?:UN)?COMMITTED)",
            lambda match: Control(ControlVerb.ISOLATION, "_".join(match[1].lower().split())),
        ),
        (r"(?:BEGIN|START TRANSACTION)\b", lambda _: Control(ControlVerb.BEGIN)),
        (r"(?:COMMIT|END)\b", lambda _: Control(ControlVerb.COMMIT)),
        (
            rf"ROLLBACK(?:\s+(?:WORK|TRANSACTION))?\s+TO\s+(?:SAVEPOINT\s+)?{_NAME}",
            lambda match: Control(ControlVerb.ROLLBACK_TO, match[1]),
        ),
        (r"ROLLBACK\b", lambda _: Control(ControlVerb.ROLLBACK)),
        (rf"SAVEPOINT\s+{_NAME}", lambda match: Control(ControlVerb.SAVEPOINT, match[1])),
        (rf"RELEASE\s+(?:SAVEPOINT\s+)?{_NAME}", lambda match: Control(ControlVerb.RELEASE, match[1])),
        (
            r"PRAGMA\s+read_uncommitted\s*(?:=|\()\s*(?:1|on|true|yes)\b",
            lambda _: Control(ControlVerb.READ_UNCOMMITTED),
        ),
        (r"PRAGMA\s+read_uncommitted\s*(?:=|\()", lambda _: Control(ControlVerb.COMMITTED_ONLY)),
    )
)


def control(text: str) -> Control | None:
    """What `text` does to its transaction; None where it is an ordinary statement."""
    stripped = text.lstrip()
    if stripped[:1].upper() not in ("B", "S", "C", "E", "R", "P"):
        return None
    for pattern, make in _CONTROLS:
        match = pattern.match(stripped)
        if match is not None:
            return make(match)
    return None
