"""Sentences for sessions, causality, real time, and for states that nobody is known to have made."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind, Op
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.verdict import Candidate

__all__ = ["SENTENCES"]


def _got(candidate: Candidate, read: Access) -> str:
    what = f"`{phrases.key(candidate.resource)}`"
    if read.op is Op.SCAN:
        return f"{phrases.agent(read)} asked for all and did not find {what}"
    if read.op is not Op.READ:
        return f"a conditional write of {phrases.agent(read)} found {phrases.state(read.expected)} of {what}"
    return f"{phrases.agent(read)} read {phrases.state(read.read)} of {what}"


def _read_your_writes(candidate: Candidate) -> str:
    read, write = candidate.the("stale_read"), candidate.the("own_write")
    return (
        f"{_got(candidate, read)}{_after(write, read)} it had itself written {phrases.version(write.written)}. "
        "What it was shown is older than its own work."
    )


def _monotonic_reads(candidate: Candidate) -> str:
    read, earlier = candidate.the("stale_read"), candidate.the("earlier_read")
    return (
        f"{_got(candidate, read)}{_after(earlier, read)} it had read the newer {phrases.version(earlier.read)}. "
        "For this agent time ran backwards."
    )


def _monotonic_writes(candidate: Candidate) -> str:
    one, other = candidate.the("earlier_write"), candidate.the("later_write")
    return (
        f"{phrases.agent(other)} wrote `{phrases.key(candidate.resource)}` twice, and the later write became version "
        f"{phrases.version(other.written)}, before {phrases.version(one.written)} of the earlier one."
    )


def _stale_read(candidate: Candidate) -> str:
    read, newer = candidate.the("stale_read"), candidate.one("newer")
    if newer is None:
        return f"{_got(candidate, read)}, and no order of what was done in that time explains it."
    return (
        f"{_got(candidate, read)}{_after(newer, read)} {phrases.others(read, newer)} had written "
        f"{phrases.version(newer.written)}. What was read was no longer true."
    )


def _after(before: Access, read: Access) -> str:
    gap = phrases.gap(before, read)
    return f" {gap} after" if gap else " after"


def _causal_violation(candidate: Candidate) -> str:
    read, newer = candidate.the("stale_read"), candidate.the("newer")
    if candidate.words.get("how") == "future":
        return (
            f"{_got(candidate, read)}, which {phrases.others(read, newer)} wrote only after hearing, by way of others, "
            "of what this agent did next. An effect came before its cause."
        )
    return (
        f"{_got(candidate, read)}, although it already knew, by way of what it had read or been sent, of the newer "
        f"{phrases.version(newer.written)} by {phrases.others(read, newer)}."
    )


def _writes_follow_reads(candidate: Candidate) -> str:
    read, newer, between = candidate.the("stale_read"), candidate.the("newer"), candidate.one("earlier_read")
    who = phrases.others(read, between) if between is not None else "somebody"
    return (
        f"{_got(candidate, read)}, but had already seen what {who} made of the newer "
        f"{phrases.version(newer.written)}: a consequence was visible before its reason."
    )


def _unknown_writer(candidate: Candidate) -> str:
    seen = candidate.roles[-1][0]
    version = phrases.version(candidate.words["version"])
    return (
        f"Version {version} of `{phrases.key(candidate.resource)}`, seen by {phrases.agent(seen)}, was made by nobody "
        "who was captured: a writer is not instrumented."
    )


def _garbage_read(candidate: Candidate) -> str:
    read = candidate.the("garbage_read")
    return f"{_got(candidate, read)}, which nobody wrote, although every writer of it is known to be captured."


SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.READ_YOUR_WRITES: _read_your_writes,
    Kind.MONOTONIC_READS: _monotonic_reads,
    Kind.MONOTONIC_WRITES: _monotonic_writes,
    Kind.WRITES_FOLLOW_READS: _writes_follow_reads,
    Kind.CAUSAL_VIOLATION: _causal_violation,
    Kind.STALE_READ: _stale_read,
    Kind.UNKNOWN_WRITER: _unknown_writer,
    Kind.GARBAGE_READ: _garbage_read,
}
