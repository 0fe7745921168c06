"""What declared policies permit: what happens as its owners permit is defended, reason `declared`.

Source: contract 4 (declarations), detection.md 4 (policies).
"""

from typing import Final

from noclobber.contract import Kind
from noclobber.declarations import Declarations, Policy

__all__ = ["PERMITTED", "permitted"]

_OVERWRITTEN: Final = frozenset({Kind.LOST_UPDATE, Kind.STALE_WRITE, Kind.BLIND_OVERWRITE})
_OUTDATED: Final = frozenset({
    Kind.READ_YOUR_WRITES, Kind.MONOTONIC_READS, Kind.MONOTONIC_WRITES, Kind.WRITES_FOLLOW_READS,
    Kind.CAUSAL_VIOLATION, Kind.STALE_READ, Kind.UNKNOWN_WRITER,
})  # fmt: skip
PERMITTED: Final[dict[Policy, frozenset[Kind]]] = {
    Policy.LAST_WRITER_WINS: _OVERWRITTEN,
    Policy.CACHE: _OVERWRITTEN | _OUTDATED,
    Policy.APPEND_ONLY: frozenset({Kind.INTERLEAVED_WRITES}),
    Policy.QUEUE: frozenset(),
    Policy.CLOSED: frozenset(),
}
"""The kinds that each policy permits."""


def permitted(declarations: Declarations, kind: Kind, resource: str) -> bool:
    """Whether the owners of a resource said that such a thing may happen to it."""
    found = declarations.of(resource) if declarations.declared else None
    return found is not None and found.policy is not None and kind in PERMITTED[found.policy]
