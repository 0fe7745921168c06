"""Session services of Google ADK: a session's events, and state under keys of three scopes.

A session is got whole, worked on as a copy, and changed by the events that are appended to it: each key in an event's
delta is a write, whose base is what the session held when this invocation got it. Keys that begin with `app:` or
`user:` belong to the app or the user, so two sessions can race on them; `temp:` keys are nobody's. The event itself is
appended to a log. A service that finds that the session was changed since it was got refuses (`StaleSessionError`):
such writes are `rejected`. It looks at the session only, not at the app's and the user's keys.

Source: google/adk/sessions (2.13); capture.md 5 and 12 (adk-python#3717, #4751).
"""

from collections.abc import Sequence
from typing import Any, Final

from noclobber.contract import Attr, Op, Outcome, WriteMode
from noclobber.frameworks import places
from noclobber.frameworks.seams import Seams, arecorded
from noclobber.frameworks.states import Told, absent, ended, printed, starting
from noclobber.resources import uri

__all__ = ["SEAMS", "install"]

SYSTEM: Final = "google_adk.session"
SEAMS: Final = Seams("google-adk")
KEYS_MAX: Final = 256
"""Keys of one session that are told each time that it is got; what lies beyond is written without a base."""
_REFUSALS: Final = frozenset({"StaleSessionError"})


def install(base: type) -> None:
    """Wrap all session services."""
    SEAMS.watch(base, _patch)


def _patch(service: type) -> None:
    tells = (("get_session", _get), ("create_session", _create), ("append_event", _append), ("delete_session", _delete))
    for name, tell in tells:
        SEAMS.wrap(service, name, arecorded(starting(SEAMS, tell), ended))


# -- names -----------------------------------------------------------------------------------------------------------


def _place(service: Any) -> list[str]:
    """A service in memory is this process's; a SQLite file is named; where another one keeps its rows is its URL."""
    if type(service).__name__ == "InMemorySessionService":
        return [places.of_object(service)]
    path = getattr(service, "_db_path", None)
    url = getattr(getattr(service, "db_engine", None), "url", None)
    if path is None and url is not None and str(url.drivername).startswith("sqlite"):
        path = url.database or ":memory:"
    if path is not None:
        return [places.of_object(service) if str(path) == ":memory:" else places.of_file(str(path))]
    return [] if url is None else [f"{url.host}:{url.port}", str(url.database)]


def _session(service: Any, app: str, user: str, session: str, *below: str) -> str:
    return uri("adk", "session", *_place(service), app, user, session, *below)


def _key(service: Any, app: str, user: str, session: str, key: str) -> str:
    scope, _, name = key.partition(":")
    if scope == "app" and name:
        return uri("adk", "app", *_place(service), app, name)
    if scope == "user" and name:
        return uri("adk", "user", *_place(service), app, user, name)
    return _session(service, app, user, session, "state", key)


def _is_kept(key: str) -> bool:
    return not key.startswith("temp:")


# -- calls -----------------------------------------------------------------------------------------------------------


def _get(service: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    names = (kwargs["app_name"], kwargs["user_id"], kwargs["session_id"])
    whole = kwargs.get("config") is None

    def got(told: Told, session: Any) -> Sequence[Told]:
        if session is None or not session.events:
            told.outcome = Outcome.NOT_FOUND
            told.attributes |= absent(Attr.VERSION_READ)
        else:
            told.attributes |= printed(Attr.VERSION_READ, [event.id for event in session.events])
        kept = [] if session is None else [(k, v) for k, v in session.state.items() if _is_kept(k)][:KEYS_MAX]
        return [
            Told(Op.READ, _key(service, *names, key), SYSTEM, printed(Attr.VERSION_READ, value)) for key, value in kept
        ]

    part = () if whole else ("recent",)
    return Told(Op.READ, _session(service, *names, "events"), SYSTEM, part=part, learn=got)


def _create(service: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Told]:
    """What a session begins with; its id may only be known when it is made, and then nobody else knows it yet."""
    if not kwargs.get("session_id"):
        return []
    names = (kwargs["app_name"], kwargs["user_id"], kwargs["session_id"])
    state = kwargs.get("state") or {}
    return [_write(_key(service, *names, key), value) for key, value in state.items() if _is_kept(key)]


def _append(service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Told]:
    session = args[0] if args else kwargs["session"]
    event = args[1] if len(args) > 1 else kwargs["event"]
    if event.partial:
        return []
    names = (session.app_name, session.user_id, session.id)
    log = Told(Op.UPDATE, _session(service, *names, "events"), SYSTEM, {Attr.WRITE_MODE: WriteMode.APPEND})
    log.refusals = _REFUSALS
    delta = (event.actions.state_delta if event.actions else None) or {}
    return [log, *(_write(_key(service, *names, key), value) for key, value in delta.items() if _is_kept(key))]


def _write(resource: str, value: Any) -> Told:
    attributes = printed(Attr.VERSION_WRITTEN, value)
    return Told(Op.WRITE, resource, SYSTEM, attributes, finds_base=True, refusals=_REFUSALS)


def _delete(service: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    names = (kwargs["app_name"], kwargs["user_id"], kwargs["session_id"])
    return Told(Op.DELETE, _session(service, *names, ""), SYSTEM, absent(Attr.VERSION_WRITTEN))
