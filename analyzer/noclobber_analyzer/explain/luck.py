"""Sentences for what did no harm this time: luck kept the two apart, and by how much."""

from noclobber.contract import Kind
from noclobber_analyzer import phrases
from noclobber_analyzer.verdict import Candidate

__all__ = ["latent_sentence"]


def latent_sentence(candidate: Candidate) -> str:
    """The sentence for a latent candidate."""
    earlier, later = candidate.all("either")
    margin = phrases.duration(candidate.margin_ns or 0)
    who = f"{phrases.agent(earlier)} and {phrases.others(earlier, later)}"
    if candidate.kind is Kind.DEADLOCK:
        outer, inner = (f"`{phrases.key(candidate.words[name])}`" for name in ("outer", "inner"))
        return (
            f"{who} take {outer} and {inner} in opposite orders, {margin} apart this time. "
            "Had they met, each would have waited for the other."
        )
    return (
        f"{who} both read and rewrite `{phrases.key(candidate.resource)}`, and nothing makes one wait for the other: "
        f"the second read it only {margin} after the first had written it. Had it come that much earlier, the first "
        "write would be lost."
    )
