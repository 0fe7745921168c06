"""Where one resource stands while its accesses come one after the other: what is kept of it in place of all of them.

A frame takes accesses in order, each of which has to follow from what stands there: a read gets the version that the
last write made, a write is computed from it. In order means: all that it may conflict with had returned before it was
called. Where versions are numbers that grow by one, they tell the order by themselves, so that calls may overlap as
long as none had returned before one was called that its number puts later.

Source: analysis.md 5, 6 and 9 (frames). Which accesses are fit for a frame, and what units mean, is decided in `sieve`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Defence, Op, VersionKind
from noclobber_analyzer.access import Access, Process, Version
from noclobber_analyzer.clocks import HOST_BOUND_NS, local_ns
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.state import NUMBERS, number

__all__ = ["TOUCHING_MAX", "Frame", "by_number"]

TOUCHING_MAX: Final = 256
"""Reads of one state that are followed one by one; of older ones it is known by when their units had returned."""


@dataclass(slots=True)
class Frame:
    """Where a resource stands after its last access; `fits` is False once something did not follow.

    Attributes:
        version, kind: what stands there. touching: the write that made it, and who read it since, in order.
        clock: of all accesses. process: of the last one. slack_ns: how far several may be apart.
        called_ns: the latest call. write_end_ns, end_ns: by when all writes, all accesses, had returned.
        too_many: there are too many accesses to lay them out.
        passed_ns: by when the units of reads that are not followed any more had.
        writer: whose writes they are; "": several strands'. made: versions that were made, where they may repeat.
        lock: the one under which all was done; "": none.
        spared: accesses that race no more than others would, and are not told as defended yet: why.
    """

    fits: bool = True
    version: Version | None = None
    kind: VersionKind | None = None
    key_id: str | None = None
    touching: list[Access] = field(default_factory=list)
    clock: str = ""
    process: Process | None = None
    slack_ns: int = 0
    too_many: bool = False
    called_ns: int = -1 << 63
    write_end_ns: int = -1 << 63
    end_ns: int = -1 << 63
    passed_ns: int = -1 << 63
    writer: str | None = None
    made: set[Version] = field(default_factory=set)
    lock: str | None = None
    spared: list[tuple[Access, Defence]] = field(default_factory=list)

    def take(self, access: Access) -> bool:
        """Go on with the next access in order; False, and nothing is changed, if it does not follow."""
        if not self._is_next(access):
            return False
        process = access.process
        self.called_ns = max(self.called_ns, local_ns(process, access.start_ns))
        self.end_ns = max(self.end_ns, local_ns(process, access.end_ns))
        self.version, self.kind, self.key_id = access.read, access.version_kind, process.key_id
        self.clock, self.process = _clock_of(process), process
        if access.op is Op.READ:
            self.touching.append(access)
            if self.kind not in NUMBERS:
                self.made.add(access.read or "")
            return True
        self.version, self.touching = access.written, [access]
        self.write_end_ns = self.end_ns
        self.writer = access.strand if self.writer in (None, access.strand) else ""
        if self.kind not in NUMBERS:
            self.made.add(access.written or "")
        if access.op is Op.UPDATE or access.locks:
            self.spared.append((access, Defence.ATOMIC if access.op is Op.UPDATE else Defence.LOCK))
        return True

    def _is_next(self, access: Access) -> bool:
        process = access.process
        lock = lock_name(access.locks[0]) if access.locks else ""
        if self.kind is None:
            self.lock = lock
            return access.op is not Op.WRITE or access.base is None or self._follows(access, access.base)
        if access.version_kind is not self.kind or process.key_id != self.key_id or _clock_of(process) != self.clock:
            return False
        if lock != self.lock:
            return False
        if self.process is not None and process.id != self.process.id and process.clock is None:
            self.slack_ns = HOST_BOUND_NS
        if not (self.is_later(access) or self._may_be_later(access)):
            return False
        return access.read == self.version if access.op is Op.READ else self._follows(access, self.version)

    def goes_on(self, access: Access) -> Sequence[Access] | None:
        """Go on with an access that comes after all others, under no lock, as most do: `take` for these, in few steps.

        Returns:
            What it conflicts with; None, and nothing is changed, if it is not such an access.
        """
        process, before = access.process, self.touching
        if access.version_kind is not self.kind or self.lock or not (process is self.process or self._agrees(process)):
            return None
        called_ns = access.start_ns - process.clock_offset_ns
        end_ns = access.end_ns - process.clock_offset_ns
        if access.op is Op.READ:
            after_ns = max(self.called_ns, self.write_end_ns)
            if after_ns + self.slack_ns >= called_ns or access.read != self.version or len(before) >= TOUCHING_MAX:
                return None
            before.append(access)
            conflicts: Sequence[Access] = () if before[0].op is Op.READ else before[:1]
        elif (
            self.end_ns + self.slack_ns >= called_ns or self.passed_ns >= called_ns
            or not self._follows(access, self.version)
        ):  # fmt: skip
            return None
        else:
            conflicts = before
            self.version, self.touching = access.written, [access]
            self.write_end_ns = end_ns
            self.writer = access.strand if self.writer in (None, access.strand) else ""
            if access.op is Op.UPDATE:
                self.spared.append((access, Defence.ATOMIC))
        if self.kind not in NUMBERS:
            self.made.add(self.version or "")
        self.process, self.called_ns = process, called_ns
        self.end_ns = max(self.end_ns, end_ns)
        return conflicts

    def _agrees(self, process: Process) -> bool:
        """Whether a process has the clock, exact for all processes, and the key of those before."""
        return process.clock is not None and process.clock == self.clock and process.key_id == self.key_id

    def is_later(self, access: Access) -> bool:
        """Whether all that it may conflict with had returned before it was called."""
        before_ns = self.write_end_ns if access.op is Op.READ else self.end_ns
        return before_ns + self.slack_ns < local_ns(access.process, access.start_ns)

    def _may_be_later(self, access: Access) -> bool:
        """Whether its number tells that it came after all others, and time allows it though it overlaps some."""
        counts = self.kind is VersionKind.COUNTER and not self.slack_ns and not self.lock
        return counts and local_ns(access.process, access.end_ns) >= self.called_ns

    def stands(self, access: Access) -> bool:
        """Whether no other unit changed what an access got or made, nor read what its unit made."""
        first = self.touching[0] if self.touching else None
        if first is None or not any(each is access for each in reversed(self.touching)):
            return False
        made_it = first.op is not Op.READ and first.unit == access.unit
        return not made_it or all(each.unit == access.unit for each in self.touching)

    def _follows(self, write: Access, version: Version | None) -> bool:
        """Whether a write was made from a version, as its own record shows, and made a new one."""
        if write.op is Op.WRITE and write.base != version:
            return False
        if write.overwritten not in (None, version):
            return False
        if write.version_kind in NUMBERS:
            low, high = number(version), number(write.written)
            if low is None or high is None or high <= low:
                return False
            if write.version_kind is VersionKind.COUNTER:
                return high == low + 1
        elif write.written in self.made or write.written == version:
            return False
        return write.op is Op.UPDATE or write.overwritten is not None or self._has_base(write)

    def _has_base(self, write: Access) -> bool:
        """Whether the access that a write's base came from touched what stands there now."""
        if write.base_strand not in (None, write.strand):
            return False
        return any(each.strand == write.strand and write.base_seq in (None, each.seq) for each in self.touching)


def by_number(accesses: Sequence[Access]) -> list[Access]:
    """Accesses in the order that their numbers tell, reads of a state before the write that replaced it.

    Empty if numbers do not place each of them: it is no counter, or two replaced one state.
    """
    at: dict[int, list[Access]] = defaultdict(list)
    left: dict[int, Access] = {}
    for access in accesses:
        if access.version_kind is not VersionKind.COUNTER:
            return []
        found = number(access.read if access.op is Op.READ else access.written)
        if found is None:
            return []
        if access.op is Op.READ:
            at[found].append(access)
        elif left.setdefault(found - 1, access) is not access:
            return []
    return [access for place in sorted(at.keys() | left.keys()) for access in (*at[place], *_one(left.get(place)))]


def _one(access: Access | None) -> tuple[Access, ...]:
    return () if access is None else (access,)


def _clock_of(process: Process) -> str:
    return process.clock or (f"host {process.host}" if process.host else f"process {process.id}")
