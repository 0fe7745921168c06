"""What an issue looks like from outside: the object that the API shows and that a webhook sends.

Fields are the contract's (section 3): issue, kind, title, state, severity, certainty, count, first_ns, last_ns,
resources, agents, url, newest. They are computed from the findings' heads and the issue's standing, never stored
twice; a transition's row keeps the object as it was when it was told. `fitted` cuts it for sending. No value can be
in it: a finding has none.
"""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from noclobber_analyzer.finding import Finding, resource_pattern
from noclobber_analyzer.issues import Head, Standing

__all__ = ["RESOURCES_MAX", "fitted", "issue_view", "newest_of", "title"]

RESOURCES_MAX = 20
"""Resources and agents shown of one issue, the most frequent ones (analysis.md 11)."""

TEXT_MAX = 1_000
"""Characters kept of a text when a message has to be cut further than its lists allow."""


def issue_view(
    issue: str, standing: Standing, heads: Sequence[Head], newest: Finding | None, *, now_ns: int, base_url: str
) -> dict[str, object]:
    """The issue as an object of JSON types.

    Args:
        issue: fingerprint.
        standing: what its log says.
        heads: its findings, newest revision of each, not empty. Those that still hold count; all where none does.
        newest: the finding to show, None where its body cannot be read.
        now_ns: wall time, for silences that run out.
        base_url: where the dashboard is, without a trailing slash; "": no link.
    """
    counted = [head for head in heads if head.is_open] or list(heads)
    shown = newest_of(heads)
    agents = Counter(agent for head in counted for agent in head.agents)
    resources = Counter(head.resource for head in counted if head.resource)
    return {
        "issue": issue,
        "kind": shown.kind,
        "title": title(shown, sorted(agents)),
        "state": standing.state_at(now_ns),
        "severity": max((head.severity for head in counted), key=lambda word: word.rank),
        "certainty": max((head.certainty for head in counted), key=lambda word: word.rank),
        "manifest": any(head.manifest for head in counted),
        "count": len(counted),
        "first_ns": min(head.first_ns for head in counted),
        "last_ns": max(head.last_ns for head in counted),
        "resources": [name for name, _ in resources.most_common(RESOURCES_MAX)],
        "agents": [name for name, _ in agents.most_common(RESOURCES_MAX)],
        "url": f"{base_url}/finding?id={quote(shown.id, safe='')}" if base_url else "",
        "newest": msgspec.to_builtins(newest) if newest is not None else None,
    }


def newest_of(heads: Sequence[Head]) -> Head:
    """The finding that stands for the issue: one that holds before one that does not, then the latest."""
    return max(heads, key=lambda head: (head.is_open, head.last_ns, head.id))


def title(head: Head, agents: Sequence[str]) -> str:
    """One line that a person recognises the bug by, such as `lost update on redis://h/0/acct:* (a, b)`."""
    where = f" on {resource_pattern(head.resource)}" if head.resource else ""
    return f"{head.kind.replace('_', ' ')}{where} ({', '.join(agents[:RESOURCES_MAX])})"


def fitted(data: dict[str, object], bytes_max: int) -> dict[str, object]:
    """The issue cut to a size: of the newest finding `affected` and `edges` go first, then what else is long.

    Args:
        data: an `issue_view`.
        bytes_max: greatest length of its JSON; what is cut has `truncated` true.
    """
    if _size(data) <= bytes_max:
        return data
    newest = data.get("newest")
    cut: dict[str, object] = {**data, "truncated": True}
    finding: dict[str, object] = dict(newest) if isinstance(newest, dict) else {}
    for field, empty in _CUTS:
        if _size({**cut, "newest": finding}) <= bytes_max:
            break
        if field in finding:
            finding[field] = empty
    cut["newest"] = finding
    if _size(cut) > bytes_max:
        cut["newest"] = {field: finding[field] for field in ("id", "kind", "revision", "status") if field in finding}
        cut = {key: _short(value) for key, value in cut.items()}
    return cut


_CUTS: tuple[tuple[str, object], ...] = (
    ("affected", {"accesses": [], "agents": [], "stopped": "cut"}),
    ("edges", []),
    ("missing", []),
    ("accesses", []),
    ("advice", {"text": "", "code": ""}),
)


def _short(value: object) -> object:
    if isinstance(value, str):
        return value[: TEXT_MAX // 4]
    if isinstance(value, list):
        return [_short(one) for one in value[:RESOURCES_MAX]]
    return value


def _size(data: object) -> int:
    return len(msgspec.json.encode(data))
