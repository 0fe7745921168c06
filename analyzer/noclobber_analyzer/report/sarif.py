"""SARIF 2.1.0, for code scanning: a rule a kind, a result a finding, the other accesses as related locations.

Source: OASIS, SARIF 2.1.0, sections 3.27 (result) and 3.49 (reportingDescriptor).
"""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

from noclobber.contract import Severity
from noclobber_analyzer.explain import title
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.kinds import KINDS
from noclobber_analyzer.likeness import likeness
from noclobber_analyzer.report.places import Place, place_of, places_of
from noclobber_analyzer.report.summary import Report

__all__ = ["sarif"]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}


def sarif(report: Report) -> Iterator[str]:
    """The one document, line by line."""
    kinds = sorted({finding.kind for finding in report.findings})
    rules = [
        {
            "id": str(kind),
            "name": title(kind),
            "shortDescription": {"text": KINDS[kind].definition if kind in KINDS else title(kind)},
        }
        for kind in kinds
    ]
    driver = {"name": "noclobber", "version": version("noclobber"), "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(finding, report) for finding in report.findings]}
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    yield from json.dumps(document, indent=2, ensure_ascii=False).split("\n")


def _result(finding: Finding, report: Report) -> dict[str, Any]:
    place = place_of(finding)
    result: dict[str, Any] = {
        "ruleId": str(finding.kind),
        "level": _LEVEL[finding.severity],
        "message": {"text": f"{finding.explanation} ({finding.certainty}) {finding.advice.text}"},
        "partialFingerprints": {
            "noclobberFinding/v1": finding.id,
            "noclobberIssue/v1": finding.issue,
            "noclobberLikeness/v1": likeness(finding),
        },
        "properties": {"certainty": str(finding.certainty), "resource": finding.resource, "agents": finding.agents},
    }
    if report.known is not None:
        result["baselineState"] = "unchanged" if finding.id in report.known else "new"
    if place is not None:
        result["locations"] = [_location(place)]
        result["relatedLocations"] = [
            {**_location(other), "id": number, "message": {"text": other.role.replace("_", " ")}}
            for number, other in enumerate(places_of(finding), 1)
        ]
    return result


def _location(place: Place) -> dict[str, Any]:
    uri = PurePosixPath(place.file).as_posix()
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": max(1, place.line)}}}
