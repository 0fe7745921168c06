"""Cascades: which findings follow from which, since one agent's corrupted state was what the next one built on.

A finding follows from another if an access of its story lies in the other's blast radius, and it came true later. It
is no kind of its own and changes no finding: whoever shows several beside each other tells with which to begin.

Source: detection.md 8 (causal cascade).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from noclobber_analyzer.finding import Finding

__all__ = ["follows"]

_CONTEXT: Final = frozenset({"model", "guard", "context"})


def follows(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """By id of a finding, those that it follows from, the nearest first; only findings that have such. O(accesses)."""
    manifest = [finding for finding in findings if finding.manifest]
    reached: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in manifest:
        for access in finding.affected.accesses:
            reached[access.trace_id, access.span_id].append(finding)
    causes: dict[str, list[Finding]] = {}
    for finding in manifest if reached else ():
        found: dict[str, Finding] = {}
        for ref in finding.accesses:
            if ref.role not in _CONTEXT:
                near = reached.get((ref.trace_id, ref.span_id), ())
                found |= {each.id: each for each in near if _before(each, finding)}
        if found:
            causes[finding.id] = sorted(found.values(), key=lambda f: (-f.last_ns, f.id))
    return causes


def _before(one: Finding, other: Finding) -> bool:
    return (one.last_ns, one.id) < (other.last_ns, other.id)
