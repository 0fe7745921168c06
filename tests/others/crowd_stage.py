"""Crowds on others' libraries: run under `noclobber run`, checked, and held against the table of what was judged.

The table stands in docs/guide/others.md, one row for each kind of finding: what is found and stands in no row fails.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

__all__ = ["ACCESSES_MIN", "Crowd", "Row", "crowd", "judged", "unjudged"]

PROGRAMS = Path(__file__).parent / "programs"
TABLE = Path(__file__).parents[2] / "docs" / "guide" / "others.md"
TIMEOUT_S = 240
ACCESSES_MIN = 1000
QUIET = {
    "NOCLOBBER_RERAISE": "1", "OPENAI_API_KEY": "none", "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_DISABLE_TRACKING": "true", "MEM0_TELEMETRY": "false",
    "ANONYMIZED_TELEMETRY": "false", "OTEL_SDK_DISABLED": "true", "PYTHONWARNINGS": "ignore",
}  # fmt: skip
"""No library calls home from here."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: which findings it judges, and how."""

    where: str
    kind: str
    certainty: str
    resource: str
    judged: str

    def speaks_of(self, where: str, finding: dict[str, Any]) -> bool:
        """Whether this row judges a finding."""
        return (
            self.where == where
            and self.kind == finding["kind"]
            and self.certainty == finding["certainty"]
            and fnmatch(finding["resource"], self.resource)
        )


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a crowd did.

    Attributes:
        output: what it printed, by lines. findings, summary: of `noclobber check`.
    """

    output: list[str]
    findings: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def sure(self) -> list[tuple[str, str]]:
        """Kind and certainty of what is certain or likely."""
        return sorted((each["kind"], each["certainty"]) for each in self.findings if each["certainty"] != "possible")


def judged() -> list[Row]:
    """The table."""
    lines = [line.split("|")[1:-1] for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    return [Row(*(cell.strip().strip("`") for cell in cells[:5])) for cells in lines if len(cells) == 6]


def unjudged(where: str, findings: list[dict[str, Any]]) -> list[str]:
    """What was found and stands in no row, or in one that calls it false although it was called sure."""
    problems = []
    for finding in findings:
        rows = [row for row in judged() if row.speaks_of(where, finding)]
        if not rows or (rows[0].judged != "true" and finding["certainty"] != "possible"):
            problems.append(f"{finding['kind']} {finding['certainty']} {finding['resource']}: {finding['explanation']}")
    return problems


def crowd(folder: Path, program: str, *words: str, overlay: str | None = None) -> Crowd:
    """Run `program`, with another version of a library laid over what is installed where `overlay` says so."""
    file = folder / "spans.jsonl"
    for name in ("state", "crewai", "mem0"):
        (folder / name).mkdir()
    path = os.pathsep.join(filter(None, (overlay, os.environ.get("PYTHONPATH"))))
    environment = {
        **os.environ, **QUIET, "PYTHONPATH": path, "MEM0_DIR": str(folder / "mem0"),
        "CREWAI_STORAGE_DIR": str(folder / "crewai"),
    }  # fmt: skip
    command = (sys.executable, str(PROGRAMS / f"{program}.py"), *words, str(folder / "state"))
    ran = _run(environment, "run", "--file", str(file), "--file-only", "--", *command)
    assert ran.returncode == 0, ran.stderr[-3000:]
    checked = _run(environment, "check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in checked.stdout.splitlines()]
    assert checked.stderr == ""
    assert "noclobber" not in (PROGRAMS / f"{program}.py").read_text().replace("knows of noclobber", "")
    return Crowd(ran.stdout.splitlines(), findings, last["summary"])


def _run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "noclobber.cli", *words),
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment,
    )  # fmt: skip
