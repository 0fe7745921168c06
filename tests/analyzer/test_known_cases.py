"""Recorded histories of other people's systems, and real defects of agent projects, with known verdicts.

They lie outside the public project; `NOCLOBBER_HISTORIES` names their folder. Zero false findings at `likely` or
better is demanded of every one, whatever kinds this version knows; of those it knows, each must be found.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.kinds import KINDS
from noclobber_analyzer.otlp_files import read_otlp

FOLDER = os.environ.get("NOCLOBBER_HISTORIES")
if not FOLDER:
    pytest.skip("NOCLOBBER_HISTORIES names no folder of known histories", allow_module_level=True)
CASES: list[dict[str, Any]] = json.loads((Path(FOLDER) / "cases" / "manifest.json").read_text())
KNOWN = frozenset(str(kind) for kind in KINDS)


def _kinds(finding: Finding) -> set[str]:
    return {str(finding.kind), *(str(kind) for kind in finding.also)}


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    """Nothing false, nothing surer than the evidence, and everything found that this version's kinds can find."""
    evaluation = evaluate(read_otlp([str(Path(str(FOLDER)) / "cases" / case["file"])]))
    expected = case["expected"]
    strong = [f for f in evaluation.findings if f.manifest and f.certainty is not Certainty.POSSIBLE]
    wanted = {kind for entry in expected["must"] for kind in entry.split("|")} | set(expected["any_of"])
    if expected["must_not"] == "*":
        allowed = wanted | set(expected["allow"])
        assert [f for f in strong if str(f.kind) not in allowed] == []
    else:
        assert [f for f in strong if str(f.kind) in expected["must_not"]] == []
    if expected["max_certainty"]:
        most = Certainty(expected["max_certainty"]).rank
        assert [f for f in strong if _kinds(f) & wanted and f.certainty.rank > most] == []
    weak = expected["weak_ok"] or expected["max_certainty"] == "possible"
    found = {kind for f in (evaluation.findings if weak else strong) for kind in _kinds(f)}
    for entry in expected["must"]:
        kinds = set(entry.split("|"))
        if kinds <= KNOWN:
            assert found & kinds, f"missed {entry}: {[(str(f.kind), str(f.certainty)) for f in evaluation.findings]}"
    assert len(evaluation.defended) >= expected["defended_min"]
