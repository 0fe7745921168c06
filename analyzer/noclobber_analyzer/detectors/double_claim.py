"""Double claim: two workers took one task, and neither had given it back.

A *take* is the first access with which a strand takes up a message or task id: a `receive`, or a write that moves a
row out of the state by which it was selected (capture marks it with the id). Two takes of one id in one group are a
double claim if both were `ok`, or if both workers went on with the task: an acknowledgement, effect, send or write
that carries the id. A take that had no effect, or that a guard refused, is defended if its worker does not carry the
id again, or only after the task had been set free. Who saw the task free again after the first take was over claimed
what somebody had given back. An equal value never defends a take.

Source: noclobber; contract 3.1 and 2 (`message.*`), detection.md 3.5.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from noclobber.contract import Certainty, Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.order import Answer
from noclobber_analyzer.queues import group_of, needs_group
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, left_open, partial

__all__ = ["Take", "double_claim", "selection", "takes"]

TAKE_OPS: Final = frozenset({Op.RECEIVE, *WRITE_OPS})
WORK_OPS: Final = frozenset({Op.ACK, Op.EFFECT, Op.SEND, *WRITE_OPS})
SELECTION_MAX: Final = 200
"""How many accesses back a selection is looked for."""
RIVALS_MAX: Final = 64
"""Earlier takes of a task that one is compared with: the first, and the last ones."""
_REFUSED: Final = frozenset({Outcome.NO_EFFECT, Outcome.REJECTED, Outcome.NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Take:
    """One worker's taking up of one task.

    Attributes:
        access: the take itself. selected: the scan or read by which its unit saw the task free, where captured.
        work: what the worker did with the task after it.
    """

    access: Access
    selected: Access | None
    work: tuple[Access, ...]

    @property
    def refused(self) -> bool:
        """Whether the store said that there was nothing to take."""
        return self.access.outcome in _REFUSED

    @property
    def went_on(self) -> bool:
        """Whether the worker carried the task's id again."""
        return bool(self.work)


def double_claim(evidence: Evidence) -> Iterator[Candidate]:
    """Double claims of all tasks: one for each take but the first."""
    for (_, task), taken in evidence.once(takes).items():
        real = [take for take in taken if not take.refused or take.went_on]
        for place, take in enumerate(real[1:], start=1):
            rivals = real[:place] if place <= RIVALS_MAX else [real[0], *real[place - RIVALS_MAX + 1 : place]]
            if take.went_on:
                rivals.sort(key=lambda each: not each.went_on)  # two who both went on prove the most
            rival = next((each for each in rivals if _both(each, take, evidence)), None)
            if rival is not None:
                yield _candidate(task, rival, take, evidence)


def takes(evidence: Evidence) -> dict[tuple[str, str], list[Take]]:
    """By (group, task id): its takes, one for each strand, in canonical order."""
    carried: dict[tuple[str, str], dict[str, list[Access]]] = defaultdict(lambda: defaultdict(list))
    groups: dict[tuple[str, str], str] = {}
    for access in evidence.history.accesses:
        if access.message is not None and access.op is not Op.COMMIT:
            group, message = group_of(access), access.message.id
            if access.op is Op.RECEIVE:
                groups[access.strand, message] = group
            group = group or groups.get((access.strand, message), "")  # work is for whom the message was received
            carried[group, message][access.strand].append(access)
    found: dict[tuple[str, str], list[Take]] = {}
    for key, by_strand in carried.items():
        if len(by_strand) < 2:
            continue
        taken = [take for own in by_strand.values() if (take := _take(own, evidence)) is not None]
        if len(taken) > 1:
            found[key] = sorted(taken, key=_starts)
    return found


def _starts(take: Take) -> tuple[int, str]:
    return take.access.start_ns, take.access.span_id


def _take(own: list[Access], evidence: Evidence) -> Take | None:
    """How one strand took up a task: none if it only sent it, or its taking was taken back."""
    own = sorted(own, key=lambda a: a.seq)
    first = next((a for a in own if a.op in TAKE_OPS), None)
    if first is None or (first.op is not Op.RECEIVE and any(a.op is Op.SEND and a.seq < first.seq for a in own)):
        return None  # it made the task
    if first.outcome not in _REFUSED and evidence.fates.of(first) is Fate.UNAPPLIED:
        return None
    later = (a for a in own if a.seq > first.seq and a.op in WORK_OPS)
    work = tuple(a for a in later if evidence.fates.of(a) is not Fate.UNAPPLIED)
    return Take(first, selection(first, evidence), work)


def selection(take: Access, evidence: Evidence) -> Access | None:
    """The last scan or read by which the strand saw the task before it took it."""
    if take.op is Op.RECEIVE:
        return None  # a queue hands out; nobody selects
    for access in evidence.history.back(take, SELECTION_MAX):
        if access.op is Op.SCAN and access.scan is not None and take.resource in access.scan.resources:
            return access
        if access.op is Op.READ and access.resource == take.resource:
            return access
    return None


def _both(first: Take, second: Take, evidence: Evidence) -> bool:
    """Whether two takes stand against each other: neither was given back before the other."""
    if first.access.op is Op.RECEIVE and (
        _redelivered(second) or _is_later_delivery(first, second) or _given_back(first, evidence)
    ):
        return False
    if second.access.op is not Op.RECEIVE and evidence.order.path(first.access, second.access) is Answer.YES:
        return False  # it was handed on: whoever took it had another strand work on it
    if any(_lies_between(each, first, second, evidence) for each in _releases(first, second, evidence)[0]):
        return False
    if second.selected is not None and evidence.took_effect_before(first.access, second.selected) is not None:
        return False
    if first.selected is not None and evidence.took_effect_before(second.access, first.selected) is not None:
        return False
    ok = not first.refused and not second.refused
    return ok or (_went_on(first, second, evidence) and _went_on(second, first, evidence))


def _went_on(take: Take, rival: Take, evidence: Evidence) -> bool:
    """Whether a worker went on, though perhaps refused, and not with what its rival had given back meanwhile."""
    if not take.refused or not take.went_on:
        return take.went_on
    near, _ = evidence.state(take.access.resource).timeline.nearest(rival.access, take.work[0])
    free = (write for write in near if write.message is None)
    return not any(
        evidence.writes_before(rival.access, write) and evidence.writes_before(write, take.work[0]) for write in free
    )


def _redelivered(take: Take) -> bool:
    return _delivery(take) > 1


def _is_later_delivery(one: Take, other: Take) -> bool:
    """Whether the broker counts one receipt after another: of two calls that overlap the first may get the later."""
    return _delivery(one) > _delivery(other)


def _delivery(take: Take) -> int:
    message = take.access.message
    return (message.delivery if message is not None else None) or 1


def _given_back(take: Take, evidence: Evidence) -> bool:
    message = take.access.message
    return message is not None and (take.access.strand, message.id) in evidence.queues.given_back


def _releases(first: Take, second: Take, evidence: Evidence) -> tuple[list[Access], bool]:
    """Writes around two takes that do not carry the task: they may have set it free; and whether some are left out."""
    if first.access.op is Op.RECEIVE:
        return [], False
    near, cut = evidence.state(first.access.resource).timeline.nearest(first.access, second.access)
    return [write for write in near if write.message is None], cut


def _lies_between(release: Access, first: Take, second: Take, evidence: Evidence) -> bool:
    """Whether a write came after the first take and before the second."""
    after = evidence.writes_before(first.access, release) is not None
    return after and evidence.writes_before(release, second.access) is not None


def _may_lie_between(release: Access, first: Take, second: Take, evidence: Evidence) -> bool:
    """Whether nothing proves that a write came before both takes, or after both."""
    takes_ = (first.access, second.access)
    return not (
        all(evidence.writes_before(release, take) is not None for take in takes_)
        or all(evidence.writes_before(take, release) is not None for take in takes_)
    )


def _acknowledged_between(first: Take, second: Take, evidence: Evidence) -> bool:
    """Whether the first receiver was done with the message, and had said so, before it was handed out again."""
    if second.access.op is not Op.RECEIVE:
        return False
    acks = (access for access in first.work if access.op is Op.ACK and access.outcome is Outcome.OK)
    return any(evidence.order.before(ack, second.access) is not None for ack in acks)


def _candidate(task: str, first: Take, second: Take, evidence: Evidence) -> Candidate:
    one, other = first.access, second.access
    ok = not first.refused and not second.refused
    seen_free = first.selected is not None and second.selected is not None
    certain = (
        ok
        and seen_free
        and one.resource == other.resource
        and first.went_on
        and second.went_on
        and _strong(first, evidence)
        and _strong(second, evidence)
    )
    if certain:
        grade = Grade()
    elif not first.went_on or not second.went_on:
        grade = Grade().at_most(Certainty.LIKELY, "that both went on with the task: an access that carries its id")
    else:
        grade = Grade().at_most(Certainty.LIKELY, "that no lease had ended in between, and no span is lost")
    releases, cut = _releases(first, second, evidence)
    if cut or any(_may_lie_between(each, first, second, evidence) for each in releases):
        grade = grade.at_most(Certainty.POSSIBLE, "the order of the takes and of another write of the task")
    if not one.resource or needs_group(one):
        grade = grade.at_most(Certainty.POSSIBLE, "the consumer group of both (`noclobber.message.group`)")
    if len(evidence.queues.sends.get(task, ())) > 1:
        grade = grade.at_most(Certainty.POSSIBLE, "ids of their own for messages: one was sent more than once")
    if not evidence.queues.sends.get(task) and _acknowledged_between(first, second, evidence):
        grade = grade.at_most(Certainty.POSSIBLE, "who sent it: it may have been sent again once it was acknowledged")
    if Fate.UNDECIDED in (evidence.fates.of(one), evidence.fates.of(other)):
        grade = grade.at_most(Certainty.POSSIBLE, "whether both takes were applied: an outcome is unknown")
    grade = grade.resting_on(evidence.absence(other.resource, one, other))
    grade = partial(left_open(grade, one, other, evidence.order), (one, other))
    roles = [(take.selected, "selection") for take in (first, second) if take.selected is not None]
    roles += [(one, "claim"), (other, "claim")]
    roles += [(take.work[0], "work") for take in (first, second) if take.work]
    links = [Link(t.selected, t.access, "base", "it was seen free here") for t in (first, second) if t.selected]
    links.append(Link(one, other, "unordered", "neither had given the task back when the other took it"))
    return Candidate(
        kind=Kind.DOUBLE_CLAIM,
        resource=other.resource,
        anchors=(other,),
        roles=tuple(roles),
        links=tuple(links),
        grade=grade,
        consequences=_consequences((first, second), evidence),
        words={"task": task},
    )


def _consequences(both: tuple[Take, Take], evidence: Evidence) -> frozenset[tuple[str, str]]:
    """What both did with the task after they had taken it, the row that it is included."""
    found = {access.name for take in both for access in take.work}
    for take in both:
        if take.access.op in WRITE_OPS:
            found |= {own.name for own in evidence.state(take.access.resource).own_after(take.access)}
    return frozenset(found)


def _strong(take: Take, evidence: Evidence) -> bool:
    """Whether nothing could have given the task back unseen: no lease, no hole in the strand."""
    if take.access.op is Op.RECEIVE:
        return False  # a broker's lease may end unseen
    since = take.selected.seq if take.selected is not None else None
    return not hole_between(evidence.history, since, take.work[-1] if take.work else take.access)
