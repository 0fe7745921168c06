"""The test that holds a confirmed race down: it steers the program into the losing order, and fails while that loses.

What is written is a file for pytest that stands for itself: the command, and the finding as far as it is needed to know
it again (no ids of the run, no times, no lines).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from noclobber_analyzer.explain import title
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.text import finding_lines
from noclobber_analyzer.rerun.steered import confirm, sides_of

__all__ = ["assert_mended", "regression_test"]


def assert_mended(
    command: Sequence[str],
    finding: str,
    *,
    tries: int = 4,
    wait_s: float = 1.0,
    timeout_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Fail if the race can still be brought about, or if the program fails.

    Args:
        command: the program.
        finding: the finding, as the test was written with.
        tries: runs.
        wait_s: how long a strand is held at most.
        timeout_s: of one run.
        environment: laid over the present one.
    """
    told_of = Finding.from_json(finding)
    outcome = confirm(command, told_of, tries=tries, wait_s=wait_s, timeout_s=timeout_s, environment=environment)
    if outcome.finding is not None:
        told = "\n".join(finding_lines(outcome.finding))
        raise AssertionError(f"brought about in run {outcome.tries} of {tries}:\n{told}")
    if outcome.last.exit_code != 0:
        ended = "ran out of time" if outcome.last.exit_code is None else f"ended with {outcome.last.exit_code}"
        raise AssertionError(f"the program {ended}, so nothing is shown:\n{outcome.last.printed}")
    if not outcome.last.accesses:
        raise AssertionError("no access was captured, so nothing is shown: is the library instrumented?")


def regression_test(command: Sequence[str], finding: Finding, *, wait_s: float = 1.0) -> str:
    """A test file for pytest."""
    name = re.sub(r"\W+", "_", f"{finding.kind}_{finding.resource.partition('://')[2]}".lower()).strip("_")[:60]
    said = _one_line(f"{title(finding.kind)} on {finding.resource}")
    return _TEST.format(
        title=said,
        explanation=_one_line(finding.explanation),
        command=list(command),
        finding=_literal(_lasting(finding)),
        name=name.rstrip("_"),
        wait_s=wait_s,
    )


def _lasting(finding: Finding) -> dict[str, Any]:
    """What of a finding a test needs, in every run the same."""
    told: dict[str, Any] = msgspec.to_builtins(finding)
    side_of = {access.span_id: n for n, side in enumerate(sides_of(finding), 1) for access in side}
    told["accesses"] = sorted(
        (access for access in told["accesses"] if access["span_id"] in side_of), key=lambda access: access["start_ns"]
    )
    for number, access in enumerate(told["accesses"], 1):
        strand = f"strand-{side_of[access['span_id']]}"
        code = re.sub(r":\d+", ":0", access["code"].replace("\\", "/").rpartition("/")[2]) if access["code"] else None
        access |= {"trace_id": "", "span_id": f"{number:016x}", "strand": strand, "code": code}
        access |= {"start_ns": number, "end_ns": number}
        access |= {"version_read": None, "version_base": None, "version_written": None}
    told |= {"first_ns": 0, "last_ns": 0, "edges": [], "margin_ns": None, "explanation": "", "missing": []}
    return told | {"advice": {"text": "", "code": ""}, "affected": {}}


def _literal(told: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(told), indent=1).decode().replace("\\", "\\\\").replace("'''", "")


def _one_line(text: str) -> str:
    return " ".join(text.replace("\\", "/").replace('"""', "'").split())


_TEST = '''"""{title}.

{explanation}

Written by `noclobber confirm`. The program runs again, and one strand is held at its access until the other has
passed: the test fails as long as that loses something, and passes once nothing can be lost in that order.
"""

from noclobber_analyzer.rerun import assert_mended

COMMAND = {command!r}
FINDING = \'\'\'
{finding}
\'\'\'


def test_{name}() -> None:
    """Nothing is lost, whoever comes first."""
    assert_mended(COMMAND, FINDING, wait_s={wait_s})
'''
