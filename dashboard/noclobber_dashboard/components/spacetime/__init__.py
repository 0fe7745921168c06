"""The space-time diagram as a Streamlit component: own SVG, no dependency, nothing fetched.

Python cuts and lays out (`slices`, `layout`, `diagram`); the script beside this file only draws, scrolls, zooms and
answers the mouse and the keyboard. Untrusted text reaches it as data and is set by `textContent`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["spacetime"]

_HERE: Final = Path(__file__).parent


@cache
def _component() -> Callable[..., Any]:
    import streamlit as st

    css, js = ((_HERE / name).read_text("utf-8") for name in ("spacetime.css", "spacetime.js"))
    mount: Callable[..., Any] = st.components.v2.component(
        "noclobber_spacetime", html='<div class="spacetime"></div>', css=css, js=js
    )
    return mount


def spacetime(data: dict[str, Any], key: str) -> None:
    """Draw a diagram (`diagram.diagram_data`) here."""
    _component()(data=data, key=key)
