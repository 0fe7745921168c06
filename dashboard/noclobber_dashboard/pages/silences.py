"""Silences by matcher, on the settings page: those in force and to come, a form for a new one, a button to end one."""

import time
from typing import Any, Final

import streamlit as st

from noclobber_analyzer.alerts.matchers import FIELDS
from noclobber_analyzer.alerts.silences import end_row, silence_row
from noclobber_dashboard.acts import read_silences
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.pages.tables import ROW_HEIGHT
from noclobber_dashboard.pages.who import actor_field, may_operate, remember, write
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import clock_time

__all__ = ["silences"]

TABLE_HEIGHT_MAX: Final = 330
HOUR_NS: Final = 3_600_000_000_000
LENGTHS: Final = {"1 hour": 1, "8 hours": 8, "1 day": 24, "1 week": 168, "4 weeks": 672}


def silences() -> None:
    """Show the silences that are not over."""
    now_ns = time.time_ns()
    shown = [each for each in read_silences(served().store) if each.end_ns > now_ns]
    prose([Node("h2", children=("Silences",))], key="settings-matched")
    picked: list[int] = []
    if shown:
        rows = {
            "state": ["active" if each.start_ns <= now_ns else "to come" for each in shown],
            "matchers": [[str(matcher) for matcher in each.matchers] for each in shown],
            "from": [clock_time(each.start_ns)[:16] for each in shown],
            "until": [clock_time(each.end_ns)[:16] for each in shown],
            "who": [each.author for each in shown],
            "why": [each.comment for each in shown],
        }
        picked = _table(rows, key=f"silences-{hash(tuple(each.id for each in shown))}")
    else:
        prose([Node("p", "quiet", ("None: every route is told what it wants.",))], key="settings-unmatched")
    if not may_operate():
        return
    with st.container(horizontal=True, gap="small"):
        if st.button("Add a silence", key="silence-add"):
            st.dialog("Add a silence")(_form)()
        chosen = [shown[place] for place in picked if place < len(shown)]
        if chosen and st.button("End it now", key="silence-end"):
            st.dialog("End a silence")(_end)(chosen[0].id)


def _table(rows: dict[str, Any], key: str) -> list[int]:
    import pandas as pd

    frame = pd.DataFrame(rows)
    height = min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(frame) + 1) + 3)
    shown = st.dataframe(frame, hide_index=True, key=key, height=height, alt="silences", on_select="rerun",
                         selection_mode="single-row", column_config={
        "matchers": st.column_config.ListColumn("Means issues with all of", width=330),
        "from": st.column_config.TextColumn("From (UTC)", width=130),
        "until": st.column_config.TextColumn("Until (UTC)", width=130),
        "why": st.column_config.TextColumn("Why", width=300),
    })  # fmt: skip
    return list(shown["selection"]["rows"])


def _form() -> None:
    note = f"Nothing is sent about issues that fit all lines. A line is field=pattern; fields are {', '.join(FIELDS)}."
    prose([Node("p", "quiet", (note,))], key="silence-meaning")
    lines = st.text_area("Matchers, one a line", placeholder="kind=lost_update\nresource=redis://*", max_chars=5_000)
    hours = LENGTHS[st.selectbox("For how long", list(LENGTHS), index=0)]
    comment = st.text_input("Why", max_chars=500)
    actor = actor_field()
    if not st.button("Add", type="primary", key="silence-do"):
        return
    remember(actor)
    now_ns = time.time_ns()
    texts = [line.strip() for line in str(lines).splitlines() if line.strip()]
    try:
        row = silence_row(
            texts, now_ns, now_ns + hours * HOUR_NS, comment=str(comment), actor=actor or "dashboard", now_ns=now_ns
        )
    except ValueError as error:
        prose([Node("p", "warning", (f"{str(error)[:1].upper()}{str(error)[1:]}.",))], key="silence-failed")
        return
    write([row])
    st.rerun()


def _end(name: str) -> None:
    made = next((each for each in read_silences(served().store) if each.id == name), None)
    told = Node("p", children=("What it held back is told then: ", Node("code", children=(name,))))
    prose([told], key="silence-which")
    actor = actor_field()
    if made is None or not st.button("End it now", type="primary", key="silence-end-do"):
        return
    remember(actor)
    now_ns = time.time_ns()
    if made.end_ns > now_ns:
        write([end_row(made, actor=actor or "dashboard", now_ns=now_ns)])
    st.rerun()
