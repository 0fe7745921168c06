"""Typeset text in which nothing is markup: headings, sentences, strips of facts, with names that agents chose.

Streamlit's markdown would read a resource named `![](http://host/x)` as an image and fetch it. Here a page hands over
a tree of `Node`s; the script makes elements of a fixed set of tags and sets every text by `textContent`. Links lead
to this dashboard's own pages, and where a page says so (`outside`) to an address that the operator set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["Node", "prose", "text_of"]

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Node:
    """One element: what it is, how it looks, what it says.

    Attributes:
        tag: one of the script's tags (div, span, p, h1, h2, code, b, ul, li, a, button, pre).
        look: class names of `prose.css`.
        children: texts and further nodes.
        href: for `a`: a path of this dashboard.
        outside: for `a`: an http or https address elsewhere, opened apart; never one that a name is part of.
        copy: for `button`: what a click copies.
        title: shown on hover.
    """

    tag: str = "span"
    look: str = ""
    children: Sequence["Node | str"] = field(default=())
    href: str = ""
    outside: str = ""
    copy: str = ""
    title: str = ""

    def as_data(self) -> dict[str, Any]:
        """The node as the script reads it."""
        children = [child if isinstance(child, str) else child.as_data() for child in self.children]
        extras = {"href": self.href, "outside": self.outside, "copy": self.copy, "title": self.title}
        return {"tag": self.tag, "look": self.look, "children": children} | {k: v for k, v in extras.items() if v}


@cache
def _component() -> Callable[..., Any]:
    import streamlit as st

    css, js = ((_HERE / name).read_text("utf-8") for name in ("prose.css", "prose.js"))
    mount: Callable[..., Any] = st.components.v2.component(
        "noclobber_prose", html='<div class="prose"></div>', css=css, js=js
    )
    return mount


def prose(nodes: Sequence[Node], key: str) -> None:
    """Show nodes here, one below the other."""
    _component()(data={"nodes": [node.as_data() for node in nodes]}, key=key)


def text_of(node: Node) -> str:
    """All texts of a node in reading order, for tests and for copying."""
    return "".join(child if isinstance(child, str) else text_of(child) for child in node.children)
