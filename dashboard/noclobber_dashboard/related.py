"""Findings beside one: those that it follows from, and those that followed, since one built on what came of another.

The store is asked for manifest findings around the time of this one whose JSON names one of its accesses or of those
that it affected; which of them really are a cascade is said by the analyzer (`cascades`).
"""

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from noclobber_analyzer.cascades import follows
from noclobber_analyzer.finding import Finding
from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import FindingBody, FindingHead

__all__ = ["Cascade", "cascade_of"]

AROUND_NS: Final = 3_600_000_000_000
_LOG: Final = logging.getLogger(__name__)
SPANS_MAX: Final = 200
"""Accesses by which related findings are looked for: those of the finding first, then the affected ones."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """What led to a finding and what followed, the nearest first."""

    causes: tuple[Finding, ...] = ()
    followers: tuple[Finding, ...] = ()


def cascade_of(head: FindingHead, body: FindingBody, queries: Queries) -> Cascade:
    """The findings beside one; empty for a latent one, of which nothing came."""
    own = _decoded(head.body)
    if own is None or not own.manifest:
        return Cascade()
    spans = [access.span_id for access in body.accesses] + [access.span_id for access in body.affected]
    named = list(dict.fromkeys(span for span in spans if span))[:SPANS_MAX]
    try:
        texts = queries.naming(named, own.id, head.first_ns - AROUND_NS, head.last_ns + AROUND_NS) if named else []
    except StoreUnreachableError:
        raise
    except StoreError:
        _LOG.warning("findings beside %s took too long to look for", own.id, exc_info=True)
        return Cascade()  # the finding itself is worth showing without them
    others = [other for other in map(_decoded, texts) if other is not None]
    causes = follows([own, *others])
    followers = [other for other in others if any(cause.id == own.id for cause in causes.get(other.id, ()))]
    return Cascade(tuple(causes.get(own.id, ())), tuple(sorted(followers, key=lambda other: (other.last_ns, other.id))))


def _decoded(text: str) -> Finding | None:
    """A finding; None where another version of the analyzer wrote something that this one does not know."""
    try:
        return Finding.from_json(text)
    except (msgspec.DecodeError, ValueError):
        return None
