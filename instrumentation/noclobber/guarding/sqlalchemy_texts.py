"""Which tables a statement's text may change, where rows of them are guarded.

It is asked of statements that name no object, so it errs towards more: whatever stands where a changed table is named
counts, also inside a CTE, a routine's body or behind a name that the database would not take. What a function, a
procedure or a trigger changes stands in no text.
"""

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["changed_tables"]

_UNREAD: Final = re.compile(r"\bE'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL | re.IGNORECASE)
"""Literals and comments."""
_NAME: Final = r'(?:"(?:[^"]|"")+"|\[[^\]]+\]|`[^`]+`|[\w$]+)'
_DOTTED: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_CHANGED: Final = re.compile(
    r"\b(?:update(?:\s+or\s+(?:rollback|abort|replace|fail|ignore))?|delete\s+from|merge\s+into|replace\s+into"
    rf"|insert\s+or\s+replace\s+into)\b\s*(?:only\b\s*)?({_DOTTED})",
    re.IGNORECASE,
)
_INSERTED: Final = re.compile(rf"\binsert\s+into\b\s*({_DOTTED})", re.IGNORECASE)
_UPSERT: Final = re.compile(r"\bdo\s+update\b", re.IGNORECASE)
_EMPTIED: Final = re.compile(r"\btruncate\b(.*)", re.IGNORECASE | re.DOTALL)


def changed_tables(text: str) -> Iterator[str]:
    """Names that `text` may change rows under, without quotes, with their schema and without."""
    read = _UNREAD.sub(" ", text)
    found = _CHANGED.findall(read)
    if _UPSERT.search(read):
        found += _INSERTED.findall(read)
    emptied = _EMPTIED.search(read)
    if emptied is not None:
        found += re.findall(_DOTTED, emptied[1])
    for name in found:
        parts = [each.strip('"[]`').replace('""', '"') for each in re.findall(_NAME, name)]
        yield parts[-1]
        if len(parts) > 1:
            yield ".".join(parts[-2:])
