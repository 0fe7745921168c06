"""The sentence that ends the argument: who, what they had read, what they replaced, what was lost, how long it took.

One function for each kind renders a candidate's evidence in one or two sentences; nothing is decided here, and no
value is ever told. How sure it is stands beside it, with what would make it surer (`missing`).

One module a family; those for writes and claims stand here.

Source: detection.md 7; the models are Elle's proofs in sentences and ThreadSanitizer's two stacks.
"""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind, Op
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.explain import acts, cycles, locks, queues, reads, sessions
from noclobber_analyzer.explain.consequences import broken_invariants, consequence
from noclobber_analyzer.explain.luck import latent_sentence
from noclobber_analyzer.explain.thinking import thought, window
from noclobber_analyzer.kinds import KINDS
from noclobber_analyzer.verdict import Candidate

__all__ = ["broken_invariants", "consequence", "explain", "title"]


def explain(candidate: Candidate) -> str:
    """The sentence for a candidate."""
    if not candidate.manifest:
        return latent_sentence(candidate)
    told = _SENTENCES.get(candidate.kind)
    return (told(candidate) if told is not None else KINDS[candidate.kind].definition) + thought(candidate)


def title(kind: Kind) -> str:
    """What a person calls a kind."""
    return KINDS[kind].title if kind in KINDS else kind.value.replace("_", " ")


def _lost_update(candidate: Candidate) -> str:
    either = candidate.all("either")
    if len(either) == 2:
        return _lost_update_either(candidate, either[0], either[1])
    write, victim = candidate.the("overwriter"), candidate.one("victim")
    base = candidate.one("stale_read")
    verb = "deleted" if write.op is Op.DELETE else "wrote"
    read = f"from {phrases.state(write.base)}" + _age(base, write)
    if victim is None:
        return (
            f"{phrases.agent(write)} {verb} `{phrases.key(write.resource)}` {read}, but replaced "
            f"{phrases.version(write.overwritten)}, whose writer's span is not at hand. That write is lost."
        )
    replaced = _made(victim)
    when = phrases.gap(victim, write)
    before = f" {when} before" if when else ""
    if write.base is None or candidate.words.get("older"):
        return _lost_update_perhaps(candidate, write, victim, before)
    waited = " although it had been made to wait for it" if candidate.ordered else ""
    return (
        f"{phrases.agent(write)} {verb} `{phrases.key(write.resource)}` {read}, but replaced {replaced} that "
        f"{phrases.others(write, victim)} had made{before}, unseen{waited}. "
        f"That {_thing(victim)} is lost{window(candidate)}."
    )


def _lost_update_perhaps(candidate: Candidate, write: Access, victim: Access, before: str) -> str:
    """Where nobody knows what the value was computed from."""
    older = candidate.words.get("older")
    read = f", having read {phrases.state(write.base)} and, before that, {phrases.state(older)}," if older else ""
    basis = "which of the two it was computed from" if older else "what it was computed from"
    return (
        f"{phrases.agent(write)} {'deleted' if write.op is Op.DELETE else 'wrote'} `{phrases.key(write.resource)}`"
        f"{read} and replaced what {phrases.others(write, victim)} had made{before}. Nobody recorded {basis}: if it "
        f"was the older state, that {_thing(victim)} is lost{window(candidate)}."
    )


def _lost_update_either(candidate: Candidate, one: Access, other: Access) -> str:
    return (
        f"{phrases.agent(one)} and {phrases.others(one, other)} both computed a new "
        f"`{phrases.key(other.resource)}` before either had written it ({candidate.words['why']}). "
        f"Whichever came first is lost{window(candidate)}."
    )


def _made(victim: Access) -> str:
    if victim.op is Op.UPDATE:
        return f"the {victim.mode.value}"
    if victim.op is Op.DELETE:
        return "the deletion"
    return f"{phrases.state(victim.written)}"


def _thing(victim: Access) -> str:
    return {Op.UPDATE: str(victim.mode.value), Op.DELETE: "deletion"}.get(victim.op, "write")


def _age(base: Access | None, write: Access) -> str:
    age = phrases.gap(base, write) if base is not None else None
    return f", read {age} earlier" if age else ""


def _fork(candidate: Candidate) -> str:
    first, child = candidate.all("child")
    if "position" in candidate.words:
        return (
            f"`{phrases.key(child.resource)}` gave position {candidate.words['position']} to a message of "
            f"{phrases.agent(first)} and to one of {phrases.others(first, child)}, and told both that it had been "
            "sent. Only one of them will be received."
        )
    parent = candidate.words["parent"]
    return (
        f"{phrases.agent(first)} and {phrases.others(first, child)} both continued {phrases.state(parent)} "
        f"of `{phrases.key(child.resource)}`: {phrases.version(first.written)} and {phrases.version(child.written)} "
        "are both its children, and both were told that they had succeeded. Only one of them will be continued."
    )


def _stale_write(candidate: Candidate) -> str:
    write, read, newer = candidate.the("stale_write"), candidate.one("stale_read"), candidate.one("newer")
    basis = f"`{phrases.key(candidate.words['read_resource'])}`"
    seen = phrases.version(read.read if read is not None and read.read else write.base)
    who = phrases.others(write, newer) if newer is not None else "somebody whose span is not at hand"
    return (
        f"{phrases.agent(write)} wrote `{phrases.key(write.resource)}` from version {seen} of {basis}"
        f"{_age(read, write)}, but {who} had changed it in between. "
        "Nothing was overwritten, but the decision is out of date."
    )


def _blind_overwrite(candidate: Candidate) -> str:
    victim, write = candidate.the("victim"), candidate.the("overwriter")
    what = "reset everything below" if write.resource.endswith("/") else "overwrote"
    return (
        f"{phrases.agent(write)} {what} `{phrases.key(write.resource)}` without having read it, and replaced what "
        f"{phrases.others(write, victim)} had written. If that was not meant, it is lost."
    )


def _dirty_read(candidate: Candidate) -> str:
    write, read = candidate.the("dirty_write"), candidate.the("dirty_read")
    who = phrases.others(read, write)
    seen = f"{phrases.agent(read)} read {phrases.state(read.read)} of `{phrases.key(read.resource)}`"
    if candidate.one("end") is None:
        return (
            f"{seen}, which {who} had written in a transaction whose end nobody captured. It may never have come to be."
        )
    if candidate.words["how"] == "taken back":
        return (
            f"{seen}, which {who} had written in a transaction that was then rolled back. "
            "What was read never came to be."
        )
    return f"{seen}, which {who} had not committed yet. It was committed later, but might as well have been taken back."


def _double_claim(candidate: Candidate) -> str:
    one, other = candidate.all("claim")
    worked = len(candidate.all("work")) == 2
    saw = len(candidate.all("selection")) == 2
    seen = " saw it free before either claimed it, and" if saw else ""
    return (
        f"{phrases.agent(one)} and {phrases.others(one, other)} both{seen} took the task "
        f"`{phrases.key(candidate.words['task'])}`, and neither had given it back. "
        + ("Both went on with it." if worked else "It was taken twice.")
    )


_SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.LOST_UPDATE: _lost_update,
    Kind.FORK: _fork,
    Kind.STALE_WRITE: _stale_write,
    Kind.BLIND_OVERWRITE: _blind_overwrite,
    Kind.DIRTY_READ: _dirty_read,
    Kind.DOUBLE_CLAIM: _double_claim,
    **reads.SENTENCES,
    **queues.SENTENCES,
    **locks.SENTENCES,
    **acts.SENTENCES,
    **cycles.SENTENCES,
    **sessions.SENTENCES,
}
