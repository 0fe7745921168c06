"""The fenced blocks of README and guide, as whoever follows them finds them: page by page, in order."""

import re
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["GUIDE", "PAGES", "ROOT", "Block", "blocks"]

ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = ROOT / "docs" / "guide"
PAGES: Final = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
FENCED: Final = re.compile(r"^```(?P<kind>[^\n{]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS: Final = ("python", "js")
NAMED: Final = re.compile(r"(?:#|//) (\S+\.(?:py|mjs))\n")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    kind: str
    text: str

    @property
    def file(self) -> str | None:
        """The name under which a reader saves it, where it is a program that says one."""
        named = NAMED.match(self.text) if self.kind in PROGRAMS else None
        return named[1] if named else None


def blocks(page: Path) -> list[Block]:
    """All of a page."""
    return [Block(page, found["kind"].strip(), found["text"]) for found in FENCED.finditer(page.read_text())]
