"""Code for people to read and to copy: coloured by what its words are, with a button.

Streamlit's own block of code brings a highlighter of 1.5 MB with it, which a browser has to read before it shows the
rest of the page.

Source: Pygments, "Write your own formatter" (token types and their subtypes).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from noclobber_dashboard.components.prose import Node

__all__ = ["coloured"]

LENGTH_MAX: Final = 20_000
"""Characters that are coloured; more would take long, and nobody wrote it."""
LOOKS: Final = {"Comment": "c-quiet", "Keyword": "c-word", "String": "c-text", "Number": "c-number"}
"""Class of `prose.css` by Pygments' token type; its subtypes, too. All other code is as the page's text is."""


def coloured(code: str, language: str) -> Node:
    """A block of code, in a `language` that Pygments knows by this name."""
    parts = _parts(code, language) if len(code) <= LENGTH_MAX else [code]
    button = Node("button", copy=code, children=("copy",))
    return Node("div", "codeblock", (Node("pre", children=parts), button))


@lru_cache(64)
def _parts(code: str, language: str) -> list[Node | str]:
    return [Node("span", look, (text,)) if look else text for look, text in _runs(code, language)]


def _runs(code: str, language: str) -> Iterator[tuple[str, str]]:
    """Pieces of the code in order, each with its class: together they are the code."""
    from pygments.lexers import get_lexer_by_name

    before, texts = "", ""
    for _, kind, text in get_lexer_by_name(language).get_tokens_unprocessed(code):
        look = next((look for name, look in LOOKS.items() if name in tuple(kind)), "")
        if look != before and texts:
            yield before, texts
            texts = ""
        before, texts = look, texts + text
    if texts:
        yield before, texts
