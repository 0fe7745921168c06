"""Causality: a read that got an older state than its reader could know of, by way of others.

A newer write lies before the read in know order (program order, messages, locks, who read whose version), and the
read still got what came before it: a causal violation. Where the knowledge came through somebody who had read the
newer state and written from it, it is `writes_follow_reads` that broke. A read of something that was only written
after its writer had heard of what the reader did next is an effect before its cause.

Where one clock compares the two, time says it already (`stale_read`); so only pairs of several clocks are searched.
The searches of one evaluation share one limit; the pairs that look out of order by nominal time come first, and in a
large history only these are searched.

Source: Terry et al. 1994 (writes follow reads), AWDIT (arXiv 2504.06975); detection.md 3.4.
"""

from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Kind, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import slack_ns
from noclobber_analyzer.detectors.repeated import REPEATABLE
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.order import Answer
from noclobber_analyzer.state import NUMBERS, is_foreign
from noclobber_analyzer.succession import Proof, Succession
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["STEPS_MAX", "causal_violation"]

STEPS_MAX: Final = 300_000
"""Edges that the searches of one evaluation follow."""
WHOLE_MAX: Final = 20_000
"""Accesses of a history of which every read is searched, however it looks."""
RIVALS_MAX: Final = 8
"""Writes of unknown place, and readers of a newer version, that are looked at for one read."""


class _Pair(NamedTuple):
    """A read, the write that it should have seen (or, `future`, that made what it got), and the versions' proof.

    `proof` is None where only know order can tell that the write is the newer one.
    """

    read: Access
    write: Access
    maker: Access | None
    proof: Proof | None
    future: bool = False


def causal_violation(evidence: Evidence) -> Iterator[Candidate]:
    """Reads against what their readers could know; each read is at most one."""
    if len({a.clock or a.host or a.id for a in evidence.history.processes.values()}) < 2:
        return
    pairs = [pair for name in sorted(evidence.history.resources) for pair in _of_resource(name, evidence)]
    pairs.sort(key=lambda p: p.read.start_ns < p.write.end_ns)  # stable: those that look out of order come first
    told: set[tuple[str, str]] = set()
    before = evidence.order.steps
    for pair in pairs:
        if evidence.order.steps - before > STEPS_MAX:
            evidence.unknown.append("whether reads on several clocks kept to what their readers knew: searched in part")
            return
        if (pair.read.span_id, pair.read.resource) not in told:
            candidate = _future(pair, evidence) if pair.future else _judged(pair, evidence)
            if candidate is not None:
                told.add((pair.read.span_id, pair.read.resource))
                yield candidate


def _of_resource(name: str, evidence: Evidence) -> Iterator[_Pair]:
    accesses = evidence.history.resources[name]
    first = accesses[0].process
    if all(a.process is first or slack_ns(first, a.process) is not None for a in accesses):
        return
    searched = None if evidence.history.size <= WHOLE_MAX else list(_out_of_order(accesses))
    if searched == []:
        return
    state = evidence.state(name)
    order = evidence.succession(state)
    if not state.writes or state.may_expire:
        return
    for read in state.reads if searched is None else searched:
        if read.read is not None and not read.weak and not state.is_own_version(read):
            yield from _of_read(read, order)


def _out_of_order(accesses: Sequence[Access]) -> Iterator[Access]:
    """Reads that did not get what the last write before them made, as recorded times have it."""
    last: Access | None = None
    for access in accesses:
        if access.op in WRITE_OPS:
            last = access
        elif last is not None and last.written != access.read and last.end_ns < access.start_ns:
            yield access


def _of_read(read: Access, order: Succession) -> Iterator[_Pair]:
    maker = order.maker(read)
    if maker is not None and _are_apart(read, maker):
        yield _Pair(read, maker, maker, order.proof(), future=True)
    if maker is None and order.kind is not None and read.read != order.kind.absent and order.kind not in NUMBERS:
        return  # prior state, unless something was written before: then whoever made it is not known
    following = order.following(read.read or "", read)[:RIVALS_MAX]
    for write, proof in following:
        if _are_apart(read, write):
            yield _Pair(read, write, maker, proof)
    if maker is not None and order.kind in (VersionKind.FINGERPRINT, VersionKind.CHAIN):
        named = {write.span_id for write, _ in following} | {maker.span_id}
        near = order.applied_near(read, RIVALS_MAX + len(named))
        rivals = [w for w in near if w.span_id not in named and w.written != read.read]
        rivals = nsmallest(RIVALS_MAX, rivals, key=lambda w: (abs(w.start_ns - read.start_ns), w.span_id))
        yield from (_Pair(read, write, maker, None) for write in rivals if _are_apart(read, write))


def _are_apart(one: Access, other: Access) -> bool:
    return is_foreign(one, other) and slack_ns(one.process, other.process) is None


def _knew(pair: _Pair, evidence: Evidence) -> Access:
    """The access up to whose call the reader's knowledge counts: a snapshot's is that of its beginning."""
    fixed = pair.read.txn_id and (pair.read.isolation or "") in REPEATABLE
    return evidence.picture_of(pair.read) if fixed else pair.read


def _judged(pair: _Pair, evidence: Evidence) -> Candidate | None:
    if evidence.fates.of(pair.write) is not Fate.APPLIED:
        return None
    knew = _knew(pair, evidence)
    if evidence.order.path(pair.write, knew, know=True) is not Answer.YES:
        return None
    if pair.proof is None:
        newer = pair.maker is not None and (
            evidence.order.path(pair.maker, evidence.fates.seen_from(pair.write), know=True) is Answer.YES
            and evidence.order.path(pair.write, evidence.fates.seen_from(pair.maker), know=True) is not Answer.YES
        )
        if not newer:
            return None
    through = _through(pair, knew, evidence)
    return _candidate(pair, through, _grade(pair, knew, evidence))


def _through(pair: _Pair, knew: Access, evidence: Evidence) -> Access | None:
    """A read of the newer state by a third strand, before the read in know order: its reader's writes told of it."""
    readers = evidence.state(pair.read.resource).readers.get(pair.write.written or "", ())
    third = [r for r in readers if r.strand not in (pair.read.strand, pair.write.strand)]
    return next((r for r in third[:RIVALS_MAX] if evidence.order.path(r, knew, know=True) is Answer.YES), None)


def _future(pair: _Pair, evidence: Evidence) -> Candidate | None:
    if evidence.order.path(pair.read, pair.write, know=True) is not Answer.YES:
        return None
    return _candidate(pair, None, _grade(pair, None, evidence))


def _grade(pair: _Pair, knew: Access | None, evidence: Evidence) -> Grade:
    grade = Grade()
    synced = knew is not None and evidence.order.path(pair.write, knew) is Answer.YES
    by_content = pair.read.version_kind is VersionKind.FINGERPRINT or (not synced and evidence.history.has_prints)
    if pair.proof is not Proof.VERSION or by_content:
        grade = grade.at_most(Certainty.LIKELY, "versions of the store's own on all that was read on the way")
    if not synced and not evidence.is_whole:
        lost = "the lost spans: a number that was read on the way may be that of a write which was taken back"
        grade = grade.at_most(Certainty.POSSIBLE, lost)
    return partial(grade, (pair.read, pair.write))


def _candidate(pair: _Pair, through: Access | None, grade: Grade) -> Candidate:
    how = "future" if pair.future else "newer"
    why = "what was read was written after this was known" if pair.future else "the reader could know of this"
    link = Link(pair.read, pair.write, "know", why) if pair.future else Link(pair.write, pair.read, "know", why)
    between = ((through, "earlier_read"),) if through is not None else ()
    return Candidate(
        kind=Kind.WRITES_FOLLOW_READS if through is not None else Kind.CAUSAL_VIOLATION,
        resource=pair.read.resource,
        anchors=(pair.read,),
        roles=((pair.write, "newer"), *between, (pair.read, "stale_read")),
        links=(link,),
        grade=grade,
        words={"how": how},
    )
