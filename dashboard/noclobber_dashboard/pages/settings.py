"""Who is told, what is never told, what is permitted, how long things are kept?

Settings live in files and flags, so that they can be reviewed; this page shows what is in force and does what a person
has to do by hand: send a sample to a route, enable one that had answered 410, send a dead letter again. Each of these
is a row in the log, done by whichever process sends.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import streamlit as st

from noclobber.contract import IssueState
from noclobber.declarations import Declaration
from noclobber_analyzer.alerts.route_log import enable_row, resend_row, sample_row
from noclobber_analyzer.issues import Transition
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import nothing_here
from noclobber_dashboard.endpoints import DeadLetter, Endpoint
from noclobber_dashboard.issue_queries import IssueFilter
from noclobber_dashboard.pages.silences import silences
from noclobber_dashboard.pages.tables import ROW_HEIGHT, finding_link
from noclobber_dashboard.pages.who import actor_field, may_operate, remember, write
from noclobber_dashboard.reading import SNAPSHOT_MAX
from noclobber_dashboard.records import IssueHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, clock_time, kind_title, plural, shorten

__all__ = ["render"]

TABLE_HEIGHT_MAX: Final = 330
DEAD_SHOWN: Final = 200
ANSWER_SHOWN: Final = 160
ROUTE_SNIPPET: Final = '[[alert]]\nname = "ops"\nformat = "slack"\nurl = "https://hooks.slack.com/services/..."'
_HOLDS: Final = {
    "accesses": "what agents did to shared state",
    "findings": "races, each with its evidence",
    "transitions": "what became of issues, and who did it",
    "defended": "races that a guard, a lock or the store prevented",
    "deliveries": "attempts to deliver alerts",
    "minute_stats": "accesses counted by minute",
    "conflicts": "what analyzers that share a store tell each other",
    "cursors": "how far the analyzer is",
    "leases": "which analyzer judges what",
    "ingest": "which parts of the spool are loaded",
    "incoming": "what is being loaded",
    "forgotten": "what was deleted on request",
    "schema_migrations": "the store's own version",
}
"""What a table is for, in words."""
_QUIET: Final = (str(IssueState.SILENCED), str(IssueState.ACCEPTED))


def render() -> None:
    """Show what is in force."""
    prose([Node("h1", children=("Settings",))], key="settings-title")
    _routes(served().queries.endpoints())
    _dead(served().queries.dead_letters(DEAD_SHOWN))
    silences()
    _silences(served().queries.issues(IssueFilter(states=_QUIET)))
    _declarations(served().settings.declarations)
    _storage(served().queries.storage())


# -- alerts --------------------------------------------------------------------------------------------------------


def _routes(every: Sequence[Endpoint]) -> None:
    prose([Node("h2", children=("Alert routes",))], key="settings-routes")
    if not every:
        nothing_here(
            "No alert goes anywhere",
            "Name a route in the file that --config names, or give --webhook. docs/guide/alerts.md has every format.",
            ROUTE_SNIPPET,
        )
        return
    rows = {
        "name": [each.name for each in every],
        "format": [each.format for each in every],
        "where": [each.where for each in every],
        "wants": [each.wants for each in every],
        "delivered": [each.delivered for each in every],
        "dead": [each.dead for each in every],
        "last": [_last(each) for each in every],
    }
    picked = _table(rows, "settings-routes-table", "alert routes", choose="single-row", columns={
        "name": st.column_config.TextColumn("Route", width=100),
        "format": st.column_config.TextColumn("Format", width=80),
        "where": st.column_config.TextColumn("Where", width=150),
        "wants": st.column_config.TextColumn("Is told of", width=320),
        "delivered": st.column_config.NumberColumn("Delivered", width=75),
        "dead": st.column_config.NumberColumn("Given up", width=70),
        "last": st.column_config.TextColumn("Last attempt", width=180),
    })  # fmt: skip
    chosen = [every[place] for place in picked if place < len(every)]
    if not may_operate():
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for each in chosen:
            if st.button("Send a sample", key="route-sample", help="as an issue that opens, marked as a sample"):
                _ask("Send a sample", each.name, partial(_one, sample_row, each.name))
            if each.is_off and st.button("Enable again", key="route-enable", help="it answered 410: gone"):
                _ask("Enable again", each.name, partial(_one, enable_row, each.name))
        hint = () if chosen else ("Tick a route to send it a sample.",)
        prose([Node("p", "quiet small", hint)], key="settings-routes-hint")


def _one(row: Callable[[str, str, int], Transition], endpoint: str, who: str, now_ns: int) -> list[Transition]:
    return [row(endpoint, who, now_ns)]


def _last(each: Endpoint) -> str:
    if not each.last_ns:
        return "none yet"
    off = "switched off: " if each.is_off else ""
    code = {0: "no answer", -1: "blocked"}.get(each.status, str(each.status))
    return f"{off}{code}, {age(each.last_ns)}. {shorten(each.answer, ANSWER_SHOWN)}"


def _dead(every: Sequence[DeadLetter]) -> None:
    if not every:
        return
    note = "Tried ten times over three days. What has arrived meanwhile is never sent again."
    title = Node("h2", children=(f"Given up: {plural(len(every), 'message')}",))
    prose([title, Node("p", "quiet small", (note,))], key="settings-dead")
    rows = {
        "endpoint": [each.endpoint for each in every],
        "at": [clock_time(each.at_ns)[:19] for each in every],
        "status": [each.status for each in every],
        "answer": [shorten(each.answer, ANSWER_SHOWN) for each in every],
        "state": ["asked for again" if each.was_asked else "" for each in every],
        "id": [each.id for each in every],
    }
    picked = _table(rows, f"settings-dead-{hash(tuple(each.id for each in every))}", "messages that were given up",
                    choose="multi-row", columns={
        "endpoint": st.column_config.TextColumn("Route", width=150),
        "at": st.column_config.TextColumn("Given up at (UTC)", width=150),
        "status": st.column_config.NumberColumn("Answer", width=65),
        "answer": st.column_config.TextColumn("It said", width=330),
        "state": st.column_config.TextColumn("", width=120),
        "id": st.column_config.TextColumn("Message", width=240),
    })  # fmt: skip
    chosen = [every[place] for place in picked if place < len(every)]
    if chosen and may_operate() and st.button(f"Send {plural(len(chosen), 'message')} again", key="dead-again"):
        _ask(
            "Send again",
            plural(len(chosen), "message"),
            lambda who, now_ns: [resend_row(each.endpoint, each.transition, who, now_ns) for each in chosen],
        )


def _ask(what: str, about: str, rows: Callable[[str, int], list[Transition]]) -> None:
    """Ask for a name, then write the rows."""
    st.dialog(what)(_form)(what, about, rows)


def _form(what: str, about: str, rows: Callable[[str, int], list[Transition]]) -> None:
    prose([Node("p", children=(f"{what}: ", Node("code", children=(about,))))], key="settings-ask")
    actor = actor_field()
    if not st.button(what, type="primary", key="settings-do"):
        return
    remember(actor)
    write(rows(actor or "dashboard", time.time_ns()))
    served().queries.forget_endpoints()
    st.rerun()


# -- what is not told, what is permitted, what is kept -------------------------------------------------------------


def _silences(quiet: Sequence[IssueHead]) -> None:
    prose([Node("h2", children=("Silenced and accepted issues",))], key="settings-silences")
    if not quiet:
        prose([Node("p", "quiet", ("None: whatever is found is told.",))], key="settings-no-silences")
        return
    if len(quiet) >= SNAPSHOT_MAX:
        prose([Node("p", "quiet", (f"Only the newest {SNAPSHOT_MAX:,} are shown.",))], key="settings-some-silences")
    rows = {
        "open": [finding_link(head.newest) for head in quiet],
        "kind": [kind_title(head.kind) for head in quiet],
        "resources": [list(head.resources) for head in quiet],
        "state": [head.state for head in quiet],
        "until": [clock_time(head.until_ns)[:16] if head.until_ns else "" for head in quiet],
        "who": [head.actor for head in quiet],
        "why": [head.reason for head in quiet],
    }
    _table(rows, "settings-silences-table", "silenced and accepted issues", columns={
        "open": st.column_config.LinkColumn("", display_text="open", width=55),
        "kind": st.column_config.TextColumn("Kind", width=130),
        "resources": st.column_config.ListColumn("Resources", width=250),
        "until": st.column_config.TextColumn("Until (UTC)", width=130),
        "why": st.column_config.TextColumn("Why", width=300),
    })  # fmt: skip


def _declarations(every: Sequence[Declaration] | None) -> None:
    prose([Node("h2", children=("Declared resources",))], key="settings-declared")
    if every is None:
        words = "This process was started without --config, so it does not know them; the analyzer may."
        prose([Node("p", "quiet", (words,))], key="settings-undeclared")
        return
    if not every:
        prose([Node("p", "quiet", ("None: no race is permitted.",))], key="settings-undeclared")
        return
    flags = ("closed", "ignore", "hash_ids", "exact")
    rows = {
        "pattern": [each.pattern for each in every],
        "policy": [str(each.policy or "") for each in every],
        "flags": [[name for name in flags if getattr(each, name)] for each in every],
        "alias of": [each.alias_of or "" for each in every],
        "invariant": [each.invariant or "" for each in every],
    }
    _table(rows, "settings-declared-table", "declared resources", columns={
        "pattern": st.column_config.TextColumn("Resources", width=330),
        "flags": st.column_config.ListColumn("Said of them", width=200),
    })  # fmt: skip


def _storage(tables: Sequence[Any]) -> None:
    prose([Node("h2", children=("What is kept, and for how long",))], key="settings-storage")
    rows = {
        "table": [str(row["name"]) for row in tables],
        "holds": [_HOLDS.get(str(row["name"]), "") for row in tables],
        "rows": [int(row["rows"]) for row in tables],
        "MB on disk": [int(row["bytes"]) / 1e6 for row in tables],
        "kept": [f"{int(row['days'])} days" if int(row["days"]) else "for ever" for row in tables],
    }
    _table(rows, "settings-storage-table", "tables of the store", columns={
        "rows": st.column_config.NumberColumn(format="localized"),
        "MB on disk": st.column_config.NumberColumn(format="%.2f"),
    })  # fmt: skip


def _table(
    rows: Mapping[str, object], key: str, told: str, *, choose: str = "", columns: dict[str, Any] | None = None
) -> list[int]:
    """A table; the places of the rows that are ticked, where they can be."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    height = min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(frame) + 1) + 3)
    given: dict[str, Any] = {"on_select": "rerun", "selection_mode": choose} if choose else {}
    shown = st.dataframe(frame, hide_index=True, key=key, height=height, column_config=columns, alt=told, **given)
    return list(shown["selection"]["rows"]) if choose else []
