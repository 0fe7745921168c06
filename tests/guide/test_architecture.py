"""The site's page of the code is of this code: all parts and packages, and the imports between them, none upwards."""

import re
from xml.etree import ElementTree as ET

import architecture
import pytest
from architecture import Part

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def found() -> list[Part]:
    """Read once."""
    return architecture.parts()


def test_every_part_and_package_is_drawn_and_told(found: list[Part]) -> None:
    """As they lie on the disk."""
    page, words = architecture.page(found), texts(found)
    for part in found:
        packages = {each.parent.name for each in part.folder.glob("*/__init__.py")}
        assert packages == part.units.keys()
        assert packages | {part.name, f"{part.modules} modules"} <= set(words)
        assert all(f"| `{name}` | {first} |" in page and first for name, first in part.units.items())


def test_arrows_are_the_imports_and_point_down(found: list[Part]) -> None:
    """One for each pair, with its count; the lowest part imports none of the others."""
    order = [part.name for part in found]
    pairs = [(part.name, other) for part in found for other in part.imports]
    assert all(order.index(above) < order.index(below) for above, below in pairs)
    assert not found[-1].imports
    root = ET.fromstring(architecture.picture(found))
    assert len([each for each in root.iter(f"{SVG}path") if each.get("marker-end")]) == len(pairs)
    counts = [str(count) for part in found for count in part.imports.values()]
    assert sorted(word for word in texts(found) if re.fullmatch(r"\d+", word)) == sorted(counts)


def test_nothing_lies_outside_the_picture(found: list[Part]) -> None:
    """Boxes inside their band, bands and lanes inside the whole."""
    root = ET.fromstring(architecture.picture(found))
    _, _, width, height = map(float, str(root.get("viewBox")).split())
    for each in root.iter(f"{SVG}rect"):
        x, y, wide, high = (float(each.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert x + wide <= width
        assert y + high <= height
    assert all(float(str(each.get("x"))) < width for each in root.iter(f"{SVG}text"))


def texts(found: list[Part]) -> list[str]:
    root = ET.fromstring(architecture.picture(found))
    return [str(each.text) for each in root.iter(f"{SVG}text")]
