"""The sentence about the model call that was the window: how long it took, and when it was overtaken.

An answer that was generated from what had already been replaced can't be mended by a quicker model, only by reading
again; one that was overtaken while the model thought by reading again after it. Both are told where clocks that
compare show which of the two it was.

Source: detection.md 8 (stale generation).
"""

from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import before
from noclobber_analyzer.thinking import ROLE
from noclobber_analyzer.verdict import Candidate

__all__ = ["thought", "window"]


def window(candidate: Candidate) -> str:
    """A clause on how much of the window model calls filled; empty where there were none."""
    models = candidate.all(ROLE)
    if not models:
        return ""
    return f"; {_calls(models)} filled {_length(models)} of that window"


def thought(candidate: Candidate) -> str:
    """A sentence on what came first, the model's call or what overtook it; empty where there is nothing to tell."""
    models = candidate.all(ROLE)
    newer = candidate.one("newer", "victim")
    if not models or not candidate.manifest:
        return ""
    if newer is not None and before(newer, models[0]):
        what = "answer was" if len(models) == 1 else "answers were"
        return f" The model's {what} generated from what had already been replaced when it was called."
    if newer is not None and any(_within(newer, model) for model in models):
        return f" It was overtaken while {phrases.agent(models[0])} thought for {_length(models)}."
    if candidate.one("overwriter", "either"):
        return ""
    return f" In between {phrases.agent(models[0])} thought for {_length(models)}."


def _within(newer: Access, model: Access) -> bool:
    """Whether it came while the model was at work, on clocks that compare."""
    if phrases.gap(model, newer) is not None or phrases.gap(newer, model) is not None:
        return False
    return newer.process.id == model.process.id or newer.process.clock == model.process.clock is not None


def _calls(models: list[Access]) -> str:
    return "a model call" if len(models) == 1 else "model calls"


def _length(models: list[Access]) -> str:
    return phrases.duration(sum(model.end_ns - model.start_ns for model in models))
