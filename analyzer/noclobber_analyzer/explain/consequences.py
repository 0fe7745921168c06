"""The sentence about what left the system because of a finding: the first effect of its blast radius."""

from noclobber_analyzer import phrases
from noclobber_analyzer.finding import Affected

__all__ = ["consequence"]


def consequence(reached: Affected) -> str:
    """A sentence on the first effect that came of it; empty where none is known."""
    first = next((access for access in reached.accesses if access.span_id == reached.first_effect), None)
    if first is None:
        return ""
    return f" Because of it `{phrases.short(first.agent)}` then called `{phrases.key(first.resource)}`."
