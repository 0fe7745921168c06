"""What did no harm, and why: accesses that raced and were defended, each counted once.

Shown so that people see which of their guards earn their keep, and so that "no finding" is told apart from "nothing
happened". A defended access is an applied or refused access on a resource that others changed too, where a guard, a
lock, the store's own atomicity or an equal value kept it from losing anybody's work.

Source: contract 3.1 (defended).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from noclobber.contract import Defence, Guard, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.double_claim import takes
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import State, conflicting_parts, is_foreign

__all__ = ["defences"]

PENDING_MAX: Final = 8
"""So many writes before a read are asked whether they were still uncommitted: a store holds few back on one row."""


def defences(
    evidence: Evidence,
    resources: frozenset[str] | None,
    found: Iterable[bytes],
    permitted: Iterable[Access] = (),
) -> Iterator[tuple[Access, Defence]]:
    """Defended accesses on these resources.

    Args:
        evidence: of the history.
        resources: None: all.
        found: keys of accesses that a finding accuses.
        permitted: accesses that did what the owners of their resources permit.
    """
    told = set(found)
    declared = ((access, Defence.DECLARED) for access in permitted)
    for access, reason in chain(declared, _all(evidence, resources)):
        if access.key not in told:
            told.add(access.key)
            yield access, reason


def _all(evidence: Evidence, resources: frozenset[str] | None) -> Iterator[tuple[Access, Defence]]:
    for name, accesses in evidence.history.resources.items():
        if resources is None or name in resources:
            candidates = [access for access in accesses if _may_be_defended(access)]
            if candidates:
                yield from _of_state(evidence.state(name), candidates, evidence)
                evidence.forget(name)
    for taken in evidence.once(takes).values():
        for take in taken:
            if take.refused and not take.went_on:
                refused = take.access.outcome is Outcome.REJECTED
                yield take.access, Defence.REJECTED if refused else Defence.NO_EFFECT
    for transaction in evidence.history.transactions.values():
        for access in transaction:
            if access.op is Op.COMMIT and access.outcome is Outcome.REJECTED:
                yield access, Defence.SERIALIZABLE if access.isolation == "serializable" else Defence.REJECTED
    yield from _deduplicated(evidence)
    yield from _turned_away(evidence)


def _of_state(state: State, candidates: Sequence[Access], evidence: Evidence) -> Iterator[tuple[Access, Defence]]:
    pending = [a for a in candidates if a.op in WRITE_OPS and _is_serializable(a)]
    for access in candidates:
        reason = _reason(access, state, evidence)
        if reason is not None:
            yield access, reason
        elif pending and access.op is Op.READ and _is_serializable(access) and _passed_by(access, pending, evidence):
            yield access, Defence.SERIALIZABLE


def _may_be_defended(access: Access) -> bool:
    """Whether an access has anything about it for which `_of_state` could call it defended: a filter."""
    if access.op is Op.READ:
        return access.isolation is not None
    if access.op is Op.WRITE:
        return bool(
            access.outcome is not Outcome.OK or access.guard is not Guard.NONE or access.locks or access.isolation
            or (access.written is not None and access.written in (access.base, access.overwritten))
        )  # fmt: skip
    return True


def _reason(access: Access, state: State, evidence: Evidence) -> Defence | None:
    if access.op is Op.READ:
        return None
    if access.outcome is Outcome.REJECTED:
        return Defence.UNIQUE if access.guard is Guard.UNIQUE else Defence.REJECTED
    if access.outcome is Outcome.NO_EFFECT:
        return Defence.NO_EFFECT
    if evidence.fates.of(access) is not Fate.APPLIED or not state.is_contended(access):
        return None
    if access.op is Op.UPDATE and not access.partial:
        return Defence.ATOMIC
    if access.guard is Guard.LOCK or state.shares_lock(access):
        return Defence.LOCK
    if access.guard is Guard.SERIALIZABLE:
        return Defence.SERIALIZABLE
    if access.op is Op.WRITE and access.version_kind is VersionKind.FINGERPRINT and access.written is not None:
        equal_base = access.base is not None and access.written == access.base
        blind = access.base is None and access.overwritten == access.written
        if equal_base or blind:
            return Defence.EQUAL_VALUE
    return None


def _is_serializable(access: Access) -> bool:
    return access.isolation == "serializable" and access.outcome in (Outcome.OK, Outcome.NOT_FOUND)


def _passed_by(read: Access, pending: Sequence[Access], evidence: Evidence) -> bool:
    """Whether a read passed by what another transaction had written and not ended yet: it might have been dirty."""
    upto = bisect_left(pending, read.start_ns, key=lambda write: write.start_ns)
    for write in pending[max(0, upto - PENDING_MAX) : upto]:
        end = evidence.fates.end_of(write)
        if (
            end is not None
            and is_foreign(write, read)
            and conflicting_parts(write, read)
            and write.written != read.read
            and evidence.order.before(write, read)
            and evidence.order.before(read, end)
        ):
            return True
    return False


def _deduplicated(evidence: Evidence) -> Iterator[tuple[Access, Defence]]:
    """Effects that were repeated under one idempotency key: each but the first."""
    seen: set[tuple[str, str]] = set()
    for access in evidence.history.of(Op.EFFECT):
        if access.effect is not None and access.effect.key is not None:
            name = (access.effect.hash, access.effect.key)
            if name in seen:
                yield access, Defence.DEDUPLICATED
            seen.add(name)


def _turned_away(evidence: Evidence) -> Iterator[tuple[Access, Defence]]:
    """Who asked for a lock that somebody else held; a refused renewal is none, it tells of a lock that was lost."""
    held = set()
    for access in evidence.history.of(Op.LOCK):
        if access.lock is not None:
            name = (access.resource, access.lock.owner)
            if access.outcome is Outcome.OK:
                held.add(name)
            elif access.outcome is Outcome.REJECTED and name not in held:
                yield access, Defence.LOCK
