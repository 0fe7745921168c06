"""Typeset text in which nothing is markup: headings, sentences, strips of facts, with names that agents chose.

Streamlit's markdown would read a resource named `![](http://host/x)` as an image and fetch it. Here a page hands over
a tree of `Node`s; the script makes elements of a fixed set of tags and sets every text by `textContent`. Links lead
to this dashboard's own pages, and where a page says so (`outside`) to an address that the operator set. What is to
stay fresh names the part (`parts.py`) that the script asks for again.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from noclobber_dashboard.components.prose.nodes import Node, Shape, text_of
from noclobber_dashboard.components.prose.shapes import Bars, Cell, Column, Dots, Since, Table

__all__ = [
    "SCRIPT_FILES", "Bars", "Cell", "Column", "Dots", "Node", "Shape", "Since", "Table", "prose", "script", "show",
    "text_of",
]  # fmt: skip

_HERE: Final = Path(__file__).parent
SCRIPT_FILES: Final = ("shapes.js", "prose.js")
"""One script in two files: how shapes are drawn, and how a tree of them is kept fresh."""


@cache
def script() -> str:
    """The component's script."""
    return "\n".join((_HERE / name).read_text("utf-8") for name in SCRIPT_FILES)


@cache
def _component() -> Callable[..., Any]:
    import streamlit as st

    css = (_HERE / "prose.css").read_text("utf-8")
    mount: Callable[..., Any] = st.components.v2.component(
        "noclobber_prose", html='<div class="prose"></div>', css=css, js=script()
    )
    return mount


def prose(nodes: Sequence[Shape], key: str) -> None:
    """Show shapes here, one below the other."""
    show({"nodes": [node.as_data() for node in nodes]}, key)


def show(data: dict[str, Any], key: str) -> None:
    """Show what is made already: `nodes`, and perhaps where and how often it is asked for anew (`parts.py`)."""
    _component()(data=data, key=key)
