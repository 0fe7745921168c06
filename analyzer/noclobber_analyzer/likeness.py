"""Whether findings of two runs are one bug, though ports, ids, folders and line numbers differ.

An issue's fingerprint serves a deployment that keeps its names. Between two runs of a test even the server's port
changes, so here a finding is known by its kind, by its resource without what changes, and by where in the code the
accesses stand: file and function, no line. Where no code is known the agents' roles stand in.
"""

import re
from hashlib import blake2b
from typing import Final

from noclobber.contract import Op
from noclobber.pacing.likeness import like
from noclobber_analyzer.finding import AccessRef, Finding, agent_role

__all__ = ["is_alike", "likeness", "site"]

_CODE: Final = re.compile(r"^(?P<file>.+?):\d+(?: in (?P<function>.+))?$")
_LOOKS: Final = frozenset({Op.READ, Op.SCAN, Op.MODEL})


def likeness(finding: Finding) -> str:
    """The name of the bug, the same in every run: 64 bits in hex."""
    words = "\x1f".join((str(finding.kind), like(finding.resource), *_actors(finding)))
    return blake2b(words.encode(), digest_size=8).hexdigest()


def is_alike(finding: Finding, other: Finding) -> bool:
    """Whether `finding`, which happened, is what `other` foretold: kind, a resource, and a place in the code.

    What spans several resources (a deadlock, a skew) is named by that of the access that came last: any of them counts.
    """
    kinds = {finding.kind, *finding.also}
    sites, others = set(_actors(finding)), set(_actors(other))
    return other.kind in kinds and bool(_resources(finding) & _resources(other)) and bool(sites & others)


def _resources(finding: Finding) -> set[str]:
    return {like(each) for each in (finding.resource, *(access.resource for access in finding.accesses))}


def site(code: str | None) -> str:
    """File and function of a place in the code as a finding writes it; "" where it is not known.

    >>> site("agents/bank.py:31 in withdraw"), site(None)
    ('bank.withdraw', '')
    """
    match = _CODE.match(code or "")
    if match is None:
        return ""
    return f"{match['file'].replace(chr(92), '/').rpartition('/')[2].removesuffix('.py')}.{match['function'] or ''}"


def _actors(finding: Finding) -> list[str]:
    changing = [access for access in finding.accesses if access.op not in _LOOKS] or list(finding.accesses)
    return sorted({_actor(access) for access in changing})


def _actor(access: AccessRef) -> str:
    return site(access.code) or f"{agent_role(access.agent)} {access.op}"
