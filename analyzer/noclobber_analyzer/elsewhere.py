"""What a judgement says of resources that it was not asked about.

A judgement of some resources carries no verdicts on others, but it may come upon one: then it says which, how sure it
is, and because of what. Who hears it is decided in `hints`.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from noclobber.contract import Certainty
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.thinking import ROLE
from noclobber_analyzer.verdict import Candidate

__all__ = ["Form", "Hint", "form_of", "form_of_finding", "hints_of"]

RESTS_ON_MAX: Final = 16
"""Other resources that one verdict is said to rest on."""

Form = tuple[Certainty, frozenset[tuple[str, str]]] | None
"""How sure a verdict is, and whom it accuses of what, by span and role; None: nobody says."""


class Hint(NamedTuple):
    """That a finding may stand at a resource, or accuse accesses to it, because of accesses to another one."""

    finding: str
    resource: str
    by: str
    form: Form = None


def hints_of(finding: str, resource: str, accused: Iterable[str], form: Form = None) -> Iterator[Hint]:
    """A finding at a resource rests on what was done to others."""
    others = sorted({name for name in accused if name != resource})[:RESTS_ON_MAX]
    return (Hint(finding, resource, other, form) for other in others)


def form_of(candidate: Candidate) -> Form:
    """The form of a verdict that was come upon."""
    return candidate.grade.certainty, frozenset((access.span_id, role) for access, role in candidate.roles)


def form_of_finding(finding: Finding) -> Form:
    """The form of a finding: what an agent had in mind is no part of it."""
    roles = frozenset((access.span_id, access.role) for access in finding.accesses if access.role != ROLE)
    return finding.certainty, roles
