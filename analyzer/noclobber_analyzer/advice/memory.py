"""Advice for objects that agents share inside one process."""

from typing import Final

from noclobber.contract import Kind

__all__ = ["ADVICE"]

ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.LOST_UPDATE: (
        "Hold one lock from the read to the write, or read again after every await and write without one in between.",
        "async with lock:\n    value = shared['{key}']\n    shared['{key}'] = await decide(value)",
    ),
    Kind.CHECK_THEN_ACT: (
        "Hold one lock from the check to the act: an await between the two lets another task in.",
        "async with lock:\n    if '{key}' not in shared:\n        shared['{key}'] = await make()",
    ),
}
