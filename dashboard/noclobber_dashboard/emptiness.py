"""What a page says when there is nothing to show: why, the one command that changes it, and itself once it did."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from noclobber_collector.errors import StoreError
from noclobber_dashboard.components.prose import Node, prose

__all__ = ["RUN_SNIPPET", "empty_box", "nothing_here"]

RUN_SNIPPET = "noclobber run --agent planner -- python your_agent.py"


LOOK_S: Final = 2
NOTICES: Final = "This page notices by itself when the first of it arrives."


def empty_box(title: str, words: str, snippet: str = "") -> Node:
    """That there is nothing, why, and what to do next; the snippet can be copied."""
    copyable = Node(
        "div", "copyline", (Node("pre", children=(snippet,)), Node("button", copy=snippet, children=("copy",)))
    )
    next_steps = (copyable, Node("p", "quiet small", (NOTICES,))) if snippet else ()
    return Node("div", "empty", (Node("h2", children=(title,)), Node("p", "quiet", (words,)), *next_steps))


def nothing_here(title: str, words: str, snippet: str = "", until: Callable[[], bool] | None = None) -> None:
    """Say so on a page.

    Args:
        title: of the box.
        words: why there is nothing.
        snippet: the command that changes it.
        until: asked every few seconds; once it holds, the page is shown anew. None: whoever calls refreshes by itself.
    """
    prose([empty_box(title, words, snippet)], key=f"empty-{title}")
    if until is not None:
        _look(until)


@st.fragment(run_every=LOOK_S)
def _look(until: Callable[[], bool]) -> None:
    try:
        there = until()
    except StoreError:
        return  # the page says so when it is next shown
    if there:
        st.rerun()
