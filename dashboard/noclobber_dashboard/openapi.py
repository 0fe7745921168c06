"""The API described for programs: an OpenAPI document, made from what the API itself is made of.

Paths and parameters are those of `api`, schemas those of the classes whose objects are answered, so the document cannot
say what is not so.

Source: OpenAPI Specification 3.1; JSON Schema 2020-12 (of msgspec's structs and our dataclasses).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from noclobber.contract import Certainty, IssueState, Kind, Op, Severity
from noclobber_analyzer.finding import Finding
from noclobber_dashboard.exports import CONTENT_TYPES
from noclobber_dashboard.queries import PAGE_MAX
from noclobber_dashboard.records import OUTCOMES, AccessRecord, DeliveryRecord, ResourceHead
from noclobber_dashboard.renditions import Form

__all__ = ["EXPORTS", "Deed", "Described", "described"]

EXPORTS: Final = ("json", *CONTENT_TYPES)
"""What `format` may be; the first is a page."""
_REF: Final = "#/components/schemas/{name}"
_NS: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string", "maxLength": 2_000}
_FLAG: Final = {"type": "string", "enum": ["0", "1"]}


def _some(words: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": [str(word) for word in words]}}


PARAMETERS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "kind": ("kinds of findings, separated by commas", _some(Kind)),
    "severity": ("severities, separated by commas", _some(Severity)),
    "certainty": ("certainties, separated by commas", _some(Certainty)),
    "status": ("whether a finding holds, separated by commas", _some(("open", "retracted"))),
    "state": ("states of issues, separated by commas", _some(IssueState)),
    "op": ("operations, separated by commas", _some(Op)),
    "issue": ("an issue's fingerprint, or an alert route's name among transitions", _TEXT),
    "resource": ("a resource, whole", _TEXT),
    "agent": ("an agent, whole", _TEXT),
    "route": ("an alert route's name", _TEXT),
    "message": ("a message's id: all attempts to deliver it", _TEXT),
    "outcome": ("what became of attempts, separated by commas", _some(OUTCOMES)),
    "strand": ("a strand, whole", _TEXT),
    "system": ("a store's system, such as redis", _TEXT),
    "trace_id": ("a trace", {"type": "string", "pattern": "^[0-9a-fA-F]{32}$"}),
    "q": ("part of a name, upper and lower case alike", _TEXT),
    "since_ns": ("from this time on, nanoseconds since 1970", _NS),
    "until_ns": ("up to this time, nanoseconds since 1970", _NS),
    "latent": ("1: what luck kept apart, the narrowest escape first of the newest 2,000 that fit", _FLAG),
    "whole": ("1: all of the window, not the causal past alone", _FLAG),
    "limit": ("rows of a page", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}),
    "cursor": ("`next` of the page before", {"type": "string"}),
    "form": (
        "what a finding is written as",
        {"type": "string", "enum": [str(form) for form in Form], "default": "text"},
    ),
    "format": (
        "json: a page; else all rows that fit as a file, 50,000 at most (`x-noclobber-next` is the cursor of the rest)",
        {"type": "string", "enum": list(EXPORTS), "default": "json"},
    ),
}


@dataclass(frozen=True, slots=True)
class Described:
    """One path of the API, as far as the document tells of it.

    Attributes:
        path: below `/api/v1`. says: what it answers, one sentence.
        names: its query parameters.
        gives: name of the list in the answer, or of the schema where the answer is one object.
        beside: whole numbers that the answer has beside its list, each with what it says.
    """

    path: str
    says: str
    names: Sequence[str]
    gives: str
    beside: Mapping[str, str] = field(default_factory=dict)


_ITEMS: Final[Mapping[str, str]] = {
    "findings": "Finding", "accesses": "AccessRecord", "resources": "ResourceHead", "deliveries": "DeliveryRecord",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that the API does.

    Attributes:
        path: below `/api/v1`; names in braces are parts of it. method: of HTTP, lower case.
        says: what it does, one sentence.
        takes: members of the JSON object that is sent, each with its type.
    """

    path: str
    method: str
    says: str
    takes: Mapping[str, str] = field(default_factory=dict)


def described(paths: Sequence[Described], version: str, deeds: Sequence[Deed] = ()) -> dict[str, Any]:
    """The document.

    Args:
        paths: what is answered.
        version: of the package.
        deeds: what is done.
    """
    told: dict[str, dict[str, Any]] = {path.path: {"get": _operation(path)} for path in paths}
    for deed in deeds:
        told.setdefault(deed.path, {})[deed.method] = _deed(deed)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "noclobber",
            "version": version,
            "description": "Findings, issues and the accesses behind them. Lists are paged by `next`; times are "
            "nanoseconds since 1970. A server with a token asks for it as `Authorization: Bearer`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "paths": told,
        "components": {
            "schemas": {**_schemas(), "Error": _object({"error": {"type": "string"}}, ["error"])},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(path: Described) -> dict[str, Any]:
    inside = (
        [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}] if "{id}" in path.path else []
    )
    query = [
        {"name": name, "in": "query", "description": says, "schema": schema}
        | ({"style": "form", "explode": False} if schema.get("type") == "array" else {})
        for name, (says, schema) in ((name, PARAMETERS[name]) for name in path.names)
    ]
    error = {"application/json": {"schema": _ref("Error")}}
    missing = {"404": {"description": "there is nothing with this id", "content": error}} if inside else {}
    return {
        "summary": path.says,
        "operationId": path.path.strip("/").replace("/", "_").replace("{id}", "one"),
        "parameters": [*inside, *query],
        "responses": {
            "200": {"description": path.says, "content": _content(path)},
            "400": {"description": "a parameter cannot be; the answer says which", "content": error},
            **missing,
            "503": {"description": "the store did not answer; ask again", "content": error},
        },
    }


def _deed(deed: Deed) -> dict[str, Any]:
    """An operation that changes something: it needs the scope `operate`, and answers with the log's row."""
    names = [part[1:-1] for part in deed.path.split("/") if part.startswith("{")]
    types = {name: _array_of_text() if kind == "array" else {"type": kind} for name, kind in deed.takes.items()}
    error = {"application/json": {"schema": _ref("Error")}}
    row = _object({"id": {"type": "string"}, "at_ns": _NS, "kind": {"type": "string"}}, ["id", "at_ns", "kind"])
    return {
        "summary": deed.says,
        "operationId": f"{deed.method}{deed.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "requestBody": {"content": {"application/json": {"schema": _object(types, [])}}},
        "responses": {
            "200": {
                "description": "the row of the log that was written",
                "content": {"application/json": {"schema": row}},
            },
            "400": {"description": "it makes no sense; the answer says why", "content": error},
            "403": {"description": "it needs the scope `operate`", "content": error},
            "404": {"description": "there is nothing with this id", "content": error},
            "503": {"description": "the store did not answer; ask again", "content": error},
        },
    }


def _array_of_text() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}}


def _content(path: Described) -> dict[str, Any]:
    answer = {"application/json": {"schema": _answer(path)}}
    if "form" in path.names:
        return {kind: {"schema": {}} for kind in ("text/plain", "text/markdown", "application/json")}
    if "format" in path.names:
        answer |= {kind.partition(";")[0]: {"schema": {}} for kind in CONTENT_TYPES.values()}
    return answer


def _answer(path: Described) -> dict[str, Any]:
    if path.gives and path.gives[0].isupper():
        return _ref(path.gives)
    if "limit" not in path.names:
        return {"type": "object"}
    items = _ref(_ITEMS[path.gives]) if path.gives in _ITEMS else {"type": "object"}
    page = {path.gives: {"type": "array", "items": items}, "next": {"type": ["string", "null"]}}
    page |= {name: {"type": "integer", "description": says} for name, says in path.beside.items()}
    return _object(page, [path.gives, "next", *path.beside])


def _object(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def _schemas() -> dict[str, Any]:
    types = (Finding, AccessRecord, DeliveryRecord, ResourceHead)
    _, found = msgspec.json.schema_components(types, ref_template=_REF)
    schemas = dict(found)
    # what is empty is left out of an access
    schemas["AccessRecord"] = schemas["AccessRecord"] | {"required": ["trace_id", "span_id", "start_ns", "end_ns"]}
    return schemas
