"""`noclobber check`: what is printed, the exit code that builds rely on, and clear words for unusable input."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from noclobber.cli import main
from noclobber.contract import Attr
from noclobber_analyzer.access import Access
from story import Story

RACE = "Arx1 Brx1 Awx2<1 Bwx3<1"
EXACT = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2"
CLEAN = "Arx1 Awx2<1 Brx2 Bwx3<2"


def otlp(accesses: Sequence[Access]) -> dict[str, object]:
    """Accesses as one OTLP/JSON request, the way an agent sends them."""
    process = accesses[0].process
    resource = {
        Attr.SERVICE_NAME: "agents", Attr.HOST_NAME: "host", Attr.PROCESS: process.id, Attr.CONTRACT: "1",
        Attr.CLOCK: process.clock, Attr.KEY_ID: process.key_id, Attr.CLOCK_OFFSET_NS: 0, Attr.PROCESS_PID: 1,
    }  # fmt: skip
    spans = [
        {
            "traceId": a.trace_id,
            "spanId": a.span_id,
            "name": f"{a.op} {a.system}",
            "startTimeUnixNano": str(a.start_ns),
            "endTimeUnixNano": str(a.end_ns),
            "attributes": _attributes(_said(a)),
        }
        for a in accesses
    ]
    scope = {"scope": {"name": "noclobber.redis"}, "spans": spans}
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}


def _said(a: Access) -> dict[str, object]:
    return {
        Attr.OP: a.op, Attr.RESOURCE: a.resource, Attr.SYSTEM: a.system, Attr.OUTCOME: a.outcome, Attr.AGENT: a.agent,
        Attr.STRAND: a.strand, Attr.SEQ: a.seq, Attr.VERSION_KIND: a.version_kind, Attr.VERSION_READ: a.read,
        Attr.VERSION_BASE: a.base, Attr.VERSION_BASE_SOURCE: a.base_source, Attr.VERSION_OVERWRITTEN: a.overwritten,
        Attr.VERSION_WRITTEN: a.written, Attr.CODE_FILE: "bank/agent.py", Attr.CODE_LINE: 31,
        Attr.CODE_FUNCTION: "withdraw",
    }  # fmt: skip


def _attributes(words: dict[str, object]) -> list[dict[str, object]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}}
        for key, value in words.items()
        if value is not None
    ]


@pytest.fixture
def write(tmp_path: Path):
    """Writes a story as a file; gives its path."""

    def make(story: str, name: str = "run.jsonl") -> str:
        path = tmp_path / name
        path.write_text(json.dumps(otlp(Story(step=False).accesses(story))) + "\n")
        return str(path)

    return make


@pytest.mark.parametrize(
    ("story", "words", "code"),
    [
        (RACE, (), 1),
        (CLEAN, (), 0),
        (RACE, ("--min-certainty", "certain"), 0),
        (EXACT, ("--min-certainty", "certain"), 1),
        (RACE, ("--fail-on", "critical"), 0),
        (RACE, ("--kinds", "fork"), 0),
        (RACE, ("--kinds", "fork,lost_update"), 1),
        ("Awx1 Bwx2", (), 0),
        ("Awx1 Bwx2", ("--kinds", "blind_overwrite", "--min-certainty", "possible"), 1),
    ],
)
def test_exit_code(write, story: str, words: tuple[str, ...], code: int) -> None:
    """1 where something is at or above the thresholds, 0 where nothing is."""
    assert main(["check", *words, write(story)]) == code


def test_json(write, capsys: pytest.CaptureFixture[str]) -> None:
    """One finding a line, the summary last, in the contract's words."""
    assert main(["check", "--format", "json", write(RACE)]) == 1
    finding, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (finding["kind"], finding["also"], finding["certainty"]) == ("lost_update", ["stale_write"], "likely")
    assert [access["role"] for access in finding["accesses"]] == ["reader", "stale_read", "victim", "overwriter"]
    assert {(edge["from"], edge["to"], edge["type"]) for edge in finding["edges"]} == {
        ("0000000000000001", "0000000000000003", "base"),
        ("0000000000000002", "0000000000000004", "base"),
        ("0000000000000003", "0000000000000004", "unordered"),
    }
    assert last == {
        "summary": {
            "accesses": 4, "resources": 1, "strands": 2, "findings": {"lost_update": 1}, "defended": {},
            "coverage": {"lost_spans": 0, "partial": 0}, "mixed_versions": [],
            "unknown": [
                "no frontier stands behind agents (pid 1): the end of the input was taken for the end of the record"
            ],
        }
    }  # fmt: skip


def test_text_says_it_in_a_sentence(write, capsys: pytest.CaptureFixture[str]) -> None:
    """Who, from which version, what was replaced, where in the code, what to change."""
    main(["check", write(RACE)])
    out = " ".join(capsys.readouterr().out.split())
    assert "`B` wrote `x` from version 1, read 2 ms earlier, but replaced version 2 that `A` had made" in out
    assert "at bank/agent.py:31 in withdraw" in out
    assert "fix: WATCH the key" in out


def test_names_cannot_paint_on_the_terminal(write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An agent that is named after an escape sequence is shown, not obeyed."""
    path = Path(write(RACE))
    path.write_text(path.read_text().replace('"stringValue": "A"', '"stringValue": "\\u001b[31mA"'))
    main(["check", str(path)])
    assert "\x1b" not in capsys.readouterr().out


def test_sarif_and_junit_and_github(write, capsys: pytest.CaptureFixture[str]) -> None:
    """Each format names the line of code that made the harming write."""
    path = write(RACE)
    main(["check", "--format", "sarif", path])
    result = json.loads(capsys.readouterr().out)["runs"][0]["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], result["level"]) == ("lost_update", "error")
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("bank/agent.py", 31)
    main(["check", "--format", "junit", path])
    suite = ET.fromstring(capsys.readouterr().out)[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    main(["check", "--format", "github", path])
    assert capsys.readouterr().out.startswith(
        "::error title=lost update (likely),file=bank/agent.py,line=31::`B` wrote"
    )


def test_truncated_file_names_file_and_line(write, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an input never looks like a clean one."""
    path = Path(write(CLEAN))
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 2])
    assert main(["check", str(path)]) == 2
    assert f"{path}, line 2" in capsys.readouterr().err


def test_truncated_gzip(write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A compressed file that was cut off is told by its name."""
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(Path(write(CLEAN)).read_bytes())[:-20])
    assert main(["check", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["nowhere.jsonl"], ["--kinds", "lost_updates", "x"], ["--format", "html", "x"], [], ["--fail-on", "x", "y"]],
)
def test_mistakes_are_told_in_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unusable arguments are exit code 2 and no traceback."""
    try:
        code = main(["check", *words])
    except SystemExit as error:  # argparse's own
        code = error.code
    assert code == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.strip()


def test_folders_and_gzip_and_order_mean_nothing(write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file, a folder of two, a compressed one: the same findings, ids included."""
    write(RACE)
    main(["check", "--format", "json", str(tmp_path / "run.jsonl")])
    whole = capsys.readouterr().out
    (tmp_path / "more").mkdir()
    accesses = Story(step=False).accesses(RACE)
    with gzip.open(tmp_path / "more" / "a.jsonl.gz", "wt") as file:
        file.write(json.dumps(otlp(accesses[2:])) + "\n")
    (tmp_path / "more" / "b.jsonl").write_text(json.dumps(otlp(accesses[:3])) + "\n")
    main(["check", "--format", "json", str(tmp_path / "more")])
    assert capsys.readouterr().out == whole
