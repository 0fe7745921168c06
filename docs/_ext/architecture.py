"""What the code consists of and who imports whom, drawn from the code itself when the site is built.

Nothing is imported: files are read, their imports counted, and their first sentences quoted. So the page cannot fall
behind, and a part that began to import upwards would be seen as an arrow that points up. The order of the parts is the
one that `lint-imports` holds the code to.
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS: Final = Path(__file__).parents[1]
ROOT: Final = DOCS.parent
BAND, GAP, WIDTH, BOXES_MAX = 104, 30, 980, 700
"""Sizes of the picture; boxes lie left, arrows right of them."""
ROW, LETTER, LANE = 26, 7.1, 34


@dataclass
class Part:
    """One of the packages.

    Attributes:
        name: as it is imported. folder: where it lies.
        first: its first sentence. units: its own packages, with theirs.
        modules: how many files. imports: by part, how often. libraries: of others, how often.
    """

    name: str
    folder: Path
    first: str
    units: dict[str, str] = field(default_factory=dict)
    modules: int = 0
    imports: Counter[str] = field(default_factory=Counter)
    libraries: Counter[str] = field(default_factory=Counter)


class Arrow(NamedTuple):
    """One part imports another, so often."""

    above: str
    below: str
    count: int


def setup(app: "Sphinx") -> dict[str, bool]:
    """Make page and picture when a build begins."""
    app.connect("builder-inited", lambda _: write_all())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_all() -> None:
    """Write the page and its picture."""
    folder = DOCS / "architecture"
    folder.mkdir(exist_ok=True)
    found = parts()
    for name, text in (("index.md", page(found)), ("parts.svg", picture(found))):
        file = folder / name
        if not file.exists() or file.read_text() != text:  # else the builder would take it for new
            file.write_text(text)


def parts() -> list[Part]:
    """All parts, the one that nobody imports first."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    folders = {Path(each).name: ROOT / each for each in tool["hatch"]["build"]["targets"]["wheel"]["packages"]}
    names = tool["importlinter"]["contracts"][0]["layers"]
    return [_part(name, folders[name], frozenset(names)) for name in names]


def _part(name: str, folder: Path, names: frozenset[str]) -> Part:
    part = Part(name, folder, _first(folder / "__init__.py"))
    for file in sorted(folder.rglob("*.py")):
        part.modules += 1
        inside = file.relative_to(folder).parts
        if len(inside) == 2 and inside[1] == "__init__.py":
            part.units[inside[0]] = _first(file)
        for other in _imported(ast.parse(file.read_text())):
            if other in names and other != name:
                part.imports[other] += 1
            elif other not in names and other not in sys.stdlib_module_names:
                part.libraries[other] += 1
    return part


def _first(file: Path) -> str:
    """The first sentence of a module."""
    text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
    return re.split(r"(?<=[.?!]) ", text)[0]


def _imported(tree: ast.Module) -> Iterator[str]:
    """Top names of what is imported, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def page(found: list[Part]) -> str:
    """The page, in Markdown."""
    text = [
        "# How the code is built",
        "Five parts that import one way only: who stands higher may import who stands lower, never the other way round "
        "(`nox -s layers` holds them to it). Agents install the lowest one alone. The picture, the numbers and the "
        "sentences are taken from the code when this page is built.",
        "![Parts and their imports](parts.svg)",
    ]
    for part in found:
        below = ", ".join(f"`{name}` ({count})" for name, count in part.imports.most_common()) or "none of the others"
        others = ", ".join(f"`{name}`" for name in sorted(part.libraries)) or "none"
        rows = "\n".join(f"| `{name}` | {first} |" for name, first in part.units.items())
        where = part.folder.relative_to(ROOT)
        text.append(
            f"## {part.name}\n\n`{where}`, {part.modules} modules. {part.first}\n\n| package | |\n|---|---|\n{rows}\n\n"
            f"Imports {below}. Libraries of others: {others}."
        )
    return "\n\n".join(text) + "\n"


def picture(found: list[Part]) -> str:
    """All parts as bands, their packages in them, and an arrow for each pair that imports."""
    bands, drawn, top = {}, [], GAP
    for part in found:
        body, height = _band(part, top)
        bands[part.name] = (top, height)
        drawn += body
        top += height + GAP
    arrows = [Arrow(part.name, other, count) for part in found for other, count in part.imports.items()]
    arrows.sort(key=lambda arrow: bands[arrow.below][0] - bands[arrow.above][0])  # the longest lie outside
    ports = _ports(arrows, bands)
    for number, arrow in enumerate(arrows):
        drawn.append(_line(ports[arrow, True], ports[arrow, False], BOXES_MAX + 44 + number * LANE, arrow.count))
    width = max(WIDTH, BOXES_MAX + 44 + len(arrows) * LANE)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img" '
        'font-family="system-ui, sans-serif"><title>Parts of noclobber and their imports</title><defs>'
        '<marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5b6472"/></marker></defs>'
        f'<rect width="{width}" height="{top}" fill="#ffffff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _ports(arrows: list[Arrow], bands: dict[str, tuple[int, int]]) -> dict[tuple[Arrow, bool], float]:
    """Where each arrow leaves (True) and arrives: those that arrive above, each at a height of its own."""
    ports = {}
    for name, (top, height) in bands.items():
        here = [(arrow, False) for arrow in reversed(arrows) if arrow.below == name]
        here += [(arrow, True) for arrow in arrows if arrow.above == name]
        for number, port in enumerate(here, 1):
            ports[port] = top + height * number / (len(here) + 1)
    return ports


def _band(part: Part, top: int) -> tuple[list[str], int]:
    """A part with its packages as boxes, in as many rows as they need."""
    boxes, left, row = [], 30.0, 0
    for name in part.units:
        wide = len(name) * LETTER + 20
        if left + wide > BOXES_MAX - 10:
            left, row = 30.0, row + 1
        y = top + 58 + row * (ROW + 6)
        boxes.append(
            f'<rect x="{left:.0f}" y="{y}" width="{wide:.0f}" height="{ROW}" rx="4" fill="#ffffff" stroke="#9aa4b2"/>'
            f'<text x="{left + wide / 2:.0f}" y="{y + 17}" font-size="13" text-anchor="middle">{escape(name)}</text>'
        )
        left += wide + 8
    height = BAND + row * (ROW + 6)
    frame = f'<rect x="16" y="{top}" width="{BOXES_MAX}" height="{height}" rx="8" fill="#eef2f7" stroke="#5b6472"/>'
    title = (
        f'<text x="30" y="{top + 24}" font-size="16" font-weight="600">{escape(part.name)}</text>'
        f'<text x="{BOXES_MAX}" y="{top + 24}" font-size="12" text-anchor="end">{part.modules} modules</text>'
        f'<text x="30" y="{top + 44}" font-size="12" fill="#3b4350">{escape(_cut(part.first))}</text>'
    )
    return [frame, title, *boxes], height


def _cut(text: str, most: int = 105) -> str:
    return text if len(text) <= most else text[: most - 1].rsplit(" ", 1)[0] + " ..."


def _line(start: float, end: float, lane: int, count: int) -> str:
    """From one height to another, in a lane of its own beside the bands, with the number of imports on it."""
    edge, turn = BOXES_MAX + 16, lane - 8
    path = (
        f"M{edge},{start:.0f} H{turn} Q{lane},{start:.0f} {lane},{start + 8:.0f} V{end - 8:.0f} "
        f"Q{lane},{end:.0f} {turn},{end:.0f} H{edge + 2}"
    )
    return (
        f'<path d="{path}" fill="none" stroke="#5b6472" stroke-width="1.5" marker-end="url(#to)"/>'
        f'<rect x="{lane - 13}" y="{start + 14:.0f}" width="26" height="16" fill="#ffffff"/>'
        f'<text x="{lane}" y="{start + 26:.0f}" font-size="12" text-anchor="middle">{count}</text>'
    )
