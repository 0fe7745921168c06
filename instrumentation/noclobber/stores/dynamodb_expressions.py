"""DynamoDB's expressions, as far as capture needs them: which attributes are set to what, and what is insisted on.

What is not understood is never guessed: a nested path is its top-level attribute with an unknown value, a condition
with OR, NOT or a comparison is a guard that compared something unknown.

Source: DynamoDB developer guide, update and condition expressions; boto3/dynamodb/conditions.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["REMOVED", "UNKNOWN", "Change", "Condition", "change_of", "condition_of", "projected"]

REMOVED: Final[Any] = ("the attribute is taken away",)
UNKNOWN: Final[Any] = ("a value that is not known",)
_CLAUSE = re.compile(r"\b(SET|REMOVE|ADD|DELETE)\b\s+", re.IGNORECASE)
_COMMA = re.compile(r",(?![^(]*\))")
_NAME = re.compile(r"[\w#-]+")
_EQUAL = re.compile(r"([\w#-]+)\s*=\s*(:\w+)|(:\w+)\s*=\s*([\w#-]+)")
_THERE = re.compile(r"attribute_(not_)?exists\s*\(\s*([^)]+?)\s*\)", re.IGNORECASE)


@dataclass(slots=True)
class Change:
    """What an update does.

    Attributes:
        given: attribute -> the value that it is set to, as the caller decided it. placed: those that the store
            changes from what is there.
        adds: whether all of `placed` are sums.
    """

    given: dict[str, Any] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    adds: bool = True


@dataclass(slots=True)
class Condition:
    """What a write insists on.

    Attributes:
        equal: attribute -> value. others: whether anything else is compared.
        absent: whether it insists on nothing being there.
    """

    equal: dict[str, Any] = field(default_factory=dict)
    others: bool = False
    absent: bool = False


def change_of(params: Mapping[str, Any]) -> Change | None:
    """What an UpdateItem does, None where it says it in the old way or not at all."""
    expression = params.get("UpdateExpression")
    if not isinstance(expression, str):
        return None
    names, values = params.get("ExpressionAttributeNames") or {}, params.get("ExpressionAttributeValues") or {}
    change = Change()
    _, *words = _CLAUSE.split(expression)
    for clause, actions in zip(words[::2], words[1::2], strict=True):
        for action in _COMMA.split(actions):
            _act(change, clause.upper(), action.strip(), names, values)
    return change if change.given or change.placed else None


def _act(change: Change, clause: str, action: str, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
    path, _, value = (each.strip() for each in action.partition("="))
    if clause in ("ADD", "DELETE"):
        path, _, value = action.partition(" ")
    name, whole = _top(path, names)
    if clause == "REMOVE":
        change.given[name] = REMOVED if whole else UNKNOWN
    elif clause == "SET" and value.startswith(":") and _NAME.fullmatch(value[1:]):
        change.given[name] = values.get(value, UNKNOWN) if whole else UNKNOWN
    else:
        change.placed.add(name)
        change.adds &= clause == "ADD" or (clause == "SET" and "list_append" not in value and "+" in value)


def _top(path: str, names: Mapping[str, str]) -> tuple[str, bool]:
    """The attribute that `path` begins at, and whether the path is all of it."""
    found = _NAME.match(path)
    first = found.group() if found else path
    return names.get(first, first), first == path


def projected(params: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """The attributes that a read asks for (none: all), and whether each is asked for as a whole."""
    expression = params.get("ProjectionExpression")
    if not isinstance(expression, str):
        return (), "AttributesToGet" not in params
    names = params.get("ExpressionAttributeNames") or {}
    found = [_top(each.strip(), names) for each in expression.split(",")]
    return tuple(sorted({name for name, _ in found})), all(whole for _, whole in found)


def condition_of(params: Mapping[str, Any]) -> Condition | None:
    """What a write insists on, None where on nothing."""
    asked = params.get("ConditionExpression")
    condition = Condition(others=bool(params.get("Expected")))
    if isinstance(asked, str):
        names, values = params.get("ExpressionAttributeNames") or {}, params.get("ExpressionAttributeValues") or {}
        for term in re.split(r"\bAND\b", asked, flags=re.IGNORECASE):
            _term(condition, term.strip(" ()") + (")" if "(" in term.strip(" (") else ""), names, values)
    elif asked is not None:
        _object(condition, asked)
    return condition if condition.equal or condition.others or condition.absent else None


def _term(condition: Condition, term: str, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
    there, equal = _THERE.fullmatch(term), _EQUAL.fullmatch(term)
    if there:
        condition.absent |= there.group(1) is not None
    elif equal:
        name, value = (equal.group(1), equal.group(2)) if equal.group(1) else (equal.group(4), equal.group(3))
        condition.equal[names.get(name, name)] = values.get(value, UNKNOWN)
    else:
        condition.others = True


def _object(condition: Condition, asked: Any) -> None:
    """A condition as boto3's resources have it: an object, with Python's own values."""
    told = asked.get_expression()
    match told["operator"]:
        case "AND":
            for each in told["values"]:
                _object(condition, each)
        case "=":
            attribute, value = told["values"]
            name = getattr(attribute, "name", None)
            if isinstance(name, str) and _NAME.fullmatch(name):
                condition.equal[name] = value
            else:
                condition.others = True
        case "attribute_not_exists":
            condition.absent = True
        case "attribute_exists":
            pass
        case _:
            condition.others = True
