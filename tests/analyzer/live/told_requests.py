"""Stories as requests: what the tiny language tells, as an agent's exporter would send it."""

from enum import Enum
from typing import Any

from intake import Agent, Request, with_ends

from noclobber.contract import Attr
from noclobber_analyzer import decode
from noclobber_analyzer.access import Access
from story import Story

NAMES = frozenset(
    {Attr.AGENT, Attr.STRAND, Attr.RUN, Attr.UNIT, Attr.TXN_ID, Attr.STRAND_PARENT, Attr.STRAND_OTHER, Attr.WAITS_FOR,
     Attr.LOCK_OWNER, Attr.MESSAGE_ID, Attr.MESSAGE_SESSION, Attr.EFFECT_HASH}
)  # fmt: skip
"""What is named anew where several stories are told to one store."""
RESOURCES = frozenset({Attr.RESOURCE, Attr.RESULT_RESOURCES, Attr.LOCKS})


def told_requests(text: str, number: int = 0, **told_with: Any) -> list[Request]:
    """A story, one access each, and a last mark of each process; those of other numbers share nothing with it."""
    return with_ends([_request(access, number) for access in Story(**told_with).accesses(text)])


def _request(access: Access, number: int) -> Request:
    words = {name: _anew(name, value, number) for name, value in _words(access).items()}
    words["noclobber.outcome"] = str(access.outcome)
    process = {name: getattr(access.process, field) for name, (field, _) in decode._PROCESS.items()}
    process["noclobber.process"] += f" of {number}"
    span = {
        "traceId": f"{number:016x}{access.trace_id[16:]}", "spanId": f"{number:08x}{access.span_id[8:]}",
        "name": str(access.op), "kind": 1, "startTimeUnixNano": str(access.start_ns),
        "endTimeUnixNano": str(access.end_ns), "attributes": _pairs(words),
    }  # fmt: skip
    scope = {"scope": {"name": "noclobber.story"}, "spans": [span]}
    return {"resourceSpans": [{"resource": {"attributes": _pairs(process)}, "scopeSpans": [scope]}]}


def _anew(name: str, value: object, number: int) -> object:
    if isinstance(value, tuple):
        return tuple(_anew(name, each, number) for each in value)
    if name in RESOURCES:
        return str(value).replace("://", f"://{number}/", 1)
    return f"{value}{number}" if name in NAMES else value


def _words(access: Access) -> dict[str, object]:
    """By the contract's names, what is not as it is where nothing is said."""
    found: dict[str, object] = {}
    for name, (path, _) in decode._FACTS.items():
        value: Any = access
        for field in path.split("."):
            value = getattr(value, field, None)
        if name == Attr.LOCK_MODE:
            value = "shared" if value else None
        if value not in (None, (), "") and (value is not False or name == Attr.VERSION_VERBATIM):
            found[name] = str(value) if isinstance(value, Enum) else value
    return found


def _pairs(words: dict[str, object]) -> list[dict[str, object]]:
    return [{"key": key, "value": _value(value)} for key, value in words.items() if value is not None]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, tuple):
        return {"arrayValue": {"values": [{"stringValue": str(each)} for each in value]}}
    return {"stringValue": str(value)}


def ring(units: int) -> list[Request]:
    """So many transactions, each of which read what the next one was changing: one cycle through all of them."""
    agents = [Agent(f"r{number}") for number in range(units)]
    requests = []
    for number, agent in enumerate(agents):
        requests.append(_in_txn(agent, "read", number, 1.0 + number / 1000, {"noclobber.version.read": "1"}))
    for number, agent in enumerate(agents):
        words: dict[str, object] = {"noclobber.version.written": "2"}
        requests.append(_in_txn(agent, "write", (number + 1) % units, 2.0 + number / 1000, words))
    for number, agent in enumerate(agents):
        requests.append(_in_txn(agent, "commit", None, 3.0 + number / 1000, {}))
    return [*requests, *(agent.mark(9.0) for agent in agents)]


def _in_txn(agent: Agent, op: str, number: int | None, at: float, words: dict[str, object]) -> Request:
    resource = "postgresql://h/db" if number is None else f"postgresql://h/db/t/{number}"
    unit = f"txn-{agent.name}"
    more = {"unit": unit, "unit__kind": "txn", "txn__id": unit, "txn__isolation": "repeatable_read"}
    return agent.access(op, resource, at, words, **more)
