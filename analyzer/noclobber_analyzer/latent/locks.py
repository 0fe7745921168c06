"""A deadlock in waiting: two locks that two strands took in opposite orders, and luck kept them apart.

Source: detection.md 3.7 (latent: two lock orders inverted in units that nothing orders).
"""

from collections import defaultdict
from collections.abc import Iterator

from noclobber.contract import Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.latent.escape import BACK_MAX, Escape, Turn, unordered
from noclobber_analyzer.latent.ranking import MARGIN_NS
from noclobber_analyzer.order import Answer
from noclobber_analyzer.verdict import Candidate, Link

__all__ = ["inverted_locks"]


def inverted_locks(evidence: Evidence) -> Iterator[Escape]:
    """Two locks that two strands took in opposite orders; each pair of locks is at most one."""
    nested: dict[tuple[str, str], list[Access]] = defaultdict(list)
    for access in evidence.history.of(Op.LOCK):
        if access.outcome is Outcome.OK:
            for held in access.locks:
                if lock_name(held) != access.resource:
                    nested[lock_name(held), access.resource].append(access)
    for (outer, inner), taken in sorted(nested.items()):
        if outer < inner and (inner, outer) in nested:
            found = _inverted(taken, nested[inner, outer], (outer, inner), evidence)
            if found is not None:
                yield found


def _inverted(taken: list[Access], against: list[Access], locks: tuple[str, str], evidence: Evidence) -> Escape | None:
    """The two of opposite orders that came nearest to each other, if nothing but these locks ordered them."""
    best: tuple[int, Access, Access] | None = None
    by_time = sorted((*taken, *against), key=lambda a: (a.start_ns, a.span_id))
    opposite = {access.name for access in against}
    for place, later in enumerate(by_time):
        for earlier in reversed(by_time[max(0, place - BACK_MAX) : place]):
            if (earlier.name in opposite) == (later.name in opposite) or earlier.strand == later.strand:
                continue
            slack = slack_ns(earlier.process, later.process)
            others = [{lock_name(lock) for lock in a.locks} - set(locks) for a in (earlier, later)]
            if slack is None or others[0] & others[1]:
                continue  # another lock around both
            margin = local_ns(later.process, later.start_ns) - local_ns(earlier.process, earlier.end_ns) - slack
            if 0 < margin < MARGIN_NS and (best is None or margin < best[0]):
                best = margin, earlier, later
            break
    if best is None:
        return None
    margin, earlier, later = best
    path = evidence.order.path(earlier, later, locks=False)
    if path is Answer.YES:
        return None
    candidate = Candidate(
        kind=Kind.DEADLOCK,
        resource=later.resource,
        anchors=(earlier, later),
        roles=((earlier, "either"), (later, "either")),
        links=(Link(earlier, later, "unordered", "each took these two locks in the other's opposite order"),),
        grade=unordered(path),
        crosses=True,
        manifest=False,
        margin_ns=margin,
        words={"outer": locks[0], "inner": locks[1]},
    )
    return Escape(candidate, Turn(earlier, earlier, earlier), Turn(later, later, later))
