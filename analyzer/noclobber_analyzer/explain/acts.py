"""Sentences for what was decided and then done, for pieces that were mixed, and for what no longer holds."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind, Op
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.verdict import Candidate

__all__ = ["SENTENCES"]


def _check_then_act(candidate: Candidate) -> str:
    check, newer, act = candidate.the("check"), candidate.the("newer"), candidate.the("act")
    age = phrases.gap(check, act)
    after = f" {age} after it had looked at" if age else " after it had looked at"
    changed = "added to it" if check.op is Op.SCAN else "changed it"
    return (
        f"{phrases.agent(act)} {_did(act)}{after} `{phrases.key(check.resource)}`, but "
        f"{phrases.others(act, newer)} had {changed} in between. What it had checked no longer held."
    )


def _did(act: Access) -> str:
    resource = f"`{phrases.key(act.resource)}`"
    return {Op.EFFECT: f"called {resource}", Op.SEND: f"sent to {resource}"}.get(act.op, f"inserted {resource}")


def _interleaved_writes(candidate: Candidate) -> str:
    piece, between = candidate.all("piece"), candidate.all("between")
    inside = "lie inside its piece" if len(piece) + len(between) == 3 else "lie among them"
    return (
        f"{phrases.agent(piece[0])} appended to `{phrases.key(candidate.resource)}` what was meant to stand together, "
        f"and appends of {phrases.others(piece[0], between[0])} {inside}. "
        "Whoever reads it in order finds the two mixed."
    )


def _invariant_violation(candidate: Candidate) -> str:
    write, shown = candidate.the("broke"), candidate.one("shown")
    seen = f", as {phrases.others(write, shown)} then saw" if shown is not None else ""
    return (
        f"Since {phrases.agent(write)} changed `{phrases.key(write.resource)}`{seen}, what was declared of "
        f"`{phrases.key(candidate.resource)}` does not hold: `{phrases.short(candidate.words['invariant'])}`."
    )


SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.CHECK_THEN_ACT: _check_then_act,
    Kind.INTERLEAVED_WRITES: _interleaved_writes,
    Kind.INVARIANT_VIOLATION: _invariant_violation,
}
