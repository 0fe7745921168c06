"""The guide is true: every kind, command, setting and integration stands in it."""

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from noclobber.bootstrap.registry import INTEGRATIONS
from noclobber_analyzer.alerts.routes import Format, routes_from
from noclobber_analyzer.kinds import KINDS
from noclobber_collector.metrics import COLLECTOR
from noclobber_sidecar.engine_metrics import ENGINE

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide"
PARTS = ("instrumentation", "collector", "analyzer", "dashboard", "deploy")
INTERNAL = {"NOCLOBBER_PROGRAM", "NOCLOBBER_PHASES", "NOCLOBBER_STEER"}
"""Set by one process of noclobber, or by its tests, for another, never by a person."""


def test_every_kind_is_documented_as_it_is() -> None:
    """Title, definition and source of each kind, word for word, and whether a real store has shown it."""
    page = (GUIDE / "kinds.md").read_text()
    for kind, facts in KINDS.items():
        shown = "" if facts.shown_from_store else " (experimental)"
        assert f"| `{kind}`{shown} | {facts.definition} | {facts.source} |" in page, kind


def test_the_readme_names_every_kind_that_a_store_has_shown() -> None:
    """Nobody has to look further to learn what it finds."""
    listed = (ROOT / "README.md").read_text().split("## What it finds")[1].split("## How it works")[0]
    named = {each.strip() for each in re.split(r"[,|\n]", listed)}
    assert {facts.title for facts in KINDS.values() if facts.shown_from_store} - named == set()


def test_every_command_is_documented() -> None:
    """Each command that is installed."""
    page = (GUIDE / "commands.md").read_text()
    names = {entry.name for entry in entry_points(group="noclobber.commands")}
    assert {name for name in names if not re.search(rf"`(noclobber )?{name}\b", page)} == set()


def test_every_variable_is_documented() -> None:
    """Each variable that the code reads, and none that it does not."""
    read = set()
    for part in PARTS:
        for file in (ROOT / part).rglob("*.py"):
            read |= set(re.findall(r"NOCLOBBER_[A-Z][A-Z_]*[A-Z]", file.read_text()))
    told = set(re.findall(r"NOCLOBBER_[A-Z][A-Z_]*[A-Z]", (GUIDE / "settings.md").read_text()))
    assert told == read - INTERNAL


def test_the_alerts_of_the_guide_are_routes() -> None:
    """The example is read as settings are, and every format stands on the page."""
    page = (GUIDE / "alerts.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert [str(route.format) for route in routes_from(tomllib.loads(block)["alert"], {})] == [
        "pagerduty", "slack", "email", "otlp",
    ]  # fmt: skip
    assert [style for style in Format if f"`{style}`" not in page] == []


def test_every_metric_is_documented_as_it_is() -> None:
    """Its row in the guide is the row of its table."""
    page = (GUIDE / "metrics.md").read_text()
    rows = {row.name: row for row in (*COLLECTOR, *ENGINE)}
    for row in rows.values():
        label = f" by {row.label}" if row.label else ""
        assert f"| `{row.name}`{label} | {row.kind} | {row.unit} | {row.help} | {row.source} |" in page, row.name
    assert set(re.findall(r"^\| `(noclobber_\w+)`", page, re.MULTILINE)) == rows.keys()


def test_every_integration_has_its_row() -> None:
    """Each library that is hooked."""
    page = (GUIDE / "integrations.md").read_text().lower()
    assert [name for name in INTEGRATIONS if name not in page] == []


def test_the_readmes_two_commands_are_as_promised() -> None:
    """They stand alone on their lines, so that continuous integration can run them."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "pip install '.[demo]' && noclobber demo" in lines
    assert "pip install -e '.[test]' && pytest" in lines


def test_nothing_was_left_of_a_merge() -> None:
    """No page holds both sides of a conflict."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    marks = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
    assert [str(page) for page in pages if marks.search(page.read_text())] == []


@pytest.mark.parametrize("page", sorted(GUIDE.glob("*.md")), ids=lambda path: path.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link."""
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
