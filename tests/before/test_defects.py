"""Real defects, made small, on the real libraries: chaos finds them, confirm forces them, a test holds them down."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from defect_page import PAGE, Shown, page, shown_in
from defect_table import DEFECTS, SAMPLE, Defect
from racing_programs import Program

from noclobber.cli import main
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.json_lines import read_json_lines

RUNS, TRIES, MENDED_RUNS = 20, 5, 20
ROUNDS = Path(__file__).with_name("mended_rounds.py")
RESULTS = os.environ.get("NOCLOBBER_DEFECTS", "")
"""Folder for what is shown here; the page in the guide is made of it (`defect_page`)."""


def _is_there(module: str) -> bool:
    """Whether a module can be imported; "" always."""
    try:
        return not module or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


Places = Callable[[tuple[str, ...]], list[str]]
EACH = [
    pytest.param(
        defect,
        id=defect.name,
        marks=pytest.mark.skipif(
            not _is_there(defect.module),
            reason=f"{defect.library} is not installed: `nox -s {defect.where}`",
        ),
    )
    for defect in DEFECTS
]


class Race:
    """A defect's program, and what is done to it."""

    def __init__(self, defect: Defect, program: Program, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
        self.defect, self.program, self._capsys = defect, program, capsys
        self.command = program(defect.name, places(defect.words))
        self.written = program.folder / "test_race.py"
        self._found = program.folder / "found.jsonl"

    def chaos(self) -> int:
        """In which run chaos brought the race out."""
        words = ["chaos", "--seed", "1", "--runs", str(RUNS), "--findings", str(self._found), "--", *self.command]
        code, printed = self._said(words)
        assert code == 1, printed
        assert re.search(rf"\d {self.defect.kind}\b", printed), printed
        return len(re.findall(r"^seed \d+: exit", printed, re.MULTILINE))

    def foretold(self) -> Finding:
        """What a lucky run foretells; where none does, what chaos brought out."""
        found = read_json_lines(self._found) if self._found.exists() else []
        spans = self.program.folder / "lucky.jsonl"
        for _ in range(TRIES if self.defect.latent else 0):  # luck may fail, on a busy machine each time
            spans.unlink(missing_ok=True)
            words = [sys.executable, "-m", "noclobber.cli", "run", "--file", str(spans), "--file-only", "--"]
            subprocess.run([*words, *self.command], check=True, timeout=60)
            _, printed = self._said(["check", "--latent", "--format", "json", str(spans)])
            self._found.write_text(printed)
            for each in read_json_lines(self._found):
                if not each.manifest and each.kind == self.defect.kind:
                    return each
        self._found.write_text("".join(f"{each.to_json()}\n" for each in found))
        return next(each for each in found if each.kind == self.defect.kind)

    def confirm(self, finding: Finding, wait_s: float = 1.0) -> int | None:
        """In which try it was forced; None: it could not be."""
        words = ["confirm", finding.id, "--from", str(self._found), "--tries", str(TRIES), "--wait", str(wait_s)]
        code, printed = self._said([*words, "--write-test", str(self.written), "--", *self.command])
        forced = re.search(r"confirmed in try (\d+)", printed)
        assert code == (1 if forced else 0), printed
        assert forced or f"not reproduced in {TRIES} tries" in printed
        return int(forced[1]) if forced else None

    def test_passes(self) -> bool:
        """Whether the test that was written passes, in a fresh process."""
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", str(self.written)]
        (self.program.folder / "pytest.ini").write_text("[pytest]\n")  # whatever lies above
        bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=300, check=False, cwd=self.program.folder, env=bare
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert done.returncode == 0 or "brought about in run" in done.stdout, done.stdout
        return done.returncode == 0

    def rounds(self, runs: int) -> dict[str, Any]:
        """What comes of so many runs under chaos, in one process."""
        words = [sys.executable, str(ROUNDS), "1", str(runs), *self.command[1:]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60 + 10 * runs, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert told["accesses"] > 0
        return told

    def _said(self, words: list[str]) -> tuple[int, str]:
        self._capsys.readouterr()
        code = main(words)
        return code, self._capsys.readouterr().out


@pytest.fixture
def race_of(
    program: Program, places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Defect], Race]:
    """The race that a defect is."""
    for variable, value in program.environment().items():
        monkeypatch.setenv(variable, value)
    return lambda defect: Race(defect, program, places, capsys)


def test_sample(race_of: Callable[[Defect], Race]) -> None:
    """In short: found, forced, mended."""
    race = race_of(SAMPLE)
    assert race.chaos() <= RUNS
    assert race.confirm(race.foretold()) is not None
    race.program.mend()
    assert race.rounds(3)["findings"] == []


@pytest.mark.long
@pytest.mark.parametrize("defect", EACH)
def test_defect(defect: Defect, race_of: Callable[[Defect], Race]) -> None:
    """Found within 20 runs of chaos, forced within 5, held down by the test; mended it yields nothing in 20 runs."""
    race = race_of(defect)
    found_in = race.chaos()
    finding = race.foretold()
    forced_in = race.confirm(finding)
    assert forced_in is not None
    assert not race.test_passes()
    race.program.mend()
    assert race.test_passes()
    told = race.rounds(MENDED_RUNS)
    assert told["findings"] == []
    version, latent = _version(defect.library), not finding.manifest
    _keep(Shown(defect.name, version, found_in, forced_in, latent, told["runs"], told["held"]))


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("defect", EACH)
def test_two_hundred_mended_runs(defect: Defect, race_of: Callable[[Defect], Race]) -> None:
    """No finding in 200 runs of what was mended."""
    race = race_of(defect)
    race.program.mend()
    assert race.rounds(200)["findings"] == []


def _version(library: str) -> str:
    return platform.python_version() if library == "sqlite3" else importlib.metadata.version(library)


def _keep(shown: Shown) -> None:
    if RESULTS:
        Path(RESULTS).mkdir(parents=True, exist_ok=True)
        (Path(RESULTS) / f"{shown.name}.json").write_text(shown.json())


@pytest.mark.long
def test_processes_are_steered(program: Program, race_of: Callable[[Defect], Race]) -> None:
    """Two programs that one command starts come into the losing order, too; mended they can't."""
    offices = Defect("offices", (), "lost_update", "an amount", "the server adds", "redis", ("{valkey}",))
    race = race_of(offices)
    finding = race.foretold()
    assert race.confirm(finding, wait_s=20.0) is not None
    program.mend()
    assert race.confirm(finding, wait_s=20.0) is None


def test_programs_know_nothing_of_noclobber() -> None:
    """They are what somebody else wrote; the one that keeps its state to itself must say so."""
    for defect in DEFECTS:
        text = (Path(__file__).parent / "programs" / f"{defect.name}.py").read_text()
        assert ("import noclobber" in text or "from noclobber" in text) == (defect.library == "noclobber")
        assert all(report.rpartition("#")[2] in text for report in defect.reports)


def test_page_is_of_the_results() -> None:
    """The guide's table is what was measured, of every defect."""
    assert len(DEFECTS) == 20
    assert PAGE.read_text() == page(shown_in())
