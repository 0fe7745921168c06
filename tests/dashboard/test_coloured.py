"""Code is coloured, and stays what it is."""

import pytest

from noclobber_dashboard.coloured import LENGTH_MAX, LOOKS, coloured
from noclobber_dashboard.components.prose import Node, text_of

PYTHON = 'from noclobber import guarded\n\nwith guarded("redis:*"):  # asks first\n    client.incrby(key, 50)\n'
SQL = "-- one statement\nUPDATE accounts SET balance = balance + 50 WHERE id = 42;"


def block_of(node: Node) -> Node:
    block, button = node.children
    assert isinstance(block, Node)
    assert isinstance(button, Node)
    assert button.copy == text_of(block)
    return block


@pytest.mark.parametrize(
    ("code", "language"),
    [(PYTHON, "python"), (SQL, "sql"), ("\n\n  odd\t\r\nends", "python"), ("", "sql"), ("\u202e<b>`'\"\x07", "python")],
)
def test_not_a_character_is_changed(code: str, language: str) -> None:
    """Nor on the way to the clipboard."""
    assert text_of(block_of(coloured(code, language))) == code


@pytest.mark.parametrize(
    ("code", "language", "found"),
    [
        (PYTHON, "python", {"from": "Keyword", '"redis:*"': "String", "# asks first": "Comment", "50": "Number"}),
        (SQL, "sql", {"UPDATE": "Keyword", "-- one statement\n": "Comment", "42": "Number"}),
    ],
)
def test_words_look_as_what_they_are(code: str, language: str, found: dict[str, str]) -> None:
    """Keywords, texts, numbers and comments apart."""
    looks = {text_of(part): part.look for part in block_of(coloured(code, language)).children if isinstance(part, Node)}
    assert {text: looks.get(text) for text in found} == {text: LOOKS[kind] for text, kind in found.items()}


def test_what_nobody_wrote_is_not_coloured() -> None:
    """Too long to be advice."""
    assert block_of(coloured("x = 1\n" * LENGTH_MAX, "python")).children == ["x = 1\n" * LENGTH_MAX]
