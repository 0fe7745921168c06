"""Who did what, when, from where: the rows of the log that a person, or a program in its own name, wrote.

Every act is a row of the log of transitions, so there is no second log that could lack one: what was done to issues,
routes, silences, tokens, and who signed in or was refused. The row's body says from where: an address, or the command
line of a host.
"""

import getpass
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from noclobber_analyzer.issues import Transition
from noclobber_analyzer.tables import TRANSITION, Store

__all__ = ["ACTORS_OF_OURS", "Act", "act_of", "acts", "at_terminal", "every_act", "from_where", "terminal"]

ACTORS_OF_OURS = ("analyzer", "sender")
"""Who writes rows without anybody's doing."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class Act:
    """One entry: `what` is the row's kind, `about` an issue, a route, a silence or a token, `why` what was said."""

    at_ns: int
    who: str
    what: str
    about: str
    origin: str
    why: str
    id: str


def from_where(row: Transition, origin: str) -> Transition:
    """The row of somebody's act, with where its author was; who is named as a part of ours is told from it."""
    body = msgspec.json.encode({**row.content, "from": origin}, order="sorted").decode()
    actor = f"{row.actor} (not a part of noclobber)" if row.actor.strip() in ACTORS_OF_OURS else row.actor
    return replace(row, actor=actor, body=body)


def terminal() -> str:
    """Who types commands here."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"


def at_terminal() -> str:
    """From where: the command line of this host."""
    return f"command line of {socket.gethostname()}"


def act_of(row: Transition) -> Act:
    """A row of the log as an entry."""
    return Act(row.at_ns, row.actor, row.kind, row.issue, str(row.content.get("from", "")), row.reason, row.id)


def acts(store: Store, limit: int, after: tuple[int, str] | None = None) -> list[Act]:
    """Entries, newest first.

    Args:
        store: holds the log.
        limit: of entries.
        after: time and id of the last one of the page before; None: the first page.
    """
    sql = (
        f"SELECT {', '.join(TRANSITION)} FROM transitions WHERE actor NOT IN {{ours:Array(String)}} "  # noqa: S608  constants only
        "AND ({after_ns:UInt64} = 0 OR (at_ns, id) < ({after_ns:UInt64}, {after_id:String})) "
        "ORDER BY at_ns DESC, id DESC LIMIT 1 BY id LIMIT {limit:UInt32}"
    )
    after_ns, after_id = after or (0, "")
    words = {"ours": list(ACTORS_OF_OURS), "after_ns": after_ns, "after_id": after_id, "limit": limit}
    return [act_of(Transition(*row)) for row in store.rows(sql, words)]


def every_act(store: Store) -> Iterator[Act]:
    """All entries, newest first, page by page."""
    after: tuple[int, str] | None = None
    while page := acts(store, PAGE, after):
        yield from page
        after = (page[-1].at_ns, page[-1].id)
