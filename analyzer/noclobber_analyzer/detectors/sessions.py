"""Session guarantees: what one line of execution may rely on about what it did and saw before.

A session is a strand. Its reads must not fall behind its own writes (`read_your_writes`) or behind what it has read
(`monotonic_reads`), and its writes must be applied in their order (`monotonic_writes`). A transaction's reads show the
state as of its beginning, so only what the session had done before it counts. Numbers and chains prove an order of
versions; prints do where content is unique, and then an unseen writer may have put the old content back, so the record
must be complete, and a store that changes what it is sent may have made the old content of the newer one.

Source: Terry et al. 1994 (session guarantees); detection.md 3.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from noclobber.contract import Certainty, Kind, Op, Outcome
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import NUMBERS, State, number
from noclobber_analyzer.succession import Proof, Succession
from noclobber_analyzer.verdict import Candidate, Grade, hole_between, partial

__all__ = ["monotonic_writes", "session_reads"]

RESTORED = "that nobody put the old content back: versions of the store's own"


def session_reads(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Reads that fell behind their own strand's writes or earlier reads; each read is at most one."""
    if not state.writes:
        return
    order = evidence.succession(state)
    for own in state.by_strand() if order.kind is not None else ():
        if len(own) > 1 and _goes_back(own):
            yield from _behind(own, state, order, evidence)


def _goes_back(own: list[Access]) -> bool:
    """Whether what a strand saw and made is anything but growing numbers: a filter, which may let too much through."""
    last = -1
    for access in own:
        version = access.read or access.written
        if version is not None:
            made = number(version) if access.version_kind in NUMBERS else None
            if made is None or made < last:
                return True
            last = made
    return False


@dataclass(slots=True)
class _Seen:
    """What a strand knew last: the access that told it, its version, and the versions that it had left behind."""

    access: Access | None = None
    version: Version | None = None
    left: set[Version] = field(default_factory=set)

    def learn(self, access: Access, version: Version) -> None:
        if self.version is not None and version != self.version:
            self.left.add(self.version)
            self.left.discard(version)
        self.access, self.version = access, version


def _behind(own: list[Access], state: State, order: Succession, evidence: Evidence) -> Iterator[Candidate]:
    seen = _Seen()
    for access in own:
        if access.op in WRITE_OPS:
            if access.written is not None and _is_over(access, evidence):
                seen.learn(access, access.written)
            elif evidence.fates.of(access) is not Fate.UNAPPLIED or access.outcome is Outcome.REJECTED:
                seen = _Seen()  # what it made there it cannot know, or it was told that it knew too little
        elif access.op is Op.READ and access.read is not None and access.outcome in (Outcome.OK, Outcome.NOT_FOUND):
            if state.is_own_version(access):
                continue
            found = _judged(seen, access, state, order, evidence)
            if found is not None:
                yield found
            elif _stays(state, access, evidence) and not _is_less(order, access.read, seen.version):
                seen.learn(access, access.read)


def _is_over(write: Access, evidence: Evidence) -> bool:
    """Whether a write took effect by its return: one that was not answered may do so later, even if others saw it."""
    answered = Outcome.UNKNOWN not in (write.outcome, evidence.fates.seen_from(write).outcome)
    return answered and not write.open and evidence.fates.of(write) is Fate.APPLIED


def _stays(state: State, read: Access, evidence: Evidence) -> bool:
    """Whether what was read was no state that was taken back: of another's, or of its own transaction's."""
    end = evidence.fates.end_of(read)
    if read.txn_id is not None and (end is None or end.op is not Op.COMMIT or end.outcome is not Outcome.OK):
        return False
    return read.read not in state.untaken


def _is_less(order: Succession, version: Version, other: Version | None) -> bool:
    return order.kind in NUMBERS and (number(version) or 0) < (number(other) or 0)


def _judged(seen: _Seen, read: Access, state: State, order: Succession, evidence: Evidence) -> Candidate | None:
    before = seen.access
    if before is None or seen.version is None or read.read == seen.version or read.read is None:
        return None
    if before.part != read.part or before.version_kind is not read.version_kind:
        return None
    proof = order.is_older(read.read, seen.version)
    if proof is None:
        left = read.read in seen.left and _are_unique(state, order, read.read, seen.version)
        if not left or any(evidence.took_effect_before(m, before) is None for m in state.makers.get(read.read, ())):
            return None  # perhaps it was put back
    if not _was_over(before, read, evidence):
        return None
    if proof is not Proof.VERSION and _may_be_newer(before, read, state, evidence):
        return None
    grade = Grade()
    if proof is not Proof.VERSION:
        grade = grade.at_most(Certainty.LIKELY, RESTORED).resting_on(evidence.absence(state.name, before, read))
    if before.op is Op.READ and not _surely_stayed(before, state, order, evidence):
        grade = grade.at_most(Certainty.POSSIBLE, "whether what it had read before was taken back: spans are lost")
    if hole_between(evidence.history, before.seq, read):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of its own strand: it may have deleted the state")
    return _candidate(state, before, read, partial(grade, (before, read)))


def _may_be_newer(before: Access, read: Access, state: State, evidence: Evidence) -> bool:
    """Whether a write of which nobody knows what the store made of it may have made what was read."""
    return any(
        evidence.took_effect_before(write, before) is None and evidence.took_effect_after(write, read) is None
        for write in state.writes
        if not write.verbatim or write.written is None
    )


def _surely_stayed(read: Access, state: State, order: Succession, evidence: Evidence) -> bool:
    """Whether what was read was there to stay: an end that is lost may be an abort, and a lost write one that ended so.

    A number may be used again after a write that was taken back; if one that stayed was there before the read, the
    state was never older.
    """
    makers = state.makers.get(read.read or "", ())
    if any(evidence.fates.of(maker) is not Fate.APPLIED for maker in makers):
        return False
    if evidence.is_whole:
        return True
    numbers = order.kind in NUMBERS
    return bool(makers) and (not numbers or any(evidence.took_effect_before(m, read) is not None for m in makers))


def _are_unique(state: State, order: Succession, *versions: Version) -> bool:
    """Whether each version was made once, by a write that was captured, and none is told by a script."""
    if order.kind in NUMBERS or state.may_expire or not order.is_told:
        return False
    return all(state.is_unique(v) and (state.makers.get(v) or v in order.first) for v in versions)


def _was_over(before: Access, read: Access, evidence: Evidence) -> bool:
    """Whether what the strand did before was there for all when the read's picture was taken."""
    if before.txn_id is not None and before.txn_id == read.txn_id:
        return True
    start = evidence.picture_of(read)
    if before.op in WRITE_OPS:
        seen_from = evidence.fates.seen_from(before)
        return seen_from.strand == start.strand and seen_from.seq < start.seq
    return before.seq < start.seq and before.end_ns <= start.start_ns


def _candidate(state: State, before: Access, read: Access, grade: Grade) -> Candidate:
    wrote = before.op in WRITE_OPS
    return Candidate(
        kind=Kind.READ_YOUR_WRITES if wrote else Kind.MONOTONIC_READS,
        resource=state.name,
        anchors=(read,),
        roles=((before, "own_write" if wrote else "earlier_read"), (read, "stale_read")),
        grade=grade,
    )


def monotonic_writes(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Writes of one strand that were applied against their order, as their numbers tell; each is at most one."""
    if state.may_expire:
        return
    for own in state.by_strand():
        highest: tuple[int, Access] | None = None
        for write in own:
            made = number(write.written) if write.op in WRITE_OPS and write.version_kind in NUMBERS else None
            if made is None or evidence.fates.of(write) is not Fate.APPLIED:
                continue
            if highest is not None and made < highest[0] and _in_order(highest[1], write, evidence):
                yield Candidate(
                    kind=Kind.MONOTONIC_WRITES,
                    resource=state.name,
                    anchors=(write,),
                    roles=((highest[1], "earlier_write"), (write, "later_write")),
                    grade=partial(Grade(), (highest[1], write)),
                )
            elif highest is None or made > highest[0]:
                highest = (made, write)


def _in_order(one: Access, other: Access, evidence: Evidence) -> bool:
    if one.part != other.part or one.version_kind is not other.version_kind:
        return False
    same = one.txn_id is not None and one.txn_id == other.txn_id
    return same or evidence.took_effect_before(one, other) is not None
