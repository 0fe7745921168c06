"""The JSON API under `/api/v1`: findings, issues, resources, accesses, defended accesses, health, deliveries.

A finding is answered as the contract's JSON object, as it was stored. Lists are paged by a cursor over the sort
key, so that rows which arrive meanwhile neither shift nor repeat a page (an issue that goes on meanwhile is then among
the newest). Mistakes in a request (a value that cannot
be, a parameter that nobody knows) are 400 with one sentence; a store that does not answer is 503 with `Retry-After`,
never a traceback.

Source: the contract, section 3. Paging: keyset ("seek") paging, Winand, SQL Performance Explained, chapter 7.
"""

import base64
import binascii
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber.contract import FRONTIER_END, Certainty, IssueState, Kind, Op, Severity
from noclobber_analyzer.finding import resource_pattern
from noclobber_collector.errors import StoreError
from noclobber_dashboard.acts import DEEDS
from noclobber_dashboard.exports import CONTENT_TYPES, EXPORT_MAX, exported
from noclobber_dashboard.issue_queries import IssueFilter
from noclobber_dashboard.lacks import lacks
from noclobber_dashboard.openapi import EXPORTS, Described, described
from noclobber_dashboard.queries import DAY_MIN, PAGE_MAX, SNAPSHOT_MAX, FindingFilter, Queries
from noclobber_dashboard.records import OUTCOMES, FindingBody, IssueHead
from noclobber_dashboard.renditions import CONTENT_TYPE, ENDING, Form, rendered
from noclobber_dashboard.slices import cut_slice

__all__ = ["api_routes"]

PAGE_DEFAULT: Final = 100
TIME_MAX_NS: Final = 2**63 - 1
_PAGED: Final = ("limit", "cursor")
_AT_ONCE: Final = "noclobber.rows"
"""In the scope of a request made for a file: rows of a page, where reading page after page would count all anew."""
_LOG = logging.getLogger(__name__)

Answer = Callable[[Queries, Request], Mapping[str, Any] | Response | None]


class BadRequest(ValueError):  # noqa: N818  named after the status
    """A parameter that cannot be read; the message says which and what it may be."""


def api_routes(queries: Queries) -> list[BaseRoute]:
    """The routes, over one store; whatever else is asked under `/api/` is 404."""
    document = described([told for told, _ in _PATHS], version("noclobber"), DEEDS)
    routes: list[BaseRoute] = [
        Route(f"/api/v1{told.path}", _endpoint(queries, answer, told), methods=["GET"]) for told, answer in _PATHS
    ]
    return [
        *routes,
        Route("/api/v1/openapi.json", lambda _request: JSONResponse(document), methods=["GET"]),
        Route("/api/{rest:path}", _nothing),
    ]


def _endpoint(queries: Queries, answer: Answer, told: Described) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            _known_only(request, told.names)
            return await anyio.to_thread.run_sync(_answered, queries, request, answer, told)
        except BadRequest as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except StoreError:
            _LOG.warning("the store did not answer %s", request.url.path, exc_info=True)
            message = "The store did not answer. `noclobber doctor` says why."
            return JSONResponse({"error": message}, status_code=503, headers={"retry-after": "2"})
        except Exception:
            _LOG.exception("the API could not answer %s", request.url.path)
            message = "This could not be answered; the log of the dashboard's process says why."
            return JSONResponse({"error": message}, status_code=500)

    return endpoint


def _answered(queries: Queries, request: Request, answer: Answer, told: Described) -> Response:
    form = _one(request, "format", EXPORTS) if "format" in told.names else "json"
    if form != "json":
        return _file(queries, request, answer, told, form)
    body = answer(queries, request)
    if body is None:
        return JSONResponse({"error": "There is nothing with this id."}, status_code=404)
    if isinstance(body, Response):
        return body
    return JSONResponse(body, headers={"cache-control": "no-store"})


def _file(queries: Queries, request: Request, answer: Answer, told: Described, form: str) -> Response:
    """All rows that fit, `EXPORT_MAX` at most, page after page; headers say if there are more, and of what window."""
    name, rows = told.gives, list[Mapping[str, Any]]()
    beside: dict[str, str] = {}
    following: str | None = request.query_params.get("cursor")
    while len(rows) < EXPORT_MAX:
        page = answer(queries, _at(request, following))
        if not isinstance(page, Mapping):
            raise TypeError(f"{name} are no list")
        rows += page[name]
        beside = {f"x-noclobber-{word.replace('_', '-')}": str(page[word]) for word in told.beside}
        following = page["next"]
        if following is None:
            break
    attached = f'attachment; filename="{name}.{form}"'
    headers = {"cache-control": "no-store", "content-disposition": attached, **beside}
    if following is not None:
        headers["x-noclobber-next"] = following
    return Response(exported(rows, form), headers=headers, media_type=CONTENT_TYPES[form])


def _at(request: Request, cursor: str | None) -> Request:
    """The same question for the page at a cursor, as large as pages are."""
    asked = [(name, value) for name, value in request.query_params.multi_items() if name not in _PAGED]
    asked += [("limit", str(PAGE_MAX)), *([("cursor", cursor)] if cursor else [])]
    return Request({**request.scope, "query_string": urlencode(asked).encode(), _AT_ONCE: EXPORT_MAX})


async def _nothing(request: Request) -> Response:
    return JSONResponse({"error": f"The API has no {request.url.path[:200]}."}, status_code=404)


def _known_only(request: Request, names: Sequence[str]) -> None:
    """A misspelt filter would otherwise be answered as if it had let everything through."""
    for name in request.query_params:
        if name not in names:
            known = ", ".join(names) or "none"
            raise BadRequest(f"there is no parameter {name[:40]!r} here; those there are: {known}")


def _findings(queries: Queries, request: Request) -> Mapping[str, Any]:
    """Manifest findings, newest first; with `latent=1` those that luck kept apart, the narrowest escape first."""
    limit, latent = _limit(request), _choices(request, "latent", ("0", "1")) == ("1",)
    wanted = FindingFilter(
        kinds=_choices(request, "kind", Kind),
        severities=_choices(request, "severity", Severity),
        certainties=_choices(request, "certainty", Certainty),
        statuses=_choices(request, "status", ("open", "retracted")),
        states=_choices(request, "state", IssueState),
        issue=_text(request, "issue"),
        resource=_text(request, "resource"),
        agent=_text(request, "agent"),
        text=_text(request, "q"),
        since_ns=_time(request, "since_ns"),
        until_ns=_time(request, "until_ns"),
        after=None if latent else _cursor(request),
    )
    if latent:
        return _by_offset("findings", [escape.body.raw for escape in queries.escapes(wanted)], request)
    found = queries.findings(wanted, limit + 1)
    page = found[:limit]
    bodies = queries.bodies([head.id for head in page])
    return {
        "findings": [FindingBody.from_json(bodies.get(head.id, "")).raw for head in page],
        "next": _next(page[-1].last_ns, page[-1].id) if len(found) > limit else None,
    }


def _finding(queries: Queries, request: Request) -> Mapping[str, Any] | None:
    head = queries.finding(str(request.path_params["id"]))
    return None if head is None else FindingBody.from_json(head.body).raw


def _slice(queries: Queries, request: Request) -> Mapping[str, Any] | None:
    """What the space-time diagram of a finding is drawn from."""
    whole = _choices(request, "whole", ("0", "1"))
    head = queries.finding(str(request.path_params["id"]))
    if head is None:
        return None
    cut = cut_slice(FindingBody.from_json(head.body), queries, whole=whole == ("1",))
    return {
        "accesses": [{**_without_empty(asdict(event)), "role": cut.roles.get(event.key, "")} for event in cut.events],
        "edges": [{"from": edge.source, "to": edge.target, "type": edge.type, "why": edge.why} for edge in cut.edges],
        "race": list(cut.race) if cut.race else None,
        "omitted": cut.omitted,
    }


def _export(queries: Queries, request: Request) -> Response | None:
    """One finding as a file to carry elsewhere."""
    form = Form(_one(request, "form", tuple(Form)))
    head = queries.finding(str(request.path_params["id"]))
    if head is None:
        return None
    body = FindingBody.from_json(head.body)
    name = f"finding-{head.id[:12] if head.id.isalnum() and head.id.isascii() else 'x'}.{ENDING[form]}"
    return Response(
        rendered(form, head, body, cut_slice(body, queries)),
        media_type=CONTENT_TYPE.get(form, "text/plain; charset=utf-8"),
        headers={"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'},
    )


def _issues(queries: Queries, request: Request) -> Mapping[str, Any]:
    limit = _limit(request)
    wanted = IssueFilter(
        kinds=_choices(request, "kind", Kind),
        severities=_choices(request, "severity", Severity),
        certainties=_choices(request, "certainty", Certainty),
        states=_choices(request, "state", IssueState),
        resource=_text(request, "resource"),
        agent=_text(request, "agent"),
        after=_cursor(request),
    )
    found = queries.found_issues(wanted, limit + 1)
    page = found[:limit]
    bodies = queries.bodies([head.newest for head in page])
    return {
        "issues": [_as_issue(head, bodies) for head in page],
        "next": _next(page[-1].last_ns, page[-1].issue) if len(found) > limit else None,
    }


def _issue(queries: Queries, request: Request) -> Mapping[str, Any] | None:
    head = queries.issue(str(request.path_params["id"]))
    return None if head is None else _as_issue(head, queries.bodies([head.newest]))


def _as_issue(head: IssueHead, bodies: Mapping[str, str]) -> Mapping[str, Any]:
    """The contract's issue, with who gave it its state and why."""
    where = f" on {resource_pattern(head.resources[0])}" if head.resources and head.resources[0] else ""
    return {
        **asdict(head),
        "title": f"{head.kind.replace('_', ' ')}{where} ({', '.join(head.agents)})",
        "url": f"/finding?id={head.newest}",
        "newest": FindingBody.from_json(bodies.get(head.newest, "")).raw,
    }


def _transitions(queries: Queries, request: Request) -> Mapping[str, Any]:
    limit = _limit(request)
    found = queries.transitions(limit + 1, _text(request, "issue"), _cursor(request))
    page = found[:limit]
    names = ("id", "issue", "at_ns", "kind", "state", "finding", "actor", "reason")
    return {
        "transitions": [{name: getattr(row, name) for name in names} for row in page],
        "next": _next(page[-1].at_ns, page[-1].id) if len(found) > limit else None,
    }


def _defended(queries: Queries, _request: Request) -> Mapping[str, Any]:
    """Accesses that a guard held, by reason and by resource; `recorded` is false where the store cannot say."""
    by_reason, by_resource = queries.defended(), queries.defended_by_resource()
    resources: dict[str, dict[str, int]] = {}
    for row in by_resource or ():
        resources.setdefault(row.resource, {})[row.reason] = row.count
    return {
        "recorded": by_reason is not None,
        "window_min": DAY_MIN,
        "total": sum(row.count for row in by_reason or ()),
        "reasons": {row.reason: row.count for row in by_reason or ()},
        "resources": [{"resource": resource, "reasons": reasons} for resource, reasons in resources.items()],
    }


def _resources(queries: Queries, request: Request) -> Mapping[str, Any]:
    """Resources as they were used in the window that `window_min` names; beyond the shared snapshot from the store."""
    system, text = _text(request, "system"), _text(request, "q")
    start, limit = _position(request), int(request.scope.get(_AT_ONCE) or _limit(request))
    held = queries.resources()
    if len(held) < SNAPSHOT_MAX:
        wanted = text.lower()
        fitting = [
            head
            for head in held
            if (not system or head.system == system) and (not wanted or wanted in head.resource.lower())
        ]
        found = fitting[start : start + limit + 1]
    else:
        found = queries.found_resources(limit + 1, start, system, text)
    return {
        "window_min": queries.window_min(),
        "resources": [asdict(head) for head in found[:limit]],
        "next": _next(start + limit, "") if len(found) > limit else None,
    }


def _accesses(queries: Queries, request: Request) -> Mapping[str, Any]:
    limit = _limit(request)
    trace = _text(request, "trace_id")
    if trace and (len(trace) != 32 or not _is_hex(trace)):
        raise BadRequest("trace_id must be 32 hexadecimal digits")
    found = queries.accesses(
        limit + 1,
        resource=_text(request, "resource"),
        agent=_text(request, "agent"),
        strand=_text(request, "strand"),
        ops=_choices(request, "op", Op),
        trace=trace,
        since_ns=_time(request, "since_ns"),
        until_ns=_time(request, "until_ns"),
        after=_cursor(request),
    )
    page = found[:limit]
    return {
        "accesses": [_without_empty(asdict(record)) for record in page],
        "next": _next(page[-1].start_ns, page[-1].span_id) if len(found) > limit else None,
    }


def _health(queries: Queries, _request: Request) -> Mapping[str, Any]:
    processes = queries.processes()
    return {
        "totals": dict(queries.totals()),
        "findings": queries.counted()["findings"],
        "window_min": queries.window_min(),
        "processes": [asdict(record) | {"ended": record.frontier_ns == FRONTIER_END} for record in processes],
        "lost": sum(record.holes + record.dropped for record in processes),
        "lacks": lacks(queries, time.time_ns()),
        "key_ids": sorted({key for record in processes for key in record.keys if key}),
        "coverage": [asdict(row) for row in queries.coverage()],
        "clocks": [asdict(row) for row in queries.clocks()],
        "analyzers": [{"analyzer": row["analyzer"], "at_ns": int(row["at_ns"])} for row in queries.cursors()],
    }


def _silences(queries: Queries, request: Request) -> Mapping[str, Any]:
    """Silences by matcher, the latest first; those that are over as well."""
    return _by_offset("silences", queries.silences(), request)


def _audit(queries: Queries, request: Request) -> Mapping[str, Any]:
    """Who did what, when, from where; newest first."""
    limit = _limit(request)
    found = queries.acts(limit + 1, _cursor(request))
    page = found[:limit]
    return {
        "audit": [asdict(act) for act in page],
        "next": _next(page[-1].at_ns, page[-1].id) if len(found) > limit else None,
    }


def _deliveries(queries: Queries, request: Request) -> Mapping[str, Any]:
    limit = _limit(request)
    found = queries.deliveries(
        limit + 1, _cursor(request), route=_text(request, "route"), issue=_text(request, "issue"),
        message=_text(request, "message"), outcomes=_choices(request, "outcome", OUTCOMES),
    )  # fmt: skip
    page = found[:limit]
    return {
        "deliveries": [asdict(record) for record in page],
        "next": _next(page[-1].at_ns, page[-1].id) if len(found) > limit else None,
    }


def _by_offset(name: str, rows: Sequence[Any], request: Request) -> dict[str, Any]:
    """One page of a list that is small and held whole; its cursor is a position."""
    limit, start = _limit(request), _position(request)
    following = start + limit
    return {name: rows[start:following], "next": _next(following, "") if following < len(rows) else None}


def _position(request: Request) -> int:
    return (_cursor(request) or (0, ""))[0]


def _text(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if len(value) > 2_000:
        raise BadRequest(f"{name} is longer than 2,000 characters")
    return value


def _one(request: Request, name: str, known: Sequence[str]) -> str:
    """One word of a few; the first of them where nothing is asked."""
    return next(iter(_choices(request, name, known)), known[0])


def _split(request: Request, name: str) -> tuple[str, ...]:
    return tuple(word for value in request.query_params.getlist(name) for word in value.split(",") if word)


def _choices(request: Request, name: str, known: Iterable[str]) -> tuple[str, ...]:
    words, allowed = _split(request, name), {str(item) for item in known}
    for word in words:
        if word not in allowed:
            raise BadRequest(f"{name} cannot be {word[:40]!r}; it is one of {', '.join(sorted(allowed))}")
    return words


def _limit(request: Request) -> int:
    return _number(request, "limit", PAGE_DEFAULT, 1, PAGE_MAX)


def _time(request: Request, name: str) -> int:
    return _number(request, name, 0, 0, TIME_MAX_NS)


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 20 or not least <= int(text) <= most:
        raise BadRequest(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _next(sort_ns: int, row_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort_ns, row_id]).encode()).decode().rstrip("=")


def _cursor(request: Request) -> tuple[int, str] | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        sort_ns, row_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if type(sort_ns) is not int or not isinstance(row_id, str) or not 0 <= sort_ns <= TIME_MAX_NS:
            raise BadRequest("cursor is none of ours; it is `next` of the page before")
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadRequest("cursor is none of ours; it is `next` of the page before") from error
    return sort_ns, row_id


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


def _without_empty(row: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = ("trace_id", "span_id", "start_ns", "end_ns")
    return {name: value for name, value in row.items() if name in kept or value not in ("", 0, False, ())}


_EXPORTED: Final = (*_PAGED, "format")
_PATHS: Final[tuple[tuple[Described, Answer], ...]] = (
    (Described("/findings", "findings, newest first",
               ("kind", "severity", "certainty", "status", "state", "issue", "resource", "agent", "q", "since_ns",
                "until_ns", "latent", *_EXPORTED), "findings"), _findings),
    (Described("/findings/{id}", "one finding, as the contract has it", (), "Finding"), _finding),
    (Described("/findings/{id}/slice", "what its space-time diagram is drawn from", ("whole",), ""), _slice),
    (Described("/findings/{id}/export", "one finding as text, JSON, Markdown, ShiViz log or DOT", ("form",), ""),
     _export),
    (Described("/issues", "issues, newest first",
               ("state", "kind", "severity", "certainty", "resource", "agent", *_EXPORTED), "issues"), _issues),
    (Described("/issues/{id}", "one issue", (), ""), _issue),
    (Described("/transitions", "what was done to issues and routes, newest first", ("issue", *_EXPORTED),
               "transitions"), _transitions),
    (Described("/resources", "resources of the last `window_min` minutes, those first that several strands write",
               ("system", "q", *_EXPORTED), "resources", {"window_min": "minutes back that accesses are counted"}),
     _resources),
    (Described("/accesses", "accesses, newest first",
               ("resource", "agent", "strand", "op", "trace_id", "since_ns", "until_ns", *_EXPORTED), "accesses"),
     _accesses),
    (Described("/defended", "accesses that a guard held, of the last day", (), ""), _defended),
    (Described("/health", "whether what is shown can be trusted", (), ""), _health),
    (Described("/silences", "silences by matcher, the latest first", _PAGED, "silences"), _silences),
    (Described("/audit", "who did what, when, from where, newest first", _EXPORTED, "audit"), _audit),
    (Described("/deliveries", "attempts to deliver alerts, newest first",
               ("route", "issue", "message", "outcome", *_EXPORTED), "deliveries"), _deliveries),
)  # fmt: skip
