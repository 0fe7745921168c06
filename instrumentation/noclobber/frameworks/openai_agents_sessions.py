"""Sessions of the OpenAI Agents SDK: one conversation, to which every run that is given it adds.

A session is a log: items are read whole and added at its end, so nothing of another's is replaced, but what two runs
add may alternate (`interleaved_writes`). Every concrete session is wrapped; one that wraps another (encryption,
compaction) is told once, by the outermost.

Source: agents/memory/session.py, sqlite_session.py (0.24); capture.md 5 and 12.
"""

from typing import Any, Final

from noclobber.contract import Attr, Op, Outcome, WriteMode
from noclobber.frameworks import places
from noclobber.frameworks.seams import Seams, arecorded
from noclobber.frameworks.states import Told, absent, ended, printed, starting
from noclobber.resources import uri

__all__ = ["SEAMS", "install"]

SYSTEM: Final = "openai_agents.session"
SEAMS: Final = Seams("openai-agents")


def install() -> None:
    """Wrap all sessions."""
    from agents.memory.session import SessionABC

    SEAMS.watch(SessionABC, _patch)


def _patch(session: type) -> None:
    for name, tell in (("get_items", _get), ("add_items", _add), ("pop_item", _pop), ("clear_session", _clear)):
        SEAMS.wrap(session, name, arecorded(starting(SEAMS, tell), ended))


def _resource(session: Any) -> str:
    path = getattr(session, "db_path", None)
    segments = (
        [] if path is None else [places.of_object(session) if str(path) == ":memory:" else places.of_file(str(path))]
    )
    return uri("openai-agents", "session", *segments, str(session.session_id))


def _get(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    """The whole, or the last items, which are a part of their own."""
    limit = args[0] if args else kwargs.get("limit")
    if limit is None:
        limit = getattr(getattr(session, "session_settings", None), "limit", None)
    part = () if limit is None else (f"last-{limit}",)
    return Told(Op.READ, _resource(session), SYSTEM, part=part, learn=_got)


def _got(told: Told, items: Any) -> None:
    if items:
        told.attributes |= printed(Attr.VERSION_READ, items)
    else:
        told.attributes |= absent(Attr.VERSION_READ)
        told.outcome = Outcome.NOT_FOUND


def _add(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told | None:
    items = args[0] if args else kwargs["items"]
    return _update(session, WriteMode.APPEND) if items else None


def _pop(session: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    return _update(session, WriteMode.MERGE)


def _update(session: Any, mode: WriteMode) -> Told:
    return Told(Op.UPDATE, _resource(session), SYSTEM, {Attr.WRITE_MODE: mode})


def _clear(session: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Told:
    return Told(Op.DELETE, _resource(session), SYSTEM, absent(Attr.VERSION_WRITTEN), finds_base=True)
