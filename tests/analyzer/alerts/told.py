"""Rows of the log of transitions, for tests of what is sent."""

import msgspec

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.issues import Transition

DATA = {
    "issue": "i1", "kind": "lost_update", "severity": "high", "certainty": "likely", "manifest": True,
    "resources": ["redis://h:6379/0/acct:42"], "agents": ["deposit", "withdraw"],
}  # fmt: skip


def a_row(
    name: str, at_ns: int, kind: str = "issue.opened", finding: Finding | None = None, **changed: object
) -> Transition:
    data = {**DATA, "issue": f"issue-{name}", "newest": msgspec.to_builtins(finding) if finding else None, **changed}
    body = msgspec.json.encode({"data": data, "told_ns": at_ns, "muted": False}).decode()
    return Transition(name, str(data["issue"]), at_ns, kind, "new", "f1", "analyzer", "", body)
