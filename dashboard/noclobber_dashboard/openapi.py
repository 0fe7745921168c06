"""The API described for programs: an OpenAPI document, made from what the API itself is made of.

Paths and parameters are those of `api`, schemas those of the classes whose objects are answered, so the document cannot
say what is not so.

Source: OpenAPI Specification 3.1; JSON Schema 2020-12 (of msgspec's structs and our dataclasses).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from noclobber.contract import Certainty, IssueState, Kind, Op, Severity
from noclobber_analyzer.finding import Finding
from noclobber_dashboard.queries import PAGE_MAX
from noclobber_dashboard.records import AccessRecord, DeliveryRecord, ResourceHead
from noclobber_dashboard.renditions import Form

__all__ = ["EXPORTS", "Described", "described"]

EXPORTS: Final = ("json", "csv", "parquet")
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
    "op": ("one operation", {"type": "string", "enum": [str(op) for op in Op]}),
    "issue": ("an issue's fingerprint, or an alert route's name among transitions", _TEXT),
    "resource": ("a resource, whole", _TEXT),
    "agent": ("an agent, whole", _TEXT),
    "strand": ("a strand, whole", _TEXT),
    "system": ("a store's system, such as redis", _TEXT),
    "trace_id": ("a trace", {"type": "string", "pattern": "^[0-9a-fA-F]{32}$"}),
    "q": ("part of a name, upper and lower case alike", _TEXT),
    "since_ns": ("from this time on, nanoseconds since 1970", _NS),
    "until_ns": ("up to this time, nanoseconds since 1970", _NS),
    "latent": ("1: what luck kept apart, the narrowest escape first", _FLAG),
    "whole": ("1: all of the window, not the causal past alone", _FLAG),
    "limit": ("rows of a page", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}),
    "cursor": ("`next` of the page before", {"type": "string"}),
    "form": (
        "what a finding is written as",
        {"type": "string", "enum": [str(form) for form in Form], "default": "text"},
    ),
    "format": ("json, or all rows that fit as a file", {"type": "string", "enum": list(EXPORTS), "default": "json"}),
}


@dataclass(frozen=True, slots=True)
class Described:
    """One path of the API, as far as the document tells of it.

    Attributes:
        path: below `/api/v1`. says: what it answers, one sentence.
        names: its query parameters.
        gives: name of the list in the answer, or of the schema where the answer is one object.
    """

    path: str
    says: str
    names: Sequence[str]
    gives: str


_ITEMS: Final[Mapping[str, str]] = {
    "findings": "Finding", "accesses": "AccessRecord", "resources": "ResourceHead", "deliveries": "DeliveryRecord",
}  # fmt: skip


def described(paths: Sequence[Described], version: str) -> dict[str, Any]:
    """The document.

    Args:
        paths: what there is.
        version: of the package.
    """
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
        "paths": {path.path: {"get": _operation(path)} for path in paths},
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


def _content(path: Described) -> dict[str, Any]:
    answer = {"application/json": {"schema": _answer(path)}}
    if "form" in path.names:
        return {kind: {"schema": {}} for kind in ("text/plain", "text/markdown", "application/json")}
    if "format" in path.names:
        answer |= {"text/csv": {"schema": {"type": "string"}}, "application/vnd.apache.parquet": {"schema": {}}}
    return answer


def _answer(path: Described) -> dict[str, Any]:
    if path.gives and path.gives[0].isupper():
        return _ref(path.gives)
    if "limit" not in path.names:
        return {"type": "object"}
    items = _ref(_ITEMS[path.gives]) if path.gives in _ITEMS else {"type": "object"}
    page = {path.gives: {"type": "array", "items": items}, "next": {"type": ["string", "null"]}}
    return _object(page, [path.gives, "next"])


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
