"""What the API does: issues, silences, routes and messages, each act one row of the log of transitions.

The gate has seen to it that whoever asks may (`security`); the row has their name and from where they asked. Where
nobody is asked who they are, the body may say `actor`. What makes no sense is 400 with one sentence.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber_analyzer.alerts.audit import from_where
from noclobber_analyzer.alerts.route_log import enable_row, resend_row, sample_row
from noclobber_analyzer.alerts.silences import (
    SILENCE_ADDED,
    SILENCE_ENDED,
    Silence,
    end_row,
    silence_row,
    silences_from,
)
from noclobber_analyzer.issues import Transition
from noclobber_analyzer.tables import append_transitions, read_transitions_of
from noclobber_collector.errors import StoreError
from noclobber_dashboard.changes import Change, apply
from noclobber_dashboard.identity import identity_of
from noclobber_dashboard.openapi import Deed
from noclobber_dashboard.pooled import Store
from noclobber_dashboard.queries import Queries

__all__ = ["DEEDS", "act_routes", "read_silences"]

BODY_MAX: Final = 64_000
_REASON: Final = {"reason": "string", "actor": "string"}
_SILENCE: Final = {"matchers": "array", "seconds": "integer", "start_ns": "integer", "end_ns": "integer",
                   "comment": "string", "actor": "string"}  # fmt: skip
DEEDS: Final = (
    *[Deed(f"/issues/{{id}}/{change}", "post", f"{change} an issue",
           _REASON | ({"seconds": "integer", "end_ns": "integer"} if change is Change.SILENCE else {}))
      for change in Change],
    Deed("/silences", "post", "hold back what matchers mean, for a while", _SILENCE),
    Deed("/silences/{id}", "delete", "end a silence now"),
    Deed("/routes/{name}/test", "post", "send a sample to a route"),
    Deed("/routes/{name}/enable", "post", "use a route again that had answered 410"),
    Deed("/deliveries/{id}/resend", "post", "send a message again that was given up"),
)  # fmt: skip
SECOND_NS: Final = 1_000_000_000
_ROUTE_ACTS: Final[Mapping[str, Callable[[str, str, int], Transition]]] = {"test": sample_row, "enable": enable_row}
Act = Callable[[Request, Mapping[str, Any], str, int], Transition]


class NotThereError(ValueError):
    """There is nothing with this id."""


def act_routes(queries: Queries, store: Store, url: str = "") -> list[BaseRoute]:
    """The routes that change something, over one store; `url` is where people reach the pages."""

    def issue(request: Request, body: Mapping[str, Any], actor: str, now_ns: int) -> Transition:
        change = Change(str(request.path_params["change"]))
        return apply(
            store, request.path_params["id"], change, actor=actor, reason=str(body.get("reason") or ""), now_ns=now_ns,
            until_ns=_end_ns(body, now_ns, now_ns) if change is Change.SILENCE else 0,
            origin=identity_of(request.scope).origin, base_url=url,
        )  # fmt: skip

    def silence(request: Request, body: Mapping[str, Any], actor: str, now_ns: int) -> Transition:
        matchers, start_ns = body.get("matchers"), _whole(body, "start_ns", now_ns)
        if not isinstance(matchers, list):
            raise TypeError('`matchers` is a list, such as ["kind=lost_update"]')
        return _write(store, request, silence_row(
            map(str, matchers), start_ns, _end_ns(body, start_ns, 0), comment=str(body.get("comment") or ""),
            actor=actor, now_ns=now_ns,
        ))  # fmt: skip

    def unsilence(request: Request, _body: Mapping[str, Any], actor: str, now_ns: int) -> Transition:
        every = {each.id: each for each in read_silences(store)}
        made = every.get(request.path_params["id"])
        if made is None:
            raise NotThereError("There is no such silence.")
        return _write(store, request, end_row(made, actor=actor, now_ns=now_ns))

    def route(request: Request, _body: Mapping[str, Any], actor: str, now_ns: int) -> Transition:
        name = str(request.path_params["name"])
        if name not in {each.name for each in queries.endpoints()}:
            raise NotThereError("There is no such route.")
        return _write(store, request, _ROUTE_ACTS[request.path_params["deed"]](name, actor, now_ns))

    def resend(request: Request, _body: Mapping[str, Any], actor: str, now_ns: int) -> Transition:
        dead = next((each for each in queries.dead_letters(10_000) if each.id == request.path_params["id"]), None)
        if dead is None:
            raise NotThereError("There is no such message that was given up.")
        return _write(store, request, resend_row(dead.endpoint, dead.transition, actor, now_ns))

    return [
        *[_route(f"/issues/{{id}}/{change}", _with(issue, change=str(change)), queries) for change in Change],
        _route("/silences", silence, queries),
        _route("/silences/{id}", unsilence, queries, "DELETE"),
        *[_route(f"/routes/{{name}}/{deed}", _with(route, deed=deed), queries) for deed in _ROUTE_ACTS],
        _route("/deliveries/{id}/resend", resend, queries),
    ]


def _with(act: Act, **words: str) -> Act:
    def acting(request: Request, body: Mapping[str, Any], actor: str, now_ns: int) -> Transition:
        request.path_params.update(words)
        return act(request, body, actor, now_ns)

    return acting


def read_silences(store: Store) -> list[Silence]:
    """All silences, the latest first."""
    return silences_from(read_transitions_of(store, [SILENCE_ADDED, SILENCE_ENDED]))


def _write(store: Store, request: Request, row: Transition) -> Transition:
    told = from_where(row, identity_of(request.scope).origin)
    append_transitions(store, [told])
    return told


def _route(path: str, act: Act, queries: Queries, method: str = "POST") -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request)
            actor = identity_of(request.scope).name or str(body.get("actor") or "") or "api"
            row = await anyio.to_thread.run_sync(act, request, body, actor[:80], time.time_ns())
        except NotThereError as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except StoreError:
            message = "The store did not answer. `noclobber doctor` says why."
            return JSONResponse({"error": message}, status_code=503, headers={"retry-after": "2"})
        queries.forget_issues()
        queries.forget_endpoints()
        names = ("id", "issue", "at_ns", "kind", "actor", "reason")
        return JSONResponse({name: getattr(row, name) for name in names}, headers={"cache-control": "no-store"})

    return Route(f"/api/v1{path}", endpoint, methods=[method])


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object that was sent; empty where nothing was."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_MAX:
            raise ValueError(f"a request's body has {BODY_MAX:,} bytes at most")
    try:
        body = json.loads(data) if data.strip() else {}
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("the body is no JSON") from error
    if not isinstance(body, dict):
        raise TypeError("the body is a JSON object")
    return body


def _whole(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"`{name}` is a whole number of nanoseconds since 1970")
    return value


def _end_ns(body: Mapping[str, Any], start_ns: int, default: int) -> int:
    seconds = body.get("seconds")
    if seconds is None:
        return _whole(body, "end_ns", default)
    if type(seconds) is not int or not 0 < seconds < 2**31:
        raise ValueError("`seconds` is a whole number: how long the silence lasts")
    return start_ns + seconds * SECOND_NS
