"""Real defects, made small, on the real libraries: chaos finds them, confirm forces them, a test holds them down."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from racing_programs import Program

from noclobber.cli import main
from noclobber_analyzer.report.json_lines import read_json_lines

DEFECTS = {
    "accounts": "lost_update",
    "tickets": "double_claim",
    "memories": "lost_update",
    "editors": "lost_update",
    "plans": "lost_update",
}
RUNS, TRIES = 20, 5


def pytest_passes(file: Path) -> bool:
    """Whether the tests in `file` pass, in a fresh process."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=file.parent)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 0


def latent_finding(command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, Path]:
    """What one lucky run shows: the id of the latent finding, and the file that it stands in."""
    spans, found = folder / "lucky.jsonl", folder / "latent.json"
    for _ in range(5):  # luck may fail
        spans.unlink(missing_ok=True)
        run = [sys.executable, "-m", "noclobber.cli", "run", "--file", str(spans), "--file-only", "--", *command]
        subprocess.run(run, check=True, timeout=60)
        main(["check", "--latent", "--format", "json", str(spans)])
        found.write_text(capsys.readouterr().out)
        latent = [finding.id for finding in read_json_lines(found) if not finding.manifest]
        if latent:
            return latent[0], found
    raise AssertionError("nothing latent in five runs")


@pytest.mark.long
@pytest.mark.parametrize("name", DEFECTS)
def test_defect(
    name: str, program: Program, valkey: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found within 20 runs of chaos, forced within 5, held down by the test; the mended program yields nothing."""
    command = program(name, valkey)
    for variable, value in program.environment().items():
        monkeypatch.setenv(variable, value)
    assert main(["chaos", "--seed", "1", "--runs", str(RUNS), "--", *command]) == 1
    printed = capsys.readouterr().out
    assert re.search(rf"1 {DEFECTS[name]}", printed)

    identity, found = latent_finding(command, program.folder, capsys)
    written = program.folder / "test_race.py"
    words = ["confirm", identity, "--from", str(found), "--tries", str(TRIES), "--write-test", str(written)]
    assert main([*words, "--", *command]) == 1
    assert "confirmed in try" in capsys.readouterr().out

    assert not pytest_passes(written)
    program.mend()
    assert pytest_passes(written)
    assert main(["chaos", "--seed", "1", "--runs", str(RUNS), "--", *command]) == 0
    assert main([*words, "--", *command]) == 0
    assert "not reproduced in 5 tries" in capsys.readouterr().out


@pytest.mark.long
def test_processes_are_steered(program: Program, valkey: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two programs that one command starts come into the losing order, too; mended they can't."""
    command = program("offices", valkey)
    identity, found = latent_finding(command, program.folder, capsys)
    words = ["confirm", identity, "--from", str(found), "--wait", "20", "--", *command]
    assert main(words) == 1
    assert "confirmed in try" in capsys.readouterr().out
    program.mend()
    assert main(words) == 0
