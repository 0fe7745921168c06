"""The guide's page of real defects, made of what the tests showed: `python tests/before/defect_page.py`.

`NOCLOBBER_DEFECTS=tests/before/results nox -s defects` measures; each defect has a file of its own there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from defect_table import DEFECTS, Defect

__all__ = ["PAGE", "RESULTS", "Shown", "page", "shown_in"]

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[2] / "docs" / "guide" / "defects.md"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a defect's test showed.

    Attributes:
        name: of its program. version: of its library. found_in: the run of chaos that brought it out.
        forced_in: the try of `confirm` that forced it. latent: whether from what a lucky run foretold.
        mended_runs: of the mended program, without a finding.
        held: how often strands were held in those.
    """

    name: str
    version: str
    found_in: int
    forced_in: int
    latent: bool
    mended_runs: int
    held: int

    def json(self) -> str:
        """As a file holds it."""
        return json.dumps(asdict(self), indent=1) + "\n"


def shown_in(folder: Path = RESULTS) -> dict[str, Shown]:
    """What was shown last, by the defect's name."""
    found = [Shown(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    return {each.name: each for each in found}


def page(shown: Mapping[str, Shown]) -> str:
    """The page, as Markdown."""
    rows = "\n".join(_row(defect, shown[defect.name]) for defect in DEFECTS)
    return _PAGE.format(rows=rows)


def _row(defect: Defect, shown: Shown) -> str:
    reports = ", ".join(f"[{name}](https://github.com/{_path(name)})" for name in defect.reports)
    library = _LABELS.get(defect.library, "{library} {version}").format(library=defect.library, version=shown.version)
    cells = (
        reports, library, f"[{defect.kind}](kinds.md)", defect.lost, str(shown.found_in),
        f"{shown.forced_in} ({'latent' if shown.latent else 'chaos'})", defect.fix,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


_LABELS = {"sqlite3": "sqlite3 of Python {version}", "noclobber": "objects in memory (`noclobber.tracked`)"}


def _path(report: str) -> str:
    repository, _, number = report.partition("#")
    return f"{repository}/issues/{number}"


_PAGE = """# Real defects, found before production

Twenty races that people have reported, each rebuilt from its report as a small program on the real library. Each
program is right as long as luck keeps its strands apart. [`noclobber chaos`](before-production.md#chaos) brought every
one out within 20 runs, [`noclobber confirm`](before-production.md#confirm) forced it within 5 tries, the test that it
wrote failed before the fix and passed after it, and the mended program yielded nothing in 20 runs under chaos.

*chaos* is the run that brought it out, *confirm* the try that forced it: from what a lucky run foretold (latent), or
from what chaos had brought out. The seeds are 1, 2, 3 and so on.

| report | library | finding | what is lost | chaos | confirm | fix |
|---|---|---|---|---|---|---|
{rows}

The programs are in `tests/before/programs`; one that stands for a service or a framework uses the store or the queue on
which the report's accesses meet. Run them with `nox -s defects`, those of agent frameworks with `nox -s frameworks`.
This page is made of what that showed, by `tests/before/defect_page.py`.
"""

if __name__ == "__main__":
    PAGE.write_text(page(shown_in()))
