"""Reads what a process wrote with `--file`: each span as its attributes, those of its resource included."""

import json
from pathlib import Path
from typing import Any


def spans_of(path: Path) -> list[dict[str, Any]]:
    """All spans of the file, in the order of its lines."""
    found = []
    for line in path.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            shared = _plain(resource["resource"]["attributes"])
            for scoped in resource["scopeSpans"]:
                for span in scoped["spans"]:
                    names = {"scope": scoped["scope"]["name"], "span": span["spanId"], "trace": span["traceId"]}
                    found.append({**shared, **names, **_plain(span["attributes"])})
    return found


def accesses_of(path: Path) -> list[dict[str, Any]]:
    """All but marks and joins."""
    return [span for span in spans_of(path) if span["noclobber.op"] not in ("mark", "join")]


def _plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: _value(each["value"]) for each in attributes}


def _value(value: dict[str, Any]) -> Any:
    ((kind, held),) = value.items()
    if kind == "arrayValue":
        return [_value(each) for each in held.get("values", [])]
    return int(held) if kind == "intValue" else held
