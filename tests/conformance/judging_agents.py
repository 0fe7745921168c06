"""What tests of whole agents share: run a program under `noclobber run`, check its spans, judge them by the command."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rounds import sanity

from noclobber.cli import main
from noclobber_analyzer.conformance.record import breaches_of
from noclobber_analyzer.conformance.rules import RULES
from noclobber_analyzer.conformance.wire import read_wire

__all__ = ["AGENTS", "Judged", "judged"]

AGENTS = Path(__file__).parent / "agents"
TIMEOUT_S = 60
LEFT_OPEN = ("read without version", "overlaps itself", "has two agents")
"""What the checker insists on in histories, and the contract does not: a look at a part of a list has no version, the
commands of one pipeline are accesses of one time, and a worker's line receives before it acts as a handler."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the agents printed, and what `noclobber check` says of them.

    Attributes:
        printed: standard output. findings, summary: as `--format json` gives them. spans: the file's text.
    """

    printed: str
    findings: list[dict[str, Any]]
    summary: dict[str, Any]
    spans: str

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Kind and certainty of each finding."""
        return [(each["kind"], each["certainty"]) for each in self.findings]


def judged(file: Path, program: str, *words: str, scope: str, partial: int = 0) -> Judged:
    """Run `program`, whose spans are of `scope`, then `noclobber check`.

    Args:
        file: where its spans go.
        program: name of a file in the agents' folder; it may name neither noclobber nor anything of it.
        words: its arguments.
        scope: library that must stand in a span's scope.
        partial: how many accesses are told as partial.
    """
    assert "import noclobber" not in (AGENTS / program).read_text()
    agent = _run("run", "--file", str(file), "--file-only", "--", sys.executable, str(AGENTS / program), *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    spans = file.read_text()
    assert f'"noclobber.{scope}"' in spans
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["check", "--format", "json", str(file)])
    *findings, last = [json.loads(line) for line in out.getvalue().splitlines()]
    assert code == (1 if findings else 0)
    assert last["summary"]["coverage"] == {"lost_spans": 0, "partial": partial}
    _conforms(file)
    return Judged(agent.stdout, findings, last["summary"], spans)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "noclobber.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def _conforms(file: Path) -> None:
    """Each span is as the contract says, by our own kit, and by an independent reading of it where that is at hand."""
    broken = [breach for breach in breaches_of(read_wire([str(file)])) if RULES[breach.rule].must]
    assert broken == []
    checker = sanity()
    if checker is not None:
        problems, _ = checker.read(str(file))
        assert [each for each in problems if not each.endswith(LEFT_OPEN)] == []
