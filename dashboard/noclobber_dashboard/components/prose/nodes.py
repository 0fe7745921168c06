"""An element in which nothing is markup, and whatever else the script beside this file knows how to make."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Node", "Shape", "text_of"]


class Shape(Protocol):
    """Something that the script can make."""

    def as_data(self) -> dict[str, Any]:
        """The shape as the script reads it."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """One element: what it is, how it looks, what it says.

    Attributes:
        tag: one of the script's tags (div, span, p, h1, h2, code, b, ul, li, a, button, pre).
        look: class names of `prose.css`.
        children: texts and further shapes.
        href: for `a`: a path of this dashboard.
        outside: for `a`: an http or https address elsewhere, opened apart; never one that a name is part of.
        copy: for `button`: what a click copies.
        title: shown on hover.
    """

    tag: str = "span"
    look: str = ""
    children: "Sequence[Shape | str]" = field(default=())
    href: str = ""
    outside: str = ""
    copy: str = ""
    title: str = ""

    def as_data(self) -> dict[str, Any]:
        """The node as the script reads it."""
        children = [child if isinstance(child, str) else child.as_data() for child in self.children]
        extras = {"href": self.href, "outside": self.outside, "copy": self.copy, "title": self.title}
        return {"tag": self.tag, "look": self.look, "children": children} | {k: v for k, v in extras.items() if v}


def text_of(shape: "Shape | str") -> str:
    """All texts of nodes in reading order, for tests and for copying."""
    if isinstance(shape, str):
        return shape
    return "".join(map(text_of, shape.children)) if isinstance(shape, Node) else ""
