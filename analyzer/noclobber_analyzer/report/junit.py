"""JUnit XML, for test reports: a case a finding, failed where it is at the thresholds, skipped below them.

Source: the schema that Jenkins and GitLab read (testsuites, testsuite, testcase, failure, skipped).
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from noclobber_analyzer.explain import title
from noclobber_analyzer.report.summary import Report
from noclobber_analyzer.report.text import finding_lines

__all__ = ["junit"]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> Iterator[str]:
    """The one document, line by line."""
    failures, count = len(report.failing), max(1, len(report.findings))
    suite = ET.Element(
        "testsuite", name="noclobber", tests=str(count), failures=str(failures), errors="0",
        skipped=str(len(report.findings) - failures),
    )  # fmt: skip
    for finding in report.findings:
        name = f"{title(finding.kind)} on {finding.resource} [{finding.id[:12]}]"
        case = ET.SubElement(suite, "testcase", classname=f"noclobber.{finding.kind}", name=_xml(name))
        inside = "failure" if finding.id in report.failing else "skipped"
        told = ET.SubElement(case, inside, message=_xml(finding.explanation))
        told.text = _xml("\n".join(finding_lines(finding)))
    if not report.findings:
        ET.SubElement(suite, "testcase", classname="noclobber", name="no anomaly was found")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield from ET.tostring(root, encoding="unicode").split("\n")


def _xml(words: str) -> str:
    return _FORBIDDEN.sub("?", words)
