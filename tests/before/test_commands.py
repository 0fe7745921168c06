"""`noclobber chaos` and `noclobber confirm` as they are typed."""

import json
from pathlib import Path

import pytest
from racing_programs import Program

from noclobber.cli import main


def test_chaos(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    """It stops at the first finding, says how to see it again, and reports what was held."""
    command, report = program("memories"), program.folder / "chaos.json"
    plan = program.folder / "plan.toml"
    plan.write_text("[[hold]]\nafter = 'read'\nchance = 1.0\nseconds = 0.5\n")
    words = ["chaos", "--plan", str(plan), "--seed", "7", "--runs", "3", "--report", str(report), "--", *command]
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "seed 7: exit 0" in printed
    assert "again: noclobber chaos --seed 7 --runs 1 -- python" in printed
    (run,) = json.loads(report.read_text())["runs"]
    assert [finding["kind"] for finding in run["findings"]] == ["lost_update"]
    held = [(each["op"], each["seconds"]) for each in run["injected"]]
    assert held == [("read", 0.5), ("read", 0.5)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chaos", "--plan", "none.toml", "--", "true"], "can't be read"),
        (["chaos", "--runs", "0", "--", "true"], "--runs is a number"),
        (["chaos", "--runs", "1", "--", "no-such-program"], "there is no program"),
        (["chaos", "--runs", "1", "--", "true"], "no access was captured"),
        (["confirm", "f1", "--from", "none.json", "--", "true"], "is no output of"),
        (["confirm", "f1", "--from", "manifest.json", "--", "true"], "has 1 strands in its witness"),
        (["confirm", "e9", "--from", "manifest.json", "--", "true"], "no findings begin with e9"),
    ],
)
def test_mistakes(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 2."""
    from made_findings import a_finding

    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifest.json").write_text(a_finding().to_json())
    assert main(words) == 2
    assert said in capsys.readouterr().err
