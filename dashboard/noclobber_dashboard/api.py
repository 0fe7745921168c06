"""The JSON API under `/api/v1`: findings, issues, resources, accesses, health, deliveries.

A finding is answered as the contract's JSON object, as it was stored. Lists are paged by a cursor over the sort
key, so that rows which arrive meanwhile neither shift nor repeat a page. Mistakes in a request are 400 with one
sentence; an unreachable store is 503 with `Retry-After`, never a traceback.

Source: the contract, section 3. Paging: keyset ("seek") paging, Winand, SQL Performance Explained, chapter 7.
"""

import base64
import binascii
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber.contract import FRONTIER_END, Certainty, Kind, Op, Severity
from noclobber_dashboard.queries import PAGE_MAX, FindingFilter, Queries
from noclobber_dashboard.records import FindingBody, IssueHead
from noclobber_dashboard.wording import kind_title, short_name

__all__ = ["api_routes"]

PAGE_DEFAULT: Final = 100
TIME_MAX_NS: Final = 2**63 - 1
_LOG = logging.getLogger(__name__)

Answer = Callable[[Queries, Request], Mapping[str, Any] | None]


class BadRequest(ValueError):  # noqa: N818  named after the status
    """A parameter that cannot be read; the message says which and what it may be."""


def api_routes(queries: Queries) -> list[BaseRoute]:
    """The routes, over one store."""
    answers: dict[str, Answer] = {
        "/findings": _findings,
        "/findings/{id}": _finding,
        "/issues": _issues,
        "/resources": _resources,
        "/accesses": _accesses,
        "/health": _health,
        "/deliveries": _deliveries,
    }
    return [Route(f"/api/v1{path}", _endpoint(queries, answer), methods=["GET"]) for path, answer in answers.items()]


def _endpoint(queries: Queries, answer: Answer) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            body = await anyio.to_thread.run_sync(answer, queries, request)
        except BadRequest as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except Exception:
            _LOG.exception("the store did not answer %s", request.url.path)
            message = "The store did not answer. `noclobber doctor` says why."
            return JSONResponse({"error": message}, status_code=503, headers={"retry-after": "2"})
        if body is None:
            return JSONResponse({"error": "There is no finding with this id."}, status_code=404)
        return JSONResponse(body, headers={"cache-control": "no-store"})

    return endpoint


def _findings(queries: Queries, request: Request) -> Mapping[str, Any]:
    limit = _limit(request)
    wanted = FindingFilter(
        kinds=_choices(request, "kind", Kind),
        severities=_choices(request, "severity", Severity),
        certainties=_choices(request, "certainty", Certainty),
        statuses=_choices(request, "status", ("open", "retracted")),
        issue=_text(request, "issue"),
        resource=_text(request, "resource"),
        agent=_text(request, "agent"),
        text=_text(request, "q"),
        since_ns=_time(request, "since_ns"),
        until_ns=_time(request, "until_ns"),
        after=_cursor(request),
    )
    found = queries.findings(wanted, limit + 1)
    page = found[:limit]
    return {
        "findings": [FindingBody.from_json(head.body).raw for head in page],
        "next": _next(page[-1].last_ns, page[-1].id) if len(found) > limit else None,
    }


def _finding(queries: Queries, request: Request) -> Mapping[str, Any] | None:
    head = queries.finding(str(request.path_params["id"]))
    return None if head is None else FindingBody.from_json(head.body).raw


def _issues(queries: Queries, request: Request) -> Mapping[str, Any]:
    states = _split(request, "state")
    severities = _choices(request, "severity", Severity)
    issues = [
        _issue(head)
        for head in queries.issues()
        if (not states or head.state in states) and (not severities or head.severity in severities)
    ]
    return _by_offset("issues", issues, request)


def _issue(head: IssueHead) -> Mapping[str, Any]:
    title = f"{kind_title(head.kind)} on {short_name(head.resources[0]) if head.resources else 'no resource'}"
    return {**asdict(head), "title": title, "url": f"/finding?id={head.newest}"}


def _resources(queries: Queries, request: Request) -> Mapping[str, Any]:
    system, text = _text(request, "system"), _text(request, "q").lower()
    rows = [
        asdict(head)
        for head in queries.resources()
        if (not system or head.system == system) and (not text or text in head.resource.lower())
    ]
    return _by_offset("resources", rows, request)


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
        op=",".join(_choices(request, "op", Op)[:1]),
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
        "findings": len(queries.recent_findings()),
        "processes": [asdict(record) | {"ended": record.frontier_ns == FRONTIER_END} for record in processes],
        "lost": sum(record.holes + record.dropped for record in processes),
        "key_ids": sorted({key for record in processes for key in record.keys if key}),
        "analyzers": [{"analyzer": row["analyzer"], "at_ns": int(row["at_ns"])} for row in queries.cursors()],
    }


def _deliveries(queries: Queries, request: Request) -> Mapping[str, Any]:
    limit = _limit(request)
    found = queries.deliveries(limit + 1, _cursor(request))
    page = found[:limit]
    return {
        "deliveries": [asdict(record) for record in page],
        "next": _next(page[-1].at_ns, page[-1].id) if len(found) > limit else None,
    }


def _by_offset(name: str, rows: Sequence[Mapping[str, Any]], request: Request) -> Mapping[str, Any]:
    """One page of a list that is small and held whole; its cursor is a position."""
    limit = _limit(request)
    start = (_cursor(request) or (0, ""))[0]
    following = start + limit
    return {name: rows[start:following], "next": _next(following, "") if following < len(rows) else None}


def _text(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if len(value) > 2_000:
        raise BadRequest(f"{name} is longer than 2,000 characters")
    return value


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
        if not isinstance(sort_ns, int) or not isinstance(row_id, str) or not 0 <= sort_ns <= TIME_MAX_NS:
            raise BadRequest("cursor is none of ours; it is `next` of the page before")
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadRequest("cursor is none of ours; it is `next` of the page before") from error
    return sort_ns, row_id


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


def _without_empty(row: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = ("trace_id", "span_id", "start_ns", "end_ns")
    return {name: value for name, value in row.items() if name in kept or value not in ("", 0, False, ())}
