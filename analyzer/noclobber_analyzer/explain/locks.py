"""Sentences for locks that did not hold, and for waits that never end."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind, Op
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.verdict import Candidate

__all__ = ["SENTENCES"]


def _lock_violation(candidate: Candidate) -> str:
    access = candidate.the("violation")
    return _HOW[candidate.words["how"]](candidate, access, f"`{phrases.key(candidate.words['lock'])}`")


def _fenced(candidate: Candidate, write: Access, lock: str) -> str:
    newer, taken = candidate.one("newer"), candidate.one("guard")
    other = taken or newer
    assert other is not None
    replaced = f", and replaced what {phrases.others(write, newer)} had written since" if newer is not None else ""
    token = f" with token {taken.lock.token}" if taken is not None and taken.lock and taken.lock.token else ""
    return (
        f"{phrases.agent(write)} {_wrote(write)} under {lock}{_token(write)} after {phrases.others(write, other)} "
        f"had taken the lock{token}{replaced}. Its lease had ended without its knowing."
    )


def _expired(candidate: Candidate, write: Access, lock: str) -> str:
    taken = candidate.the("guard")
    return (
        f"{phrases.agent(write)} {_wrote(write)} under {lock}, whose lease had run out: "
        f"{phrases.others(write, taken)} had taken it meanwhile."
    )


def _unguarded(candidate: Candidate, write: Access, lock: str) -> str:
    held = candidate.the("guard")
    return (
        f"{phrases.agent(write)} {_wrote(write)} without {lock}, under which nearly everything else is done to it, "
        f"while {phrases.others(write, held)} held it."
    )


def _overlap(candidate: Candidate, second: Access, lock: str) -> str:
    first = candidate.the("holder")
    return (
        f"{phrases.agent(first)} and {phrases.others(first, second)} held {lock} at one time, "
        "though it is exclusive: the first had neither given it up nor had its lease run out."
    )


def _foreign_unlock(candidate: Candidate, unlock: Access, lock: str) -> str:
    holder = candidate.the("holder")
    return (
        f"{phrases.agent(unlock)} unlocked {lock} while {phrases.others(unlock, holder)} held it. "
        "From then on nothing kept others out."
    )


def _wrote(write: Access) -> str:
    return f"{'deleted' if write.op is Op.DELETE else 'wrote'} `{phrases.key(write.resource)}`"


def _token(write: Access) -> str:
    token = write.locks[0].partition("#")[2] if write.locks else ""
    return f" with token {token}" if token.isdecimal() else ""


_HOW: Final[dict[str, Callable[[Candidate, Access, str], str]]] = {
    "fenced": _fenced,
    "expired": _expired,
    "unguarded": _unguarded,
    "overlap": _overlap,
    "foreign unlock": _foreign_unlock,
}


def _deadlock(candidate: Candidate) -> str:
    waits = candidate.all("wait")
    told = [
        f"{phrases.agent(wait)} waited for `{phrases.key(wait.resource)}`, which was up to {phrases.agent(by)}"
        for wait, by in zip(waits, [*waits[1:], waits[0]], strict=True)
    ]
    return f"{'; '.join(told)}. None of them could go on until one gave up."


SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.LOCK_VIOLATION: _lock_violation,
    Kind.DEADLOCK: _deadlock,
}
