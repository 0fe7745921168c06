"""Sentences for what goes wrong with messages, tasks and effects: twice, out of order, or never."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind, Op
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.verdict import Candidate

__all__ = ["SENTENCES"]


def _duplicate_delivery(candidate: Candidate) -> str:
    receipts, done = candidate.all("receipt"), candidate.all("applied")
    message = f"message `{phrases.short(candidate.words['message'])}` of `{phrases.key(candidate.resource)}`"
    if len(receipts) < 2:
        return (
            f"{phrases.agent(receipts[0])} was handed {message} again and {_did(done[0])}. "
            "Whoever got it first may have done so, too."
        )
    one, other = receipts
    return (
        f"{message[0].upper()}{message[1:]} was handed out twice: {phrases.agent(one)} {_did(done[0])}, "
        f"then {phrases.others(one, other)} {_did(done[1])} again, and nothing recognised the repetition."
    )


def _did(access: Access) -> str:
    resource = f"`{phrases.key(access.resource)}`"
    if access.op is Op.ACK:
        return "acknowledged it"
    if access.op is Op.EFFECT:
        return f"called {resource}"
    return f"sent to {resource}" if access.op is Op.SEND else f"changed {resource}"


def _duplicate_effect(candidate: Candidate) -> str:
    first, repeated = candidate.the("effect"), candidate.the("repeated")
    after = phrases.gap(first, repeated)
    when = f" {after} later" if after else ""
    answer = "the first call was never answered" if first.outcome == "unknown" else "both calls were answered"
    same = "called it" if first.agent == repeated.agent else f"{phrases.agent(repeated)} called it"
    return (
        f"{phrases.agent(first)} called `{phrases.key(first.resource)}`, and{when} {same} with the very same "
        f"arguments again; {answer}. No idempotency key told the other side that it was one call."
    )


def _lost_message(candidate: Candidate) -> str:
    message = f"message `{phrases.short(candidate.words['message'])}` of `{phrases.key(candidate.resource)}`"
    if candidate.words["how"] == "failed":
        receipt, failed = candidate.the("receipt"), candidate.the("failed")
        return (
            f"{phrases.agent(receipt)} acknowledged {message} although its {failed.op} of "
            f"`{phrases.key(failed.resource)}` had failed. Nobody will be handed it again."
        )
    send, passed = candidate.the("sent"), candidate.the("passed")
    return (
        f"{phrases.agent(passed)} went on past {message}, which {phrases.others(passed, send)} had sent"
        f"{_position(send)}, to a later one{_position(passed)}. Nobody of the group received it, and nobody will."
    )


def _position(access: Access) -> str:
    message = access.message
    return f" at position {message.seq}" if message is not None and message.seq is not None else ""


def _out_of_order(candidate: Candidate) -> str:
    if candidate.words.get("how") == "decided":
        return _against_decisions(candidate)
    newer, late = candidate.the("newer"), candidate.the("late")
    return (
        f"{phrases.agent(late)} handled message `{phrases.short(candidate.words['late'])}` of "
        f"`{phrases.key(candidate.resource)}`{_position(late)} after "
        f"`{phrases.short(candidate.words['newer'])}`{_position(newer)}, which had been sent later. "
        "Where the two change one thing, the older one won."
    )


def _against_decisions(candidate: Candidate) -> str:
    newer, late = candidate.the("newer"), candidate.the("applied")
    after = phrases.gap(newer, late)
    did = "called" if late.op is Op.EFFECT else "wrote"
    return (
        f"{phrases.agent(late)} {did} `{phrases.key(late.resource)}` twice against the order in which it had decided "
        f"to: the older decision was carried out {f'{after} ' if after else ''}after the newer one. "
        "Where the two concern one thing, the older one won."
    )


SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.DUPLICATE_DELIVERY: _duplicate_delivery,
    Kind.DUPLICATE_EFFECT: _duplicate_effect,
    Kind.LOST_MESSAGE: _lost_message,
    Kind.OUT_OF_ORDER: _out_of_order,
}
