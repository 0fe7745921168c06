"""What to change, for the store at hand: one module a family of stores, each a table from kind to text and code.

`{key}` stands for the name that people know the resource by. A store without a table of its own gets the general one.

Source: detection.md 7 (advice), the stores' own documentation as each module names it.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from noclobber.contract import Kind
from noclobber_analyzer import phrases
from noclobber_analyzer.advice import general, langgraph, memory, objects, redis, sql
from noclobber_analyzer.finding import Advice

__all__ = ["advise"]

READ_AGAIN: Final = " Read again after the model call: what the model was asked about may have changed meanwhile."
_FAMILIES: Final[Mapping[str, ModuleType]] = {
    "redis": redis,
    "valkey": redis,
    "postgresql": sql,
    "mysql": sql,
    "mariadb": sql,
    "sqlite": sql,
    "langgraph.store": langgraph,
    "langgraph.checkpoint": langgraph,
    "langgraph": langgraph,
    "memory": memory,
    "aws.s3": objects,
    "s3": objects,
    "file": objects,
    "aws.dynamodb": objects,
    "dynamodb": objects,
}


def advise(kind: Kind, system: str, resource: str, *, thought: bool = False) -> Advice:
    """What to change where `kind` happened to `resource` of `system`; `thought`: a model call was in the window."""
    table: Mapping[Kind, tuple[str, str]] = getattr(_FAMILIES.get(system, general), "ADVICE", {})
    text, code = table.get(kind) or general.ADVICE.get(kind) or general.LAST_RESORT
    if thought:
        text += READ_AGAIN
    key = phrases.short(phrases.key(resource)).replace("'", "")
    return Advice(text.replace("{key}", key), code.replace("{key}", key))
