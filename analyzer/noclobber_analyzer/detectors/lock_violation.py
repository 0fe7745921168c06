"""Lock violation: somebody did what a lock was to prevent.

*Fencing*: a write with a lower token took effect after a higher one had been handed out, told by the versions that both
made, or by the lock's own order. *Expired*: a write under a lock without tokens whose lease had ended, and another had
taken it. *Overlap*: two holds of one exclusive lock at a time, the first neither ended nor run out. *Foreign unlock*:
somebody ended another's hold. *Unguarded* (Eraser): nearly all accesses of a resource hold one lock, and this write
holds none while another holds it. What the store refused, or a guard compared, is no violation.

Source: Savage et al. 1997 (Eraser, lockset); fencing tokens after Kleppmann 2016; contract 3.1, detection.md 3.7.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from noclobber.contract import Certainty, Kind, Op, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.detectors.basis import guarded
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.holds import Hold, lock_name, lock_token, owner_of
from noclobber_analyzer.order import By
from noclobber_analyzer.state import NUMBERS, State, is_foreign, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, Name, hole_between, partial

__all__ = ["foreign_unlock", "lock_overlap", "stale_token", "unguarded"]

LATER_MAX: Final = 8
"""Later holds of a lock that a write's own is compared with."""
READERS_MAX: Final = 64
HELD_MAX: Final = 64
"""Holds of a lock back to which a write's own is looked for."""
DISCIPLINE: Final = 0.9
ACCESSES_MIN: Final = 10
"""Of so many accesses, this share under one lock makes a discipline."""
CLOCK: Final = "an edge (`lock.token`, a span link `handoff`) that orders the two, or versions of the resource"


def stale_token(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Writes of one resource under a lock that another had taken over; each is at most one."""
    locked = [write for write in state.writes if write.locks]
    by_version = _overtaken(state) if locked else {}
    for write in locked:
        for held in write.locks:
            if guarded(write) or evidence.fates.serializable_rejected(write):
                continue
            found = _fenced(write, held, by_version, evidence) or _expired(write, held, evidence)
            if found is not None:
                yield found
                break


def _overtaken(state: State) -> dict[tuple[tuple[str, str], str], Access]:
    """For each write and lock: an earlier version's write under a higher token."""
    found: dict[tuple[tuple[str, str], str], Access] = {}
    highest: dict[str, tuple[int, Access]] = {}
    for write in sorted(state.writes, key=lambda w: (number(w.written) or 0, w.span_id)) if state.is_shared else ():
        for held in write.locks:
            token, name = lock_token(held), lock_name(held)
            if token is None or write.version_kind not in NUMBERS or number(write.written) is None:
                continue
            above = highest.get(name)
            if above is not None and above[0] > token:
                found[write.name, name] = above[1]
            elif above is None or token > above[0]:
                highest[name] = token, write
    for write in state.writes if state.is_shared else ():
        makers = state.makers.get(write.overwritten or "", ()) if write.locks and write.overwritten else ()
        if len(makers) == 1 and write.version_kind not in NUMBERS and state.is_unique(write.overwritten or ""):
            for held in write.locks:
                theirs = [lock_token(each) for each in makers[0].locks if lock_name(each) == lock_name(held)]
                if theirs and (theirs[0] or 0) > (lock_token(held) or 1 << 63):
                    found[write.name, lock_name(held)] = makers[0]
    return found


def _fenced(
    write: Access, held: str, by_version: dict[tuple[tuple[str, str], str], Access], evidence: Evidence
) -> Candidate | None:
    token, name = lock_token(held), lock_name(held)
    if token is None:
        return None
    newer = by_version.get((write.name, name)) or _read_before(write, name, token, evidence)
    later = evidence.holds.above(name, token, LATER_MAX)
    proofs = [(hold.lock, evidence.order.before(hold.lock, write)) for hold in later]
    lock, proof = next(((lock, proof) for lock, proof in proofs if proof is not None), (None, None))
    grade = Grade()
    if newer is not None:
        grade = _by_version(newer, write, evidence)
    elif proof is By.CLOCK:
        grade = grade.at_most(Certainty.LIKELY, CLOCK)
    elif lock is None:
        lock = _perhaps(write, name, token, evidence)
        newer = _perhaps_after(write, name, token, evidence) if lock is None else None
        grade = grade.at_most(Certainty.POSSIBLE, CLOCK)
    if newer is None and lock is None:
        return None
    violation = _violation(write, newer, lock, _judged(grade, write, newer, evidence), "fenced")
    return replace(violation, consequences=_lost_with(write, name, token, evidence))


def _lost_with(write: Access, name: str, token: int, evidence: Evidence) -> frozenset[Name]:
    """Writes under a higher token from the same base: that one of the two is lost is told by this, whichever it is."""
    same = evidence.state(write.resource).by_base.get(write.base or "", ())
    return frozenset(
        other.name
        for other in same[:READERS_MAX]
        if is_foreign(other, write)
        and any(lock_name(held) == name and (lock_token(held) or 0) > token for held in other.locks)
    )


def _by_version(newer: Access, write: Access, evidence: Evidence) -> Grade:
    grade = Grade()
    if newer.version_kind is VersionKind.FINGERPRINT:
        grade = grade.at_most(Certainty.LIKELY, "a version that names one state, not only its content")
    if evidence.state(write.resource).may_expire:
        grade = grade.at_most(Certainty.LIKELY, "whether the numbers began again: the state may expire")
    return grade


def _read_before(write: Access, name: str, token: int, evidence: Evidence) -> Access | None:
    """A read under a higher token that still got what the write was computed from: the write came after it."""
    state = evidence.state(write.resource)
    if write.base is None or write.weak or not state.is_unique(write.base):
        return None
    for read in state.readers.get(write.base, ())[:READERS_MAX]:
        above = any(lock_name(held) == name and (lock_token(held) or 0) > token for held in read.locks)
        if above and is_foreign(read, write) and read.part == write.part:
            return read
    return None


def _perhaps(write: Access, name: str, token: int, evidence: Evidence) -> Access | None:
    """The next holder's lock, where nobody knows that the write's own hold had not ended before it."""
    mine = next((hold for hold in evidence.holds.above(name, token - 1, 1) if hold.token == token), None)
    if mine is not None and (mine.unlock is not None or mine.lock.strand != write.strand):
        return None
    for hold in evidence.holds.above(name, token, 1):
        if evidence.order.before(write, hold.lock) is None:
            return hold.lock
    return None


def _perhaps_after(write: Access, name: str, token: int, evidence: Evidence) -> Access | None:
    """A write under a higher token, where spans are lost, which nothing shows to have come after this one."""
    given_back = any(h.token == token and h.unlock for h in evidence.holds.above(name, token - 1, 1))
    strays = evidence.holds.strays.get(name, ())
    if evidence.is_whole or given_back or any(a.lock and a.lock.token == str(token) for a in strays):
        return None
    state = evidence.state(write.resource)
    for other in state.timeline.around(None, write):
        above = any(lock_name(held) == name and (lock_token(held) or 0) > token for held in other.locks)
        if above and is_foreign(other, write) and not _came_later(state, other, write, evidence):
            return other
    return None


def _came_later(state: State, other: Access, write: Access, evidence: Evidence) -> bool:
    """Whether versions or time put another write after this one."""
    if write.written is not None and other.written is not None:
        made, theirs = number(write.written), number(other.written)
        if write.version_kind in NUMBERS and made is not None and theirs is not None:
            return theirs > made
        if write.written == other.base or write.written in state.ancestors(other.written):
            return True
    return evidence.writes_before(write, other) is not None


def _expired(write: Access, held: str, evidence: Evidence) -> Candidate | None:
    """Whether the lease had run out, and another had taken the lock before the write was called."""
    if lock_token(held) is not None:
        return None
    later: list[Hold] = []
    for hold in evidence.holds.before(lock_name(held), write, HELD_MAX):
        if hold.lock.strand != write.strand:
            later.append(hold)
            continue
        if hold.leased_ns is None or hold.leased_ns[1] >= local_ns(write.process, write.start_ns):
            return None
        for other in later[::-1]:
            if other.owner != hold.owner and evidence.order.before(other.lock, write) is not None:
                grade = Grade().at_most(Certainty.LIKELY, "fencing tokens (`noclobber.lock.token`)")
                return _violation(write, None, other.lock, _judged(grade, write, None, evidence), "expired")
        return None
    return None


def _judged(grade: Grade, write: Access, other: Access | None, evidence: Evidence) -> Grade:
    both = (write,) if other is None else (write, other)
    if any(evidence.fates.of(access) is Fate.UNDECIDED for access in both):
        grade = grade.at_most(Certainty.POSSIBLE, "whether it was applied: an outcome is unknown")
    return partial(grade, both)


def _violation(write: Access, newer: Access | None, lock: Access | None, grade: Grade, how: str) -> Candidate:
    roles: list[tuple[Access, str]] = []
    links: list[Link] = []
    if lock is not None:
        roles.append((lock, "guard"))
        links.append(Link(lock, write, "unordered", "the lock had been handed to another before the write was called"))
    if newer is not None:
        roles.append((newer, "newer"))
        links.append(Link(newer, write, "unordered", "it replaced what the lock's newer holder had written"))
    return Candidate(
        kind=Kind.LOCK_VIOLATION,
        resource=write.resource,
        anchors=(write,),
        roles=(*roles, (write, "violation")),
        links=tuple(links),
        grade=grade,
        words={"how": how, "lock": lock_name(write.locks[0]) if write.locks else ""},
    )


def lock_overlap(evidence: Evidence) -> Iterator[Candidate]:
    """Two holds of one exclusive lock at one time, told by a clock that both share."""
    for name, holds in evidence.holds.of.items():
        for number_, first in enumerate(holds):
            for second in holds[number_ + 1 : number_ + 1 + LATER_MAX]:
                if first.owner != second.owner and _overlap(first, second, evidence):
                    yield _overlapping(name, first, second)
                    break


def _overlap(first: Hold, second: Hold, evidence: Evidence) -> bool:
    unlock = first.unlock
    if unlock is None or not clock_before(first.lock, second.lock) or not clock_before(second.lock, unlock):
        return False
    if first.token is None and hole_between(evidence.history, first.lock.seq, unlock):
        return False  # the unlock may end another hold
    granted = local_ns(second.lock.process, second.lock.end_ns)
    return first.leased_ns is None or granted < first.leased_ns[0]


def _overlapping(name: str, first: Hold, second: Hold) -> Candidate:
    higher = max(first, second, key=lambda h: (h.token or 0, h.lock.start_ns, h.lock.span_id))
    lower = first if higher is second else second
    grade = Grade().at_most(Certainty.LIKELY, "the lock's own record of who held it")
    link = Link(lower.lock, higher.lock, "unordered", "the first hold had neither ended nor run out")
    assert first.unlock is not None
    return Candidate(
        kind=Kind.LOCK_VIOLATION,
        resource=name,
        anchors=(higher.lock,),
        roles=((lower.lock, "holder"), (higher.lock, "violation"), (first.unlock, "guard")),
        links=(link,),
        grade=partial(grade, (first.lock, second.lock)),
        words={"how": "overlap", "lock": name},
    )


def foreign_unlock(evidence: Evidence) -> Iterator[Candidate]:
    """Unlocks that ended somebody else's hold."""
    for name, strays in evidence.holds.strays.items():
        for unlock in strays:
            for hold in evidence.holds.before(name, unlock, LATER_MAX):
                if _held_at(hold, unlock):
                    yield _foreign(name, hold, unlock, evidence)
                    break


def _held_at(hold: Hold, unlock: Access) -> bool:
    """Whether a hold of another certainly lasted when somebody unlocked."""
    if hold.owner == owner_of(unlock) or not clock_before(hold.lock, unlock):
        return False
    given_back = hold.unlock or hold.tried
    if given_back is None or not clock_before(unlock, given_back):
        return False
    return hold.leased_ns is None or local_ns(unlock.process, unlock.end_ns) < hold.leased_ns[0]


def _foreign(name: str, hold: Hold, unlock: Access, evidence: Evidence) -> Candidate:
    grade = Grade()
    if unlock.lock is None or unlock.lock.owner is None or hold.lock.lock is None or hold.lock.lock.owner is None:
        grade = grade.at_most(Certainty.LIKELY, "the owners of both (`noclobber.lock.owner`)")
    own = (other for other in evidence.holds.of[name] if other.owner == owner_of(unlock))
    if any(other.tried is not None and not clock_before(unlock, other.lock) for other in own):
        grade = grade.at_most(Certainty.LIKELY, "that the hold which it could not give back before was lost")
    if hole_between(evidence.history, None, unlock):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the strand that unlocked")
    return Candidate(
        kind=Kind.LOCK_VIOLATION,
        resource=name,
        anchors=(unlock,),
        roles=((hold.lock, "holder"), (unlock, "violation")),
        links=(Link(hold.lock, unlock, "unordered", "another owner held the lock when it was unlocked"),),
        grade=partial(grade, (hold.lock, unlock)),
        words={"how": "foreign unlock", "lock": name},
    )


def unguarded(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Writes without the lock that nearly everybody else holds (lockset)."""
    if len(state.accesses) < ACCESSES_MIN or not any(access.locks for access in state.accesses):
        return
    shared = _since_shared(state.accesses)
    counts: dict[str, int] = defaultdict(int)
    strands: dict[str, set[str]] = defaultdict(set)
    for access in shared:
        for held in access.locks:
            counts[lock_name(held)] += 1
            strands[lock_name(held)].add(access.strand)
    name = max(counts, key=lambda lock: (counts[lock], lock), default="")
    if len(shared) < ACCESSES_MIN or len(strands[name]) < 2 or counts[name] < DISCIPLINE * len(shared):
        return
    for write in shared:
        if write.op in WRITE_OPS and name not in map(lock_name, write.locks):
            found = _without(write, name, state, evidence)
            if found is not None:
                yield found


def _since_shared(accesses: Sequence[Access]) -> Sequence[Access]:
    """From the first access of a second strand on; what came before set the state up."""
    for place, access in enumerate(accesses):
        if access.strand != accesses[0].strand:
            return accesses[place:]
    return []


def _without(write: Access, name: str, state: State, evidence: Evidence) -> Candidate | None:
    if evidence.fates.of(write) is not Fate.APPLIED or guarded(write) or write.op is Op.UPDATE:
        return None
    for hold in evidence.holds.before(name, write, LATER_MAX):
        if hold.lock.strand != write.strand and hold.unlock is not None and _within(hold, write):
            grade = Grade().at_most(Certainty.LIKELY, "what made the writer leave out the lock")
            grade = grade.resting_on(evidence.absence(state.name, hold.lock, write))
            if hole_between(evidence.history, None, write):
                grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the writer's own strand")
            return _violation(write, None, hold.lock, _judged(grade, write, None, evidence), "unguarded")
    return None


def _within(hold: Hold, write: Access) -> bool:
    return (
        slack_ns(hold.lock.process, write.process) is not None
        and is_foreign(hold.lock, write)
        and clock_before(hold.lock, write)
        and hold.unlock is not None
        and clock_before(write, hold.unlock)
    )
