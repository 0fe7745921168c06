"""Sentences about what came of a finding: the first effect that left the system, an invariant that no longer holds."""

from collections.abc import Sequence

from noclobber_analyzer import phrases
from noclobber_analyzer.finding import Affected

__all__ = ["broken_invariants", "consequence"]


def consequence(reached: Affected) -> str:
    """A sentence on the first effect that came of it; empty where none is known."""
    first = next((access for access in reached.accesses if access.span_id == reached.first_effect), None)
    if first is None:
        return ""
    return f" Because of it `{phrases.short(first.agent)}` then called `{phrases.key(first.resource)}`."


def broken_invariants(invariants: Sequence[str]) -> str:
    """A sentence on what its owners declared and does not hold since then; empty where nothing is broken."""
    if not invariants:
        return ""
    told = " and ".join(f"`{phrases.short(invariant)}`" for invariant in invariants)
    return f" Since then what was declared does not hold: {told}."
