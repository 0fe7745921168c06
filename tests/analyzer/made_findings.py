"""Findings, heads and a clock for tests of what happens after a finding."""

from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.finding import AccessRef, Finding
from noclobber_analyzer.issues import Head
from noclobber_analyzer.tables import head_of

START_NS = 1_790_000_000 * SECOND_NS


class HandClock:
    """A clock that stands until it is moved."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def move(self, seconds: float) -> None:
        self._now_ns += int(seconds * SECOND_NS)


def a_finding(name: str = "f1", issue: str = "i1", at_ns: int = START_NS, **changed: object) -> Finding:
    ref = AccessRef(
        "t" * 32, "s" * 16, "redis://h:6379/0/acct:42", "planner", "p-1", "write", "overwriter", None, "a",
        "b", 1, 2, "x.py:3",
    )  # fmt: skip
    words: dict[str, object] = {
        "id": name,
        "issue": issue,
        "kind": Kind.LOST_UPDATE,
        "certainty": Certainty.LIKELY,
        "severity": Severity.HIGH,
        "resource": "redis://h:6379/0/acct:42",
        "agents": ("deposit", "withdraw"),
        "first_ns": at_ns,
        "last_ns": at_ns,
        "accesses": (ref,),
        "explanation": "withdraw replaced what deposit wrote.",
    }
    return Finding(**{**words, **changed})  # type: ignore[arg-type]  # the tests name real fields


def a_head(name: str = "f1", issue: str = "i1", at_ns: int = START_NS, **changed: object) -> Head:
    return head_of(a_finding(name, issue, at_ns, **changed), at_ns)
