"""What a person does about issues: buttons, and a dialog that asks who and why before a row is written.

Every change ends in the log of transitions, so it has a name and can be taken back. Accepting asks for a reason, since
it says that a race is intended; a silence asks for how long.
"""

import time
from collections.abc import Mapping
from typing import Final

import streamlit as st

from noclobber_analyzer.issues import IssueError
from noclobber_dashboard.changes import Change, apply, possible
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.pages.who import actor_field, may_operate, remember, who
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import plural

__all__ = ["change_buttons"]

HOUR_NS: Final = 3_600_000_000_000
SILENCES: Final = {"1 hour": 1, "8 hours": 8, "1 day": 24, "1 week": 168, "4 weeks": 672}
LABEL: Final = {
    Change.ACKNOWLEDGE: "Acknowledge",
    Change.ACCEPT: "Accept as intended",
    Change.SILENCE: "Silence",
    Change.RESOLVE: "Resolve",
    Change.REOPEN: "Reopen",
}
MEANING: Final = {
    Change.ACKNOWLEDGE: "Somebody looks into it: no reminders are sent, further findings still are.",
    Change.ACCEPT: "This race is intended: nothing is sent about it any more. The reason is shown with your name.",
    Change.SILENCE: "Nothing is sent until the silence ends; then what came meanwhile is told.",
    Change.RESOLVE: "It is mended: a finding that happens after this opens it again as regressed.",
    Change.REOPEN: "Takes back what was said of it: it is an open issue again.",
}


def change_buttons(states: Mapping[str, str], key: str) -> None:
    """A row of buttons for issues, by fingerprint with their states: what makes sense for all of them."""
    if not may_operate():
        return
    shared = [change for change in Change if all(change in possible(state) for state in states.values())]
    for change in shared if states else ():
        if st.button(LABEL[change], key=f"{key}-{change}", help=MEANING[change]):
            _ask(change, tuple(states), key)


def _ask(change: Change, issues: tuple[str, ...], key: str) -> None:
    what = LABEL[change] if len(issues) == 1 else f"{LABEL[change]}: {plural(len(issues), 'issue')}"
    st.dialog(what)(_form)(change, issues, key)


def _form(change: Change, issues: tuple[str, ...], key: str) -> None:
    prose([Node("p", "quiet", (MEANING[change],))], key=f"{key}-meaning")
    hours = SILENCES[st.selectbox("For how long", list(SILENCES), index=2)] if change is Change.SILENCE else 0
    reason = st.text_input("Reason" if change is Change.ACCEPT else "Reason (optional)", max_chars=500)
    actor = actor_field()
    if not st.button(LABEL[change], type="primary", key=f"{key}-do"):
        return
    remember(actor)
    failed = _do(change, issues, actor, reason, hours * HOUR_NS)
    if failed:
        prose([Node("p", "warning", (failed,))], key=f"{key}-failed")
        return
    st.rerun()


def _do(change: Change, issues: tuple[str, ...], actor: str, reason: str, silent_ns: int) -> str:
    """Do it to all; the first objection, or nothing."""
    if not may_operate():
        return "You may only read."
    now_ns = time.time_ns()
    try:
        for issue in issues:
            apply(served().store, issue, change, actor=actor, reason=reason, now_ns=now_ns,
                  until_ns=now_ns + silent_ns, origin=who().origin, base_url=served().settings.url)  # fmt: skip
    except IssueError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."
    finally:
        served().queries.forget_issues()
    return ""
