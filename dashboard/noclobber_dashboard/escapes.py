"""Latent findings as they are ranked: each with its margin and the window that it is held against.

The margin stands in the finding's body, the window follows from its accesses; what is narrow is said by the analyzer
(`latent.ranking`), so that command line, API and page show one order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noclobber_analyzer.latent.ranking import luck, window_ns
from noclobber_dashboard.records import FindingBody, FindingHead

__all__ = ["EscapeRecord", "ranked"]


@dataclass(frozen=True, slots=True)
class EscapeRecord:
    """One latent finding.

    Attributes:
        head, body: of the finding.
        margin_ns: by how much luck kept the two apart. window_ns: what a narrower escape would have had to fall into.
        luck: the one as a part of the other; small is narrow.
    """

    head: FindingHead
    body: FindingBody
    margin_ns: int
    window_ns: int
    luck: float


def ranked(heads: Sequence[FindingHead], bodies: Mapping[str, str]) -> list[EscapeRecord]:
    """Latent findings, the narrowest escape first."""
    found = []
    for head in heads:
        body = FindingBody.from_json(bodies.get(head.id, ""))
        margin = body.margin_ns or 0
        found.append(EscapeRecord(head, body, margin, window_ns(body.accesses), luck(margin, body.accesses)))
    return sorted(found, key=lambda escape: (escape.luck, escape.head.id))
