"""Lost message and out of order: what a consumer passed over, and what it applied too late.

*Lost message*: it was sent, and a consumer of the group has passed its position within one session without anybody's
ever having received it; or it was acknowledged although what its handler tried had failed. A receipt in a transaction
that was taken back handed nothing out. A new session begins where its group left off, so what lies before its first
receipt is not judged; but where another message of the same atomic send was received, this one had to be there.

*Out of order*: within one session (and under one ordering key, where there is one) a message was applied after a later
one. Receipts may be in another order than work: a message was applied when its first work was done, and where only an
acknowledgement tells of it, some time between receipt and that. What the broker hands out again in a queue without
ordering keys was promised to nobody in order.

Two sends that were given one position are a *fork*: only one of them will ever be received.

Source: Jepsen's Kafka checker (lost-write, poll-skip, nonmonotonic-poll, inconsistent-offsets); contract 3.1,
detection.md 3.6. Not judged here: what lies above the highest position that was read (not lost yet).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from noclobber.contract import Certainty, Kind, Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.queues import Handling, group_of, needs_group
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, name_of, partial

__all__ = ["lost_message", "out_of_order", "position_fork"]

BEFORE_FIRST_MAX: Final = 64
"""Positions before a session's first receipt that are looked at."""
ALONE: Final = frozenset({"kafka", "aws_kinesis", "eventhubs", "pulsar"})
"""Systems that assign a queue to one consumer of a group at a time; elsewhere others may hold what was passed."""

_Roles = tuple[tuple[Access, str], ...]
_Line = tuple[str, str]
"""Where positions count: the queue, and the ordering key where there is one."""


class _Skip(NamedTuple):
    """A position that a session passed.

    Attributes:
        before, after: the receipts around it; `before` is None before the session's first one.
        shared: whether another session of the group received positions in between, too.
    """

    before: Handling | None
    after: Handling
    shared: bool


def lost_message(evidence: Evidence) -> Iterator[Candidate]:
    """Messages that were passed over, or acknowledged though they failed; each send is one for a group."""
    sent = _positions(evidence)
    lines: dict[tuple[_Line, str], list[Handling]] = defaultdict(list)
    for handling in evidence.queues.handlings:
        lines[_line(handling.receipt), group_of(handling.receipt)].append(handling)
    for (line, group), handlings in lines.items():
        had = {handling.id for handling in handlings if evidence.queues.handed_out(handling)}
        told: set[str] = set()
        for send, skip in _skipped(sent.get(line, []), handlings, had, evidence):
            if send.span_id not in told:
                told.add(send.span_id)
                yield _lost(send, skip, group, evidence)
        yield from _acknowledged_failures(handlings, group, evidence)


def _line(access: Access) -> _Line:
    return access.resource, (access.message.key if access.message is not None else None) or ""


def _positions(evidence: Evidence) -> dict[_Line, list[tuple[int, str, Access]]]:
    """The sends that came to be, by position."""
    found: dict[_Line, list[tuple[int, str, Access]]] = defaultdict(list)
    for sends in evidence.queues.sends.values():
        for send in sends:
            if send.message is not None and send.message.seq is not None and evidence.queues.was_sent(send):
                found[_line(send)].append((send.message.seq, send.span_id, send))
    for of in found.values():
        of.sort()
    return found


def _sessions(handlings: Iterable[Handling]) -> Iterator[list[Handling]]:
    """The receipts of each session, in the order of its strand."""
    found: dict[tuple[str, str], list[Handling]] = defaultdict(list)
    for handling in handlings:
        message = handling.receipt.message
        if message is not None and message.session is not None and message.seq is not None:
            found[message.session, handling.receipt.strand].append(handling)
    yield from found.values()


def _at(handling: Handling) -> int:
    assert handling.receipt.message is not None
    return handling.receipt.message.seq or 0


def _skipped(
    sent: list[tuple[int, str, Access]], handlings: list[Handling], had: set[str], evidence: Evidence
) -> Iterator[tuple[Access, _Skip]]:
    sessions = list(_sessions(handlings))
    ranges = sorted((min(map(_at, of)), max(map(_at, of))) for of in sessions)
    shared = any(following[0] < before[1] for before, following in pairwise(ranges))
    for session in sessions:
        stands = [handling for handling in session if evidence.queues.handed_out(handling)]
        last: Handling | None = None
        for handling in stands:
            low = _at(handling) - BEFORE_FIRST_MAX if last is None else _at(last)
            for _, _, send in sent[bisect_left(sent, (low,)) : bisect_left(sent, (_at(handling),))]:
                assert send.message is not None
                if send.message.id in had or (last is None and not _half_received(send, had, evidence)):
                    continue
                yield send, _Skip(last, handling, shared)
            if last is None or _at(handling) > _at(last):
                last = handling


def _half_received(send: Access, had: set[str], evidence: Evidence) -> bool:
    """Whether another message of the same atomic send was received by anybody."""
    if not send.txn_id:
        return False
    together = evidence.history.transactions.get(send.txn_id, ())
    ids = {a.message.id for a in together if a.op is Op.SEND and a.message is not None and a is not send}
    return not ids.isdisjoint(evidence.queues.received) or not ids.isdisjoint(had)


def _lost(send: Access, skip: _Skip, group: str, evidence: Evidence) -> Candidate:
    before, after, shared = skip
    first = before.receipt if before is not None else None
    grade = Grade()
    if before is None:
        grade = grade.at_most(Certainty.LIKELY, "the receipt before it in the same session")
    if after.receipt.system not in ALONE:
        grade = grade.at_most(Certainty.LIKELY, "that no other consumer of the queue holds it")
    if shared:
        grade = grade.at_most(Certainty.POSSIBLE, "the receipts of the queue's other consumers")
    if needs_group(after.receipt):
        grade = grade.at_most(Certainty.LIKELY, "the consumer group (`noclobber.message.group`)")
    absence = evidence.absence(send.resource, send, after.receipt)
    if absence.missing or hole_between(evidence.history, first.seq if first is not None else None, after.receipt):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the queue's consumers")
    grade = partial(grade.resting_on(absence), (send, after.receipt))
    around = [(handling.receipt, role) for handling, role in ((before, "before"), (after, "passed")) if handling]
    links = [Link(send, after.receipt, "unordered", "a later position was received, and this one never")]
    if before is not None:
        links.append(Link(before.receipt, after.receipt, "program", "one uninterrupted session"))
    return _of_message(send, group, ((send, "sent"), *around), tuple(links), grade=grade, how="passed over")


def _of_message(
    send: Access, group: str, roles: _Roles, links: tuple[Link, ...], *, grade: Grade, how: str
) -> Candidate:
    assert send.message is not None
    return Candidate(
        kind=Kind.LOST_MESSAGE,
        resource=send.resource,
        anchors=(send,),
        units=(name_of(send), f"group {group}"),
        roles=roles,
        links=links,
        grade=grade,
        words={"how": how, "message": send.message.id},
    )


def _acknowledged_failures(handlings: list[Handling], group: str, evidence: Evidence) -> Iterator[Candidate]:
    """Messages that were acknowledged although all that their handler tried had failed."""
    again: dict[str, int] = defaultdict(int)
    for handling in handlings:
        again[handling.id] += 1
    for handling in handlings:
        failed = handling.failed
        if handling.ack is None or not failed or handling.applied or handling.refused or again[handling.id] > 1:
            continue
        sends = evidence.queues.sends.get(handling.id, ())
        send = sends[0] if len(sends) == 1 else handling.receipt
        grade = Grade().at_most(Certainty.LIKELY, "that nobody else did what the handler had failed to do")
        if hole_between(evidence.history, handling.receipt.seq, handling.ack):
            grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the handler's own strand")
        roles = [(send, "sent")] if send is not handling.receipt else []
        roles += [(handling.receipt, "receipt"), (failed[-1], "failed"), (handling.ack, "acknowledged")]
        link = Link(failed[-1], handling.ack, "program", "it had failed, and was acknowledged all the same")
        grade = partial(grade, (handling.receipt, failed[-1]))
        yield _of_message(send, group, tuple(roles), (link,), grade=grade, how="failed")


def out_of_order(evidence: Evidence) -> Iterator[Candidate]:
    """Messages that one session applied after later ones; each late receipt is at most one."""
    by_place: dict[tuple[str, str, str, str], list[Handling]] = defaultdict(list)
    for handling in evidence.queues.handlings:
        message = handling.receipt.message
        assert message is not None
        if message.session is not None and evidence.queues.handed_out(handling):
            place = (handling.receipt.resource, message.session, handling.receipt.strand, message.key or "")
            by_place[place].append(handling)
    for (_, _, _, key), handlings in by_place.items():
        yield from _late(handlings, evidence, keyed=bool(key))


def _late(handlings: list[Handling], evidence: Evidence, *, keyed: bool) -> Iterator[Candidate]:
    """Compare each message, in the order in which they were applied, with the newest one that was, and that was had."""
    newest: dict[tuple[str, bool], tuple[int, Handling]] = {}
    seen: set[str] = set()
    for handling in sorted(handlings, key=_applied_from):
        again, order = handling.id in seen, _sent_as(handling, evidence)
        seen.add(handling.id)
        if order is None or again:
            continue  # what was applied already and is applied again is a duplicate
        line, number = order
        before = (newest.get((line, applied)) for applied in (True, False))
        newer = next((one for held, one in filter(None, before) if held > number and _counts(one, handling)), None)
        if newer is not None and (keyed or not handling.again):
            yield _out_of_order(newer, handling, evidence, sure=line == "position")
        place = line, _deed(handling) is not None
        if place not in newest or number > newest[place][0]:
            newest[place] = number, handling


def _applied_from(handling: Handling) -> int:
    """From which number of its strand on a message may have been applied: its work tells, else its receipt."""
    return handling.applied[0].seq if handling.applied else handling.receipt.seq


def _sent_as(handling: Handling, evidence: Evidence) -> tuple[str, int] | None:
    """Where a message stands in the order of sending: its position, else its sender's program order."""
    message = handling.receipt.message
    if message is not None and message.seq is not None:
        return "position", message.seq
    sends = evidence.queues.sends.get(handling.id, ())
    if len(sends) != 1 or message is None or message.key is None:
        return None
    return f"strand {sends[0].strand}", sends[0].seq


def _counts(newer: Handling, late: Handling) -> bool:
    """Whether neither of the two was turned away or given back: a handler may check the position itself.

    Whoever received both and was done with them in order may have applied them in order.
    """
    deed = _deed(late)
    if not newer.applied and newer.ack is not None and deed is not None and deed.seq < newer.ack.seq:
        return False
    for handling in (newer, late):
        if not handling.applied and (handling.refused or handling.nack is not None):
            return False
    return True


def _out_of_order(newer: Handling, late: Handling, evidence: Evidence, *, sure: bool) -> Candidate:
    done = [_deed(handling) for handling in (newer, late)]
    grade = Grade()
    if not sure:
        grade = grade.at_most(Certainty.LIKELY, "positions (`noclobber.message.seq`)")
    if None in done:
        grade = grade.at_most(Certainty.LIKELY, "that both were applied: an acknowledgement, write or effect of each")
    elif not newer.applied and done[0] is not None and done[0].seq > _applied_from(late):
        grade = grade.at_most(Certainty.LIKELY, "what was done with each before it was acknowledged")
    grade = partial(grade, (newer.receipt, late.receipt))
    roles = [(newer.receipt, "newer"), *((deed, "applied") for deed in done[:1] if deed)]
    roles += [(late.receipt, "late"), *((deed, "applied") for deed in done[1:] if deed)]
    sends = [evidence.queues.sends.get(handling.id, []) for handling in (late, newer)]
    links = [Link(newer.receipt, late.receipt, "unordered", "it was received first, though it was sent later")]
    if all(len(of) == 1 for of in sends):
        first, second = sends[0][0], sends[1][0]
        roles = [(first, "sent"), (second, "sent"), *roles]
        links.append(Link(first, second, "position", "the order in which they were sent"))
    return Candidate(
        kind=Kind.OUT_OF_ORDER,
        resource=late.receipt.resource,
        anchors=(late.receipt,),
        roles=tuple(roles),
        links=tuple(links),
        grade=grade,
        words={"late": late.id, "newer": newer.id},
    )


def _deed(handling: Handling) -> Access | None:
    """What shows that a message was applied."""
    return handling.applied[0] if handling.applied else handling.ack


def position_fork(evidence: Evidence) -> Iterator[Candidate]:
    """Sends that were given one position of one queue; each but the first is one fork."""
    for (queue, _), sent in _positions(evidence).items():
        first: Access | None = None
        for position, _, send in sent:
            same = first is not None and first.message is not None and first.message.seq == position
            if first is None or not same:
                first = send
            elif send.message is not None and first.message is not None and send.message.id != first.message.id:
                one, other = sorted((first, send), key=lambda a: (a.start_ns, a.span_id))
                yield _forked(queue, position, one, other)


def _forked(queue: str, position: int, one: Access, other: Access) -> Candidate:
    return Candidate(
        kind=Kind.FORK,
        resource=queue,
        anchors=(other,),
        roles=((one, "child"), (other, "child")),
        links=(Link(one, other, "unordered", f"the queue gave position {position} to both"),),
        grade=partial(Grade(), (one, other)),
        words={"parent": "", "why": "one position", "position": str(position)},
    )
