"""Sentences for cycles of dependencies: who read or replaced what, step by step, and why no order explains it."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind
from noclobber_analyzer import phrases
from noclobber_analyzer.verdict import Candidate, Link

__all__ = ["SENTENCES"]

STEPS_MAX: Final = 6
"""Steps of a cycle that a sentence tells."""

_ENDS: Final = {
    Kind.DIRTY_WRITE: "Each of them replaced something of the other's before that was done.",
    Kind.CIRCULAR_INFORMATION_FLOW: "Each of them knew of the other before that was done.",
    Kind.READ_SKEW: "One of them saw half of the other's changes: what it read never was true at one time.",
    Kind.LONG_FORK: "They saw independent changes in opposite orders.",
    Kind.WRITE_SKEW: "Each decided from what the other was changing, so both went ahead where one of them would not.",
    Kind.SERIALIZATION_CYCLE: "Run one after the other, in whatever order, they would not have seen what they saw.",
}


def _cycle(candidate: Candidate) -> str:
    steps = [_step(link) for link in candidate.links[:STEPS_MAX]]
    if candidate.kind is Kind.WRITE_SKEW and len(steps) == 1:
        return f"{steps[0]}. {_half(candidate.links[0])}"
    more = f", and {len(candidate.links) - STEPS_MAX} steps more" if len(candidate.links) > STEPS_MAX else ""
    return f"{'; '.join(steps)}{more}. {_ENDS[candidate.kind]}"


def _step(link: Link) -> str:
    first, then = link.source, link.target
    what = f"`{phrases.key(then.resource if link.type == 'rw' else first.resource)}`"
    if link.type == "rw":
        return f"{phrases.agent(first)} read {what} before {phrases.others(first, then)} replaced it"
    if link.type == "wr":
        return f"{phrases.agent(then)} read {what} as {phrases.others(then, first)} had made it"
    return f"{phrases.agent(then)} replaced what {phrases.others(then, first)} had made of {what}"


def _half(link: Link) -> str:
    """Of a write skew only one half was captured."""
    first, then = link.source, link.target
    return (
        f"What {phrases.others(first, then)} had read is lost in part: if it was what {phrases.agent(first)} was "
        "changing, each decided from what the other was changing, and both went ahead."
    )


def _dirty_write(candidate: Candidate) -> str:
    first, write = candidate.one("victim"), candidate.one("overwriter")
    if len(candidate.links) > 1 or first is None or write is None:
        return _cycle(candidate)
    return (
        f"{phrases.agent(write)} wrote `{phrases.key(write.resource)}` over {phrases.state(first.written)}, "
        f"which {phrases.others(write, first)} had written in a transaction that was still open. "
        "Whichever of the two is taken back, what is left is neither's."
    )


SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    **dict.fromkeys(_ENDS, _cycle),
    Kind.DIRTY_WRITE: _dirty_write,
}
