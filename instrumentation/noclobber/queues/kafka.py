"""Kafka's records, as every client library sees them: positions as names, groups, commits.

A record is named by topic, partition and offset; the sender knows the offset when the broker has acknowledged it, so a
send lasts until then. A commit acknowledges each record below it that its consumer had received.

Kafka counts no deliveries. A record that this process has received before for the same group comes again; one that was
appended after the consumer had got the partition (above what was there at its first receipt) comes for the first time.
Of any other nobody here can tell whether another process of the group had it before, so its receipt is partial: a
rebalance is the end of a lease, and no double claim.

A consumer works on what it received last: commits are rarer than records, and cover all before.

Skipped positions are not told (no `message.session`): inside one assignment a consumer misses only what compaction,
retention or an aborted transaction took away, which is no loss. Sends of a transactional producer carry no position.

Source: Kafka's protocol guide (group membership, offsets); contract 2.1; capture.md section 4.
"""

import itertools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Op, Outcome
from noclobber.queues.messages import UNTOLD, Queue, message_id
from noclobber.resources import quoted

__all__ = ["Commit", "Consuming", "Partition", "Sent", "begin_send", "end_send"]

SYSTEM: Final = "kafka"
SEEN_MAX: Final = 20_000
"""Records of which the process remembers that a group received them."""
UNSETTLED_MAX: Final = 10_000
"""Received and uncommitted records of one partition that are remembered."""

Partition = tuple[str, int]
_seen: OrderedDict[tuple[str, Partition, int], None] = OrderedDict()
_numbers = itertools.count(1)


class Sent(NamedTuple):
    """Where a record went, as far as that is known."""

    topic: str
    partition: int | None = None
    offset: int | None = None
    positioned: bool = True


def _queue(topic: str, partition: int | None, group: str | None = None) -> Queue:
    place = f"kafka://{quoted(topic)}" + (f"/{partition}" if partition is not None else "")
    return Queue(place, SYSTEM, group)


def _name(topic: str, partition: int | None, offset: int | None) -> str:
    return message_id(UNTOLD if offset is None else str(offset), topic, str(partition))


# -- sends ---------------------------------------------------------------------------------------------------------


def begin_send(library: str) -> Call | None:
    """Note that a record is given to the producer; the call ends when the broker has it, or never will."""
    active = recorder.recording()
    return None if active is None else active.begin(library)


def end_send(call: Call, sent: Sent, outcome: Outcome = Outcome.OK) -> None:
    """Note how that ended."""
    active = recorder.active()
    if active is not None:
        active.end(call, _build_send, (sent, outcome))


def _build_send(call: Call) -> Sequence[Access]:
    sent, outcome = call.facts
    offset = sent.offset if outcome is Outcome.OK else None
    name = _name(sent.topic, sent.partition, offset)
    seq = offset if sent.positioned else None
    untold = offset is None and outcome is not Outcome.ERROR
    return [_queue(sent.topic, sent.partition).access(Op.SEND, name, outcome, partial=untold, seq=seq)]


# -- receipts and commits ------------------------------------------------------------------------------------------


class Consuming:
    """What one consumer has received.

    Args:
        library: of the consumer.
        group: None where it is in none: then it is one of its own.
        commits: whether the program commits; else the library does, at some time.
        watermark_of: end of a partition, as far as the consumer knows without asking; None: it does not.
    """

    def __init__(
        self, library: str, group: str | None, *, commits: bool, watermark_of: Callable[[Partition], int | None]
    ) -> None:
        self._library = library
        self._alone = not group
        self._group = group or f"consumer {strands.process_id()}.{next(_numbers)}"
        self._commits = commits and bool(group)
        self._watermark_of = watermark_of
        self._watermarks: dict[Partition, int | None] = {}
        self._unsettled: dict[Partition, deque[int]] = defaultdict(lambda: deque(maxlen=UNSETTLED_MAX))

    def reassigned(self) -> None:
        """The consumer has other partitions now, or again: others may have read on meanwhile."""
        self._watermarks.clear()
        self._unsettled.clear()

    def receive(self, records: Iterable[tuple[str, int, int]], start_ns: int) -> None:
        """Note records (topic, partition, offset) that the program is about to get, asked for at `start_ns`."""
        active = recorder.recording()
        facts = [(topic, partition, offset, self._delivery((topic, partition), offset))
                 for topic, partition, offset in records]  # fmt: skip
        if active is None or not facts:
            return
        if self._commits:
            for topic, partition, offset, _ in facts:
                self._unsettled[topic, partition].append(offset)
        call = active.begin(self._library, len(facts))
        call.start_ns = start_ns
        active.end(call, _build_receipts, (self._group, facts))

    def _delivery(self, at: Partition, offset: int) -> int | None:
        """1 or 2, None where nobody here can tell."""
        record = (self._group, at, offset)
        again = record in _seen
        _seen[record] = None
        if len(_seen) > SEEN_MAX:
            _seen.popitem(last=False)
        if at not in self._watermarks:
            self._watermarks[at] = self._watermark_of(at)
        watermark = self._watermarks[at]
        if again:
            return 2
        return 1 if self._alone or (watermark is not None and offset >= watermark) else None

    def begin_commit(self, upto: Mapping[Partition, int] | None) -> "Commit | None":
        """Note that what lies below `upto` is committed (None: all that was received); None where that is nothing."""
        active = recorder.recording()
        facts = [
            (*at, offset)
            for at, offsets in self._unsettled.items()
            for offset in offsets
            if upto is None or offset < upto.get(at, 0)
        ]
        return None if active is None or not facts else Commit(active.begin(self._library, len(facts)), facts)

    def end_commit(self, commit: "Commit", outcome: Outcome) -> None:
        """Note how that ended."""
        active = recorder.active()
        if outcome is not Outcome.ERROR:
            for topic, partition, offset in commit.records:
                of_partition = self._unsettled[topic, partition]
                if offset in of_partition:
                    of_partition.remove(offset)
        if active is not None:
            active.end(commit.call, _build_commit, (self._group, commit.records, outcome))


class Commit(NamedTuple):
    """A commit under way, and the records that it acknowledges."""

    call: Call
    records: list[tuple[str, int, int]]


def _build_receipts(call: Call) -> Sequence[Access]:
    group, facts = call.facts
    return [
        _queue(topic, partition, group).access(
            Op.RECEIVE, _name(topic, partition, offset), delivery=delivery, held=None, partial=delivery is None,
            seq=offset,
        )
        for topic, partition, offset, delivery in facts
    ]  # fmt: skip


def _build_commit(call: Call) -> Sequence[Access]:
    group, records, outcome = call.facts
    return [
        _queue(topic, partition, group).access(Op.ACK, _name(topic, partition, offset), outcome)
        for topic, partition, offset in records
    ]
