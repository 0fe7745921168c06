"""What stays the same of a resource and of a place in the code when a program is run again.

Ports, process ids, temporary folders and numbers differ from run to run, lines move with each edit; what a person would
call the same thing is left: `redis://host:6379/0/acct:42` and `redis://host:40113/0/acct:7` are both
`redis://host:*/*/acct:*`.
"""

import re
from types import CodeType
from typing import Final

__all__ = ["like", "site_of"]

_CHANGING: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUID
    r"|(?<![0-9A-Za-z])[0-9a-f]{12,}(?![0-9A-Za-z])"  # a hash, or a process
    r"|(?<![0-9A-Za-z])tmp[0-9a-z_]{8}(?![0-9a-z_])"  # of the module tempfile
    r"|(?-i:(?<![\w-])(?=[\w-]*[a-z][A-Z])(?=[\w-]*(?:\d[A-Za-z]|[A-Za-z]\d))[\w-]{20,}(?![\w-]))"  # a random token
    r"|(?<![A-Za-z])\d+",
    re.IGNORECASE,
)


def like(resource: str) -> str:
    """`resource` without what changes from run to run.

    >>> like("redis://cache:6379/0/acct:42"), like("mem://9f86d081884c7d65/plan/today")
    ('redis://cache:*/*/acct:*', 'mem://*/plan/today')
    >>> like("redis://cache/0/session:ZRC15J62vSEaU_ch-IhKMgSd")
    'redis://cache/*/session:*'
    """
    return _CHANGING.sub("*", resource)


def site_of(code: CodeType | None) -> str:
    """A place in the program: file and function, no line; "" where it is not known."""
    if code is None:
        return ""
    file = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{file.removesuffix('.py')}.{code.co_qualname}"
