"""Sentences for what did no harm this time: luck kept the two apart, and by how much."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind, Op
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.thinking import ROLE
from noclobber_analyzer.verdict import Candidate

__all__ = ["latent_sentence"]


def latent_sentence(candidate: Candidate) -> str:
    """The sentence for a latent candidate."""
    return _SENTENCES[candidate.kind](candidate) + _thought(candidate)


def _both(candidate: Candidate, role: str) -> tuple[str, str]:
    """Who they are, and by how much they missed each other."""
    accesses = candidate.all(role)
    earlier, later = accesses[0], accesses[-1]
    who = f"{phrases.agent(earlier)} and {phrases.others(earlier, later)}"
    return who, phrases.duration(candidate.margin_ns or 0)


def _deadlock(candidate: Candidate) -> str:
    who, margin = _both(candidate, "either")
    outer, inner = (f"`{phrases.key(candidate.words[name])}`" for name in ("outer", "inner"))
    return (
        f"{who} take {outer} and {inner} in opposite orders, {margin} apart this time. "
        "Had they met, each would have waited for the other."
    )


def _lost_update(candidate: Candidate) -> str:
    who, margin = _both(candidate, "either")
    return (
        f"{who} both read and rewrite `{phrases.key(candidate.resource)}`, and nothing makes one wait for the other: "
        f"the second read it only {margin} after the first had written it. Had it come that much earlier, the first "
        "write would be lost."
    )


def _check_then_act(candidate: Candidate) -> str:
    who, margin = _both(candidate, "check")
    checked = f"`{phrases.key(candidate.words['checked'])}`"
    return (
        f"{who} both look at {checked}, then {_act(candidate.anchors[0])} and change it, and nothing makes one wait "
        f"for the other: the second looked only {margin} after the first had changed it. Had it come that much "
        "earlier, one check would have let both in."
    )


def _act(act: Access) -> str:
    resource = f"`{phrases.key(act.resource)}`"
    return {Op.EFFECT: f"call {resource}", Op.SEND: f"send to {resource}"}.get(act.op, f"insert {resource}")


def _double_claim(candidate: Candidate) -> str:
    who, margin = _both(candidate, "claim")
    return (
        f"{who} both choose a task of `{phrases.key(candidate.words['selected'])}` and then take it, and nothing "
        f"makes one wait for the other: the second chose only {margin} after the first had taken its own. Had it "
        "come that much earlier, both could have taken one task."
    )


def _thought(candidate: Candidate) -> str:
    """What the margin is to be held against: the model calls in the two windows."""
    models = candidate.all(ROLE)
    if not models:
        return ""
    longest = max(models, key=lambda model: model.end_ns - model.start_ns)
    length = phrases.duration(longest.end_ns - longest.start_ns)
    return f" In its window {phrases.agent(longest)} thought for {length}."


_SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.LOST_UPDATE: _lost_update,
    Kind.DEADLOCK: _deadlock,
    Kind.CHECK_THEN_ACT: _check_then_act,
    Kind.DOUBLE_CLAIM: _double_claim,
}
