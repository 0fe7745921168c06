"""Who looks at the page, and what they may do there: as the gate told in a header of the page's WebSocket.

A reader sees no buttons. An operator's name is known and stands in the log; it is only asked for where nobody had to
say who they are.
"""

import streamlit as st

from noclobber_analyzer.alerts.audit import from_where
from noclobber_analyzer.issues import Transition
from noclobber_analyzer.tables import append_transitions
from noclobber_dashboard.identity import EVERYBODY, HEADER, Identity, Scope
from noclobber_dashboard.serving import served

__all__ = ["actor_field", "may_operate", "remember", "who", "write"]


def who() -> Identity:
    """The visitor of this page."""
    told = st.context.headers.get(HEADER)
    return Identity.from_header(told) if told else EVERYBODY


def may_operate() -> bool:
    """Whether the visitor may do more than look."""
    return who().may(Scope.OPERATE)


def actor_field() -> str:
    """Whose name the log is to hold: the visitor's, who is asked where nobody knows."""
    visitor = who()
    if visitor.name and visitor.way != "token":
        return visitor.name
    # what a widget holds is forgotten with its page, a name is not
    known = str(st.session_state.get("my_name", ""))
    actor = st.text_input("Your name", value=known, max_chars=80, help="stands in the log beside what was done")
    return str(actor).strip()


def remember(actor: str) -> None:
    """Keep a name that was typed for the next time."""
    st.session_state["my_name"] = actor


def write(rows: list[Transition]) -> None:
    """Append what the visitor did, with from where.

    Raises:
        PermissionError: the visitor is a reader, whatever the page showed.
    """
    visitor = who()
    if not visitor.may(Scope.OPERATE):
        raise PermissionError(f"{visitor.name} may only read")
    append_transitions(served().store, [from_where(row, visitor.origin) for row in rows])
