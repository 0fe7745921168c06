"""Who analyses which ranges: leases in the store, renewed by beats, shared out evenly, taken over from who is lost.

Each analyzer writes a row every few seconds: the ranges that it holds, each with an epoch, and the checkpoint up to
which all of theirs is judged and written. The log is only added to, and everybody reads the same state out of it: of an
analyzer the row with its greatest beat counts, of two that hold one range the greater epoch (then the greater name).
Nobody compares clocks: an analyzer whose beat has not changed for 15 s *of one's own clock* is lost, one that leaves in
order says so, and their ranges are taken under the next epoch, from their checkpoint. For a moment there may be two
owners; since findings are idempotent by id and revision, both write the same.

All compute the same shares from the same log: as even as 64 ranges can be dealt out among those who live. Who has too
many lets some go, who has too few takes what is free, in the order of their names, so that they seldom take the same.
A long step of an analysis must not look like its end: `renew` writes the same row with a new beat, from another thread.

Source: analysis.md 10.4; Gray and Cheriton 1989 (leases).
"""

import threading
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from noclobber_analyzer.checkpoint import Checkpoint, earlier
from noclobber_analyzer.clock import SECOND_NS, Clock
from noclobber_analyzer.ranges import ALL, RANGES
from noclobber_analyzer.tables import Store

__all__ = ["LAPSE_NS", "RENEW_NS", "Leases", "Turn"]

RENEW_NS: Final = 3 * SECOND_NS
LAPSE_NS: Final = 15 * SECOND_NS
"""Without a beat for this long an analyzer is lost."""
FORGOTTEN_NS: Final = 600 * SECOND_NS
"""Whose last beat was written so long ago is lost at first sight, however clocks differ."""

COLUMNS: Final = ("analyzer", "owner", "beat", "at_ns", "leaving", "ranges", "epochs", "checkpoint")


class Turn(NamedTuple):
    """What a turn changed.

    Attributes:
        taken, lost: ranges that are one's own from now on, and those that no longer are.
        since: up to where whoever had the taken ones had judged; None: nobody ever had them, or nothing is known of it.
    """

    taken: frozenset[int]
    lost: frozenset[int]
    since: Checkpoint | None


class _Beat(NamedTuple):
    """The newest row of an analyzer."""

    beat: int
    at_ns: int
    leaving: bool
    epochs: Mapping[int, int]


class Leases:
    """The ranges of one analyzer; used by one thread, but for `renew`.

    Args:
        store: holds the table `leases`.
        group: the name that all who share the work go by.
        owner: names this one among them.
        clock: wall time; only differences of one's own count.

    Attributes:
        group, owner: as given.
        held: one's own ranges, with their epochs.
    """

    def __init__(self, store: Store, group: str, owner: str, clock: Clock) -> None:
        self.held: dict[int, int] = {}
        self.group, self.owner = group, owner
        self._store, self._clock = store, clock
        self._writing = threading.Lock()
        self._seen: dict[str, tuple[int, int]] = {}
        self._beat = 0
        self._done: Checkpoint | None = None
        self._turned_ns = self._written_ns = 0
        self._has_left = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for a turn."""
        return not self._turned_ns or self._clock.now_ns() - self._turned_ns >= RENEW_NS

    def turn(self, done: Checkpoint | None) -> Turn:
        """Renew one's leases, take what one ought to have, let go of what one has too much.

        Args:
            done: all that came up to here is judged and written, for all one's ranges; None: that is not so yet for
                those that were taken last.
        """
        now_ns = self._turned_ns = self._clock.now_ns()
        with self._writing:
            before = dict(self.held), self._done
            try:
                return self._turn(done or self._done, now_ns)
            except Exception:
                self.held, self._done = before  # nobody was told of the others
                raise

    def _turn(self, done: Checkpoint | None, now_ns: int) -> Turn:
        self._done = done
        beats = self._read(now_ns)
        beats.pop(self.owner, None)
        others = {name for name, beat in beats.items() if self._lives(name, beat, now_ns)}
        holders = {number: of for number, of in _holders(beats).items() if of[1] in others}
        lost = {number for number, epoch in self.held.items() if holders.get(number, (0, "")) > (epoch, self.owner)}
        for number in lost:
            del self.held[number]
        free = sorted(ALL - holders.keys() - self.held.keys())
        held = {**dict.fromkeys(others, 0), self.owner: len(self.held)}
        for _, name in holders.values():
            held[name] += 1
        shares = _shares(sorted(held))
        taken, since = self._take(self._portion(free, held, shares))
        surplus = sorted(self.held)[shares[self.owner] :]
        for number in surplus:
            del self.held[number]
        self._write(now_ns, leaving=False)
        return Turn(taken, frozenset(lost) | frozenset(surplus), since)

    def leave(self, done: Checkpoint | None) -> None:
        """Say that one ends: others need not wait."""
        with self._writing:
            self._done = done or self._done
            self._write(self._clock.now_ns(), leaving=True)
            self.held.clear()
            self._has_left = True

    def renew(self) -> None:
        """Beat while a turn has to wait; any thread."""
        with self._writing:
            now_ns = self._clock.now_ns()
            if self._beat and not self._has_left and now_ns - self._written_ns >= RENEW_NS:
                self._write(now_ns, leaving=False)

    def _read(self, now_ns: int) -> dict[str, _Beat]:
        sql = (
            "SELECT owner, beat, at_ns, leaving, ranges, epochs FROM leases WHERE analyzer = {group:String} "
            "AND at_ns >= {since:UInt64} ORDER BY beat DESC LIMIT 1 BY owner"
        )
        rows = self._store.rows(sql, {"group": self.group, "since": max(0, now_ns - 2 * FORGOTTEN_NS)})
        return {
            str(owner): _Beat(int(beat), int(at_ns), bool(leaving), dict(zip(ranges, epochs, strict=True)))
            for owner, beat, at_ns, leaving, ranges, epochs in rows
        }

    def _lives(self, owner: str, beat: _Beat, now_ns: int) -> bool:
        known, since_ns = self._seen.get(owner, (-1, 0))
        if known != beat.beat:
            first_sight = owner not in self._seen
            since_ns = beat.at_ns if first_sight and now_ns - beat.at_ns > FORGOTTEN_NS else now_ns
            self._seen[owner] = (beat.beat, since_ns)
        return not beat.leaving and now_ns - since_ns < LAPSE_NS

    def _portion(self, free: list[int], held: Mapping[str, int], shares: Mapping[str, int]) -> list[int]:
        """What of the free ranges is for this one: everybody in the order of names, as many as each lacks."""
        at = 0
        for name in sorted(shares):
            lacking = max(0, shares[name] - held[name])
            if name == self.owner:
                return free[at : at + lacking]
            at += lacking
        return []

    def _take(self, numbers: list[int]) -> tuple[frozenset[int], Checkpoint | None]:
        """Claim ranges under the next epoch; returns them, and the earliest checkpoint of who had them last."""
        if not numbers:
            return frozenset(), None
        sql = (
            "SELECT number, max(epoch), argMax(checkpoint, (epoch, owner, beat)) FROM (SELECT owner, beat, checkpoint, "
            "each.1 AS number, each.2 AS epoch FROM leases ARRAY JOIN arrayZip(ranges, epochs) AS each "
            "WHERE analyzer = {group:String}) WHERE number IN {numbers:Array(UInt8)} GROUP BY number"
        )
        before = {int(number): (int(epoch), str(body)) for number, epoch, body in self._rows(sql, numbers)}
        since: Checkpoint | None = None
        for number in numbers:
            epoch, body = before.get(number, (0, ""))
            self.held[number] = epoch + 1
            checkpoint = msgspec.json.decode(body, type=Checkpoint) if body else None
            since = earlier(since, checkpoint) if since and checkpoint else since or checkpoint
        if since is not None:
            self._done = earlier(self._done, since) if self._done else since
        return frozenset(numbers), since

    def _rows(self, sql: str, numbers: list[int]) -> list[tuple[Any, ...]]:
        return self._store.rows(sql, {"group": self.group, "numbers": numbers})

    def _write(self, now_ns: int, *, leaving: bool) -> None:
        self._beat += 1
        self._written_ns = now_ns
        body = msgspec.json.encode(self._done).decode() if self._done is not None else ""
        numbers = sorted(self.held)
        epochs = [self.held[number] for number in numbers]
        row = (self.group, self.owner, self._beat, now_ns, int(leaving), numbers, epochs, body)
        self._store.insert("leases", COLUMNS, [row])


def _holders(beats: Mapping[str, _Beat]) -> dict[int, tuple[int, str]]:
    """By range, the epoch under which it is held, and who holds it."""
    found: dict[int, tuple[int, str]] = {}
    for name, beat in beats.items():
        for number, epoch in beat.epochs.items():
            found[number] = max(found.get(number, (0, "")), (epoch, name))
    return found


def _shares(names: list[str]) -> dict[str, int]:
    """How many ranges each should have; the first ones one more, where they do not come out even."""
    each, more = divmod(RANGES, len(names))
    return {name: each + (at < more) for at, name in enumerate(names)}
