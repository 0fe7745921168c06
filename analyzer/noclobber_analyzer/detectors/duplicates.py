"""Duplicate delivery and duplicate effect: what was to happen once happened twice.

*Duplicate delivery*: a message was handed out again (its delivery is above 1, or the same receiver got it twice), and
both handlings applied what they were told. A second handling that an idempotency key, a unique key or a guard turned
away is defended; so is one whose first handling was taken back. Two workers that hold one task at a time are a double
claim; a message that was sent twice may be received twice.

*Duplicate effect*: an effect of equal tool and arguments was repeated within one run, message or unit, or after a call
that ended `unknown`, without a key by which the other side could tell. Equal keys are deduplicated. Equal calls of
different runs may be meant: `possible`, no more.

Source: Jepsen's Kafka checker (duplicate); noclobber; contract 3.1, detection.md 3.5, analysis.md 5 (anchors).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from noclobber.contract import Certainty, Guard, Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.finding import resource_pattern
from noclobber_analyzer.queues import Handling, group_of, needs_group
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["duplicate_delivery", "duplicate_effect"]

EARLIER_MAX: Final = 8
"""Earlier handlings of a message that one is compared with, the last ones."""
_TAKES_PLACE: Final = frozenset({Outcome.OK, Outcome.UNKNOWN})


def duplicate_delivery(evidence: Evidence) -> Iterator[Candidate]:
    """Messages that were handled twice; each receipt but the first is at most one."""
    by_message: dict[tuple[str, str], list[Handling]] = defaultdict(list)
    for handling in evidence.queues.handlings:
        by_message[group_of(handling.receipt), handling.id].append(handling)
    for (_, message), handlings in by_message.items():
        if len(handlings) == 1 and not handlings[0].again:
            continue
        if len(evidence.queues.sends.get(message, ())) > 1 and not any(h.again for h in handlings):
            continue  # sent twice, received twice
        handlings.sort(key=lambda h: (h.receipt.start_ns, h.receipt.span_id))
        yield from _redelivered(handlings, evidence)


def _redelivered(handlings: list[Handling], evidence: Evidence) -> Iterator[Candidate]:
    first = handlings[0]
    if first.again and first.applied:
        yield _uncaptured(first)
    for place, second in enumerate(handlings[1:], start=1):
        for one in reversed(handlings[max(0, place - EARLIER_MAX) : place]):
            if not second.again and one.receipt.strand != second.receipt.strand:
                continue  # two workers: a double claim
            twice = _applied_twice(one, second, evidence)
            if twice is not None:
                yield _delivery(one, second, twice, evidence)
                break


def _applied_twice(one: Handling, second: Handling, evidence: Evidence) -> tuple[Access, Access] | None:
    """What both handlings did: the pair that is most alike; acknowledgements where nothing else was captured."""
    if not evidence.queues.handed_out(one) or not evidence.queues.handed_out(second):
        return None
    done = {_what(a): a for a in one.applied}
    for access in second.applied:
        before = done.get(_what(access))
        if before is not None and not _told_apart(before, access):
            return before, access
    if second.refused or second.applied or one.applied:
        return None  # it did something else, or was turned away
    return (one.ack, second.ack) if one.ack is not None and second.ack is not None else None


def _what(access: Access) -> tuple[Op, str]:
    """What an access did, its ids left out: a handler may give the rows that it makes names of their own."""
    return access.op, resource_pattern(access.resource)


def _told_apart(before: Access, access: Access) -> bool:
    """Whether the repetition changed nothing: an equal key, a guard that compared, an equal value."""
    if access.effect is not None and before.effect is not None:
        return access.effect.key is not None and access.effect.key == before.effect.key
    if access.op not in WRITE_OPS:
        return False
    if access.guard in (Guard.UNIQUE, Guard.VERSION):
        return True
    content = access.content_written or access.written
    return access.op is not Op.UPDATE and content is not None and content == (before.content_written or before.written)


def _delivery(one: Handling, second: Handling, twice: tuple[Access, Access], evidence: Evidence) -> Candidate:
    before, after = twice
    grade = Grade()
    if before.op is Op.ACK:
        grade = grade.at_most(Certainty.POSSIBLE, "what the handlers did with the message")
    elif before.resource != after.resource:
        grade = grade.at_most(Certainty.LIKELY, "whether both handlers did the same: they changed different resources")
    if not second.again:
        grade = grade.at_most(Certainty.LIKELY, "the number of the delivery (`noclobber.message.delivery`)")
    if needs_group(one.receipt) and not second.again:
        grade = grade.at_most(Certainty.POSSIBLE, "the consumer group of both (`noclobber.message.group`)")
    if Fate.UNDECIDED in (evidence.fates.of(before), evidence.fates.of(after)):
        grade = grade.at_most(Certainty.POSSIBLE, "whether both handlers applied it: an outcome is unknown")
    grade = partial(grade, (one.receipt, second.receipt, before, after))
    return Candidate(
        kind=Kind.DUPLICATE_DELIVERY,
        resource=second.receipt.resource,
        anchors=(second.receipt,),
        roles=((one.receipt, "receipt"), (before, "applied"), (second.receipt, "receipt"), (after, "applied")),
        links=(
            Link(one.receipt, before, "program", "it worked on the message"),
            Link(one.receipt, second.receipt, "unordered", "the same message was handed out again"),
            Link(second.receipt, after, "program", "it worked on the message again"),
        ),
        grade=grade,
        consequences=_names((*second.applied, *one.applied)),
        words={"message": second.id},
    )


def _uncaptured(handling: Handling) -> Candidate:
    """A second delivery whose first one was not captured."""
    missing = "the first delivery of the message, and what its handler did"
    return Candidate(
        kind=Kind.DUPLICATE_DELIVERY,
        resource=handling.receipt.resource,
        anchors=(handling.receipt,),
        roles=((handling.receipt, "receipt"), (handling.applied[0], "applied")),
        links=(Link(handling.receipt, handling.applied[0], "program", "it worked on the message"),),
        grade=Grade().at_most(Certainty.POSSIBLE, missing),
        words={"message": handling.id},
    )


def _names(accesses: Iterable[Access]) -> frozenset[tuple[str, str]]:
    return frozenset(access.name for access in accesses)


class _Calls:
    """Calls of one effect so far: the last by run, message and unit, all keys, and the first of all."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.within: dict[tuple[str, str], Access] = {}
        self.first: Access | None = None
        self.unanswered: Access | None = None

    def add(self, call: Access) -> None:
        assert call.effect is not None
        if call.effect.key is not None:
            self.keys.add(call.effect.key)
        for place in _places(call):
            self.within[place] = call
        self.first = self.first or call
        if call.outcome is Outcome.UNKNOWN:
            self.unanswered = call


def duplicate_effect(evidence: Evidence) -> Iterator[Candidate]:
    """Effects that were repeated; each call of one effect but the first is at most one."""
    calls: dict[str, _Calls] = {}
    for call in evidence.history.of(Op.EFFECT):
        if not _takes_place(call, evidence):
            continue
        assert call.effect is not None
        before = calls.setdefault(call.effect.hash, _Calls())
        if call.effect.key is None or call.effect.key not in before.keys:
            found = _repeats(call, before, evidence)
            if found is not None:
                yield _effect(found[0], call, found[1])
        before.add(call)


def _takes_place(call: Access, evidence: Evidence) -> bool:
    """Whether a call of an effect took place, or may have: what had failed is rightly called again."""
    return call.effect is not None and call.outcome in _TAKES_PLACE and evidence.fates.of(call) is not Fate.UNAPPLIED


def _places(call: Access) -> Iterator[tuple[str, str]]:
    """Within what an equal call is a repetition."""
    if call.message is not None:
        yield "message", call.message.id
    if call.run is not None:
        yield "run", call.run
    if call.unit_kind is not None:
        yield "unit", call.unit


def _repeats(call: Access, before: _Calls, evidence: Evidence) -> tuple[Access, Grade] | None:
    """The call that this one repeats, and how sure that is."""
    for trace_id, span_id, edge in call.links:
        first = evidence.history.by_name.get((trace_id, span_id))
        if edge == "retry" and first is not None and _takes_place(first, evidence):
            sure = first.outcome is Outcome.OK and call.outcome is Outcome.OK
            return (first, Grade()) if sure else (first, _unsure(first, call, "whether both took place"))
    for place in _places(call):
        first = before.within.get(place)
        if first is not None and not _of_two_messages(first, call):
            return first, _unsure(first, call, "a span link (`noclobber.edge` = `retry`) that joins the two calls")
    first = before.unanswered or before.first
    if first is None or _of_two_messages(first, call):
        return None
    missing = "whether the second call repeats the first: the run or message that both belong to"
    return first, Grade().at_most(Certainty.POSSIBLE, missing)


def _of_two_messages(first: Access, call: Access) -> bool:
    """Whether two messages asked for one thing each."""
    return first.message is not None and call.message is not None and first.message.id != call.message.id


def _unsure(first: Access, call: Access, missing: str) -> Grade:
    grade = Grade().at_most(Certainty.LIKELY, missing)
    if call.outcome is Outcome.UNKNOWN:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the second call took place: it was not answered")
    return partial(grade, (first, call))


def _effect(first: Access, call: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.DUPLICATE_EFFECT,
        resource=call.resource,
        anchors=(call,),
        roles=((first, "effect"), (call, "repeated")),
        links=(Link(first, call, "unordered", "the same call again, and nothing tells the other side"),),
        grade=grade,
    )
