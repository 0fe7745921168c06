"""Which version a write was computed from, as far as the agent's own process can know.

Agents read in one tool call and write in another, so a base crosses steps, tasks and threads. The drain hands every
access of the process to `Bases` in ring order, which agrees with happens-before: what an access got or made is
remembered with its strand, step and run; a write without an explicit base takes the newest memory of its resource
(and parts) that its strand can have. A strand can have what it did itself, what the strand that started it had known
by then, and what strands that it waited for had known: nothing else, so two racing strands never teach each other.

The *source* says how strong the link is: `observed` inside one unit or one step (where no step is known, one
strand); `recalled` from an earlier step of the same run; `remembered` from anywhere else. Other versions that the
unit read are *candidates*: perhaps the author used an older one. What one call got is no base of what the same call
writes: replies come when the values are under way already.

What a strand got unseen (rows of a server's cursor, which no hook looks into) may be newer than what is known here: a
write from an older memory is partial then.

Three things take knowledge away, because a base that is too old would accuse: a transaction or savepoint that did not
apply (what was known before it holds again), a lost call of the strand (nothing that it knew before is trusted), and
the limit on resources.

Source: contract, `noclobber.version.base` and `.base.source`; capture.md, section 3.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from noclobber import clock
from noclobber.access import Access, Call, Member
from noclobber.contract import Attr, BaseSource, Op, Outcome
from noclobber.scope import Scope
from noclobber.strands import Strand
from noclobber.versions import fingerprint_parts

__all__ = ["Bases", "Memory"]

RESOURCES_MAX: Final = 4096
"""Resources remembered for each strand; the ones touched longest ago go first."""
CANDIDATES_MAX: Final = 8
UNSEEN_MAX: Final = 64
"""Resources and containers that a strand looked at unseen; with one more, all looks of before count for everything."""
UNITS_MAX: Final = 20_000
"""Units whose rejections, and transactions whose ends, are kept."""
LOSSES_MAX: Final = 256
"""Losses that a strand is known to come after; one more forgets the oldest, and then too much is taken away."""
_NOBODY: Final = Scope()
_READ, _DELETE, _OK, _REJECTED = Op.READ, Op.DELETE, Outcome.OK, Outcome.REJECTED  # looked up once: they are slow
_LOOKS: Final = frozenset({Op.READ, Op.SCAN})
_CHANGES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})
_ENDS: Final = frozenset({Op.COMMIT, Op.ABORT})
_ANSWERED: Final = frozenset({Outcome.OK, Outcome.NOT_FOUND})
_STRENGTH: Final = (BaseSource.REMEMBERED, BaseSource.RECALLED, BaseSource.OBSERVED)


@dataclass(slots=True)
class Memory:
    """A version that somebody got or made; never changed (freezing it would cost more than all the rest of its life).

    Attributes:
        version: as the store or the print says it. parts: prints of single parts of a whole, where known.
        strand, seq, end_ns: the access that it came from, and when it returned.
        txn, unit, run: transaction, else None; step's unit, else None; run, None where not known.
        generation: of that unit: grows when a guard rejects.
        made_in: transaction and savepoint in which this version was made; None where it was got, or made outside.
        before: what was known until then, while `made_in` may still be taken back.
        candidates: other versions that the same unit got before.
    """

    version: str
    parts: Mapping[str, str] | None
    strand: str
    seq: int
    end_ns: int
    txn: str | None
    unit: str | None
    run: str | None
    generation: int
    made_in: tuple[str, str] | None = None
    before: "Memory | None" = None
    candidates: tuple[str, ...] = ()


State = dict[tuple[str, ...], Memory]
"""What is known of one resource by parts, `()` for the whole. What stands beside the whole is newer than it, and no two
entries of several parts overlap anything newer."""


class _Knowledge:
    """What one strand knows. Maps are shared with children until one of them learns something (copy on write)."""

    __slots__ = ("changed", "inherited_from", "losses", "resources", "shared", "unseen")

    def __init__(self, parent: "_Knowledge | None" = None) -> None:
        self.resources: dict[str, State] = {} if parent is None else parent.resources
        self.inherited_from = parent
        self.shared = parent is not None
        self.changed: set[str] = set()
        self.losses: frozenset[int] = frozenset()
        self.unseen: dict[str, int] = {} if parent is None else parent.unseen  # replaced, never changed
        if parent is not None:
            parent.shared = True

    def look(self, looks: Mapping[str, int]) -> None:
        """Resources, or containers (a slash at the end), of which something was got unseen, and until when."""
        merged = {**self.unseen}
        for resource, end_ns in looks.items():
            merged[resource] = max(end_ns, merged.get(resource, 0))
        self.unseen = merged if len(merged) <= UNSEEN_MAX else {"": max(merged.values())}

    def looked_ns(self, resource: str) -> int:
        """When something of `resource` was last got unseen; 0: never."""
        return max((at for each, at in self.unseen.items() if each == resource or _covers(each, resource)), default=0)

    def put(self, resource: str, state: State | None) -> None:
        """Know `state` of `resource`, as the newest; None forgets it."""
        if self.shared:
            self.resources, self.shared = dict(self.resources), False
        self.resources.pop(resource, None)
        if state is not None:
            self.resources[resource] = state
            self.changed.add(resource)

    def clear(self) -> None:
        """Forget everything."""
        self.resources, self.shared = {}, False
        self.changed.clear()
        self.inherited_from = None


class Bases:
    """The process's memory of versions; used by the drain thread only.

    Attributes:
        forgotten: how many resources fell out at the limit.
    """

    def __init__(self) -> None:
        self._generations: OrderedDict[str, int] = OrderedDict()
        self._aborted: OrderedDict[str, list[str]] = OrderedDict()
        self.forgotten = 0

    def resolve(self, call: Call, accesses: Sequence[Access]) -> None:
        """Give the accesses of one call their bases where they look for one, and remember what they got or made."""
        known = self._of(call.strand)
        if len(accesses) == 1:
            if accesses[0].finds_base:
                self._find(known, call, accesses[0])
            self._remember(known, call, accesses[0], call.first_seq)
            return
        own = _Knowledge(known)
        numbered = list(zip(call.seqs, accesses, strict=True))
        for seq, access in numbered:
            self._find(own, call, access)
            if access.op is not Op.READ:
                self._remember(own, call, access, seq)
        for seq, access in numbered:
            self._remember(known, call, access, seq)

    def spawned(self, parent: Strand, child: Strand) -> None:
        """`child` starts with what `parent` knows now."""
        child.losses |= parent.losses
        known = child.kept[self] = _Knowledge(self._of(parent))
        known.losses = child.losses

    def joined(self, waiter: Strand, other: Strand) -> None:
        """`waiter` has waited for `other`: what that one knew it can know, the newer of each."""
        theirs = self._of(other)
        if not other.losses <= waiter.losses:  # what was lost may be a read that is newer than all the waiter knows
            waiter.losses = frozenset(sorted(waiter.losses | other.losses)[-LOSSES_MAX:])
        mine = self._of(waiter)
        if theirs.unseen:
            mine.look(theirs.unseen)
        if theirs.resources is mine.resources:
            return
        for resource in list(theirs.changed if theirs.inherited_from is mine else theirs.resources):
            news, known = theirs.resources.get(resource), mine.resources.get(resource)
            if news is not None and news is not known:
                mine.put(resource, news if known is None else _newer(known, news))
        self._trim(mine)

    def _of(self, strand: Strand) -> _Knowledge:
        known: _Knowledge | None = strand.kept.get(self)
        if known is None:
            known = strand.kept[self] = _Knowledge()
        if known.losses is not strand.losses and known.losses != strand.losses:
            known.losses = strand.losses
            known.clear()
        return known

    # -- looking for a base ----------------------------------------------------------------------------------------

    def _find(self, known: _Knowledge, call: Call, access: Access) -> None:
        attributes = access.attributes
        if not access.finds_base or Attr.VERSION_BASE in attributes:
            return
        state = known.resources.get(access.resource)
        found = self._lookup(state, access.part) if state is not None else {}
        if known.unseen:
            since = min((memory.end_ns for memory in found.values()), default=0)
            if known.looked_ns(access.resource) > since:
                attributes[Attr.PARTIAL] = True
        if not found:
            return
        memories = list(found.values())
        newest = max(memories, key=lambda memory: memory.end_ns)
        scope, txn = call.scope or _NOBODY, access.txn
        sources = [self._source(memory, call.strand, txn, scope) for memory in memories]
        base = newest.version if len(found) == 1 else fingerprint_parts({k[0]: m.version for k, m in found.items()})
        attributes[Attr.VERSION_BASE] = base
        attributes[Attr.VERSION_BASE_SOURCE] = min(sources, key=_STRENGTH.index)
        attributes[Attr.VERSION_BASE_STRAND] = newest.strand
        attributes[Attr.VERSION_BASE_SEQ] = newest.seq
        attributes[Attr.VERSION_BASE_END_NS] = newest.end_ns
        others = tuple(other for other in newest.candidates if other != base)
        if others and len(found) == 1:
            attributes[Attr.VERSION_CANDIDATES] = others

    def _lookup(self, state: State, part: tuple[str, ...]) -> State:
        """The memories that together hold just these parts; empty where they are not all known."""
        exact = self._valid(state.get(part))
        if exact is not None:
            return {part: exact}
        whole = self._valid(state.get(()))
        found: State = {}
        for name in part:
            memory = self._valid(state.get((name,)))
            if memory is None and whole is not None and whole.parts is not None and name in whole.parts:
                memory = replace(whole, version=whole.parts[name], candidates=())
            if memory is None:
                return {}
            found[name,] = memory
        return found

    def _valid(self, memory: Memory | None) -> Memory | None:
        """`memory`, or what was known before it where it was made in something that did not apply."""
        while memory is not None and memory.made_in is not None:
            txn, path = memory.made_in
            if not any(not gone or f"{path}/".startswith(f"{gone}/") for gone in self._aborted.get(txn, ())):
                return memory
            memory = memory.before
        return memory

    def _source(self, memory: Memory, strand: Strand, txn: str | None, scope: Scope) -> BaseSource:
        if txn is not None and memory.txn == txn:
            return BaseSource.OBSERVED
        unit = _unit(scope)
        if unit is not None or memory.unit is not None:
            if memory.unit == unit:
                return BaseSource.OBSERVED
        elif memory.strand == strand.id:
            return BaseSource.OBSERVED
        if memory.run == scope.run and (scope.run is not None or memory.unit is None):
            return BaseSource.RECALLED
        return BaseSource.REMEMBERED

    # -- remembering -----------------------------------------------------------------------------------------------

    def _remember(self, known: _Knowledge, call: Call, access: Access, seq: int) -> None:
        scope, txn = call.scope or _NOBODY, access.txn
        if txn is not None and access.op in _ENDS:
            self._note_end(access, txn)
        if access.unseen:
            known.look({access.resource if access.unseen is True else access.unseen: _end_ns(call)})
        if access.outcome is _REJECTED:
            self._begin_anew(txn, scope, call.strand)
        if not access.remembered or call.first_seq < call.strand.lost_seq:
            return  # what is older than a loss, and came out of the ring only after it
        op = access.op
        if op is _DELETE and access.resource.endswith("/") and access.outcome is Outcome.OK:
            for resource in [each for each in known.resources if each.startswith(access.resource)]:
                known.put(resource, None)
        made = (txn, access.savepoint) if txn and op not in _LOOKS else None
        version = _resulting(access)
        if version is not None:  # else an own change to an unknown version: readers see it after base.seq, and grade it
            self._learn(known, call, seq, access, version, txn=txn, made_in=made, applied=op is not _READ)
        for member in access.members:
            self._learn(known, call, seq, member, member.version, txn=txn, made_in=None, applied=False)

    def _learn(
        self, known: _Knowledge, call: Call, seq: int, got: Access | Member, version: str, *, txn: str | None,
        made_in: tuple[str, str] | None, applied: bool,
    ) -> None:  # fmt: skip
        scope, strand = call.scope or _NOBODY, call.strand
        unit = _unit(scope)
        generation = self._generations.get(txn or unit or strand.id, 0) if self._generations else 0
        parts = got.part_versions
        alone = len(got.part) == 1 and (parts is None or parts.get(got.part[0]) == version)
        memory = Memory(
            version, None if alone else parts, strand.id, seq, _end_ns(call), txn, unit, scope.run, generation,
            made_in,
        )  # fmt: skip
        part, state = got.part, known.resources.get(got.resource)
        if made_in is None and (not part or alone) and (state is None or _is_same(state, part, version)):
            # What `_with` would come to, by a shorter way: reads are many, and mostly nothing new.
            state = {part: memory}
        else:
            state = self._with(state or {}, part, memory, strand, scope, made=applied)
        known.put(got.resource, state)
        if len(known.resources) > RESOURCES_MAX:
            self._trim(known)

    def _with(
        self, state: State, part: tuple[str, ...], memory: Memory, strand: Strand, scope: Scope, *, made: bool
    ) -> State:
        """`state` after `memory` of `part`: what it replaces is gone, what it changes is brought up to date."""

        def entered(key: tuple[str, ...], version: str, parts: Mapping[str, str] | None = None) -> Memory:
            previous = self._valid(state.get(key))
            kept = version == memory.version and parts is memory.parts
            new = memory if kept else _varied(memory, version, parts)
            if previous is None:
                return new
            if not made and previous.made_in is not None and previous.version == version:
                # it read its own uncommitted write: that vanishes with it
                new = replace(new, made_in=previous.made_in, before=previous.before)
            elif new.made_in is not None:
                same = previous.made_in == new.made_in
                new = replace(new, before=previous.before if same else _settled(previous, new))
            if made or previous.generation != memory.generation:
                return new
            if self._source(previous, strand, memory.txn, scope) is not BaseSource.OBSERVED:
                return new
            candidates = _candidates(previous, version)
            return replace(new, candidates=candidates) if candidates else new

        if not part:
            return {(): entered((), memory.version, memory.parts)}
        names = set(part)
        new: State = {}
        for key, old in state.items():
            if not key:
                whole = self._valid(old)
                patched = _patched(whole, memory.parts or ({part[0]: memory.version} if len(part) == 1 else {}), names)
                if patched is not None:
                    new[()] = entered((), *patched)
            elif not names & set(key):
                new[key] = old
        singles = memory.parts or {}
        new.update({(name,): entered((name,), singles[name]) for name in part if name in singles})
        if len(part) > 1 or part[0] not in singles:
            new[part] = entered(part, memory.version)
        return new

    def _note_end(self, access: Access, txn: str) -> None:
        """A transaction or savepoint that did not apply takes back what was made in it."""
        failed = access.op is Op.COMMIT and access.outcome in (Outcome.REJECTED, Outcome.ERROR)
        if access.op is Op.ABORT or failed:
            paths = self._aborted.setdefault(txn, [])
            paths.append("" if failed else access.savepoint)
            if len(self._aborted) > UNITS_MAX:
                self._aborted.popitem(last=False)

    def _unit_name(self, txn: str | None, scope: Scope, strand: Strand) -> str:
        return txn or _unit(scope) or strand.id

    def _begin_anew(self, txn: str | None, scope: Scope, strand: Strand) -> None:
        """A rejected guard: what the unit read before is not held against what it reads after."""
        for name in {self._unit_name(txn, scope, strand), self._unit_name(None, scope, strand)}:
            self._generations[name] = self._generations.get(name, 0) + 1
            self._generations.move_to_end(name)
        while len(self._generations) > UNITS_MAX:
            self._generations.popitem(last=False)

    def _trim(self, known: _Knowledge) -> None:
        while len(known.resources) > RESOURCES_MAX:
            known.put(next(iter(known.resources)), None)
            self.forgotten += 1


def _covers(container: str, resource: str) -> bool:
    """Whether `resource` lies below `container`; everything lies below nothing."""
    return not container or (container.endswith("/") and resource.startswith(container))


def _unit(scope: Scope) -> str | None:
    """The step's unit, by name where whoever made the scope gave no unit."""
    return scope.unit or (f"{scope.run}/{scope.step}" if scope.step is not None else None)


def _text(access: Access, name: str) -> str | None:
    value = access.attributes.get(name)
    return value if isinstance(value, str) else None


def _resulting(access: Access) -> str | None:
    """The version that its author now has: what it got, or what it made if that was applied."""
    if access.op is _READ and access.outcome in _ANSWERED:
        return _text(access, Attr.VERSION_READ)
    if access.outcome is _OK and access.op in _CHANGES:
        return _text(access, Attr.VERSION_WRITTEN)
    return None


def _varied(memory: Memory, version: str, parts: Mapping[str, str] | None) -> Memory:
    """`replace`, a third as dear."""
    return Memory(
        version, parts, memory.strand, memory.seq, memory.end_ns, memory.txn, memory.unit, memory.run,
        memory.generation, memory.made_in, memory.before, memory.candidates,
    )  # fmt: skip


def _is_same(state: State, part: tuple[str, ...], version: str) -> bool:
    """Whether this version of `part` is all that is known, and stands whatever becomes of transactions."""
    known = state.get(part) if len(state) == 1 else None
    return known is not None and known.version == version and known.made_in is None and not known.candidates


def _end_ns(call: Call) -> int:
    return (call.end_ns or call.start_ns) + clock.OFFSET_NS


def _settled(previous: Memory, new: Memory) -> Memory:
    """`previous` as what holds again if `new` is taken back; its own past only inside one transaction."""
    same_txn = previous.made_in is not None and new.made_in is not None and previous.made_in[0] == new.made_in[0]
    return previous if same_txn else replace(previous, before=None)


def _candidates(previous: Memory, version: str) -> tuple[str, ...]:
    """Older versions that this unit read."""
    if previous.version == version and not previous.candidates:
        return ()
    seen = (*previous.candidates, previous.version)
    return tuple(dict.fromkeys(each for each in seen if each != version))[-CANDIDATES_MAX:]


def _patched(whole: Memory | None, news: Mapping[str, str], names: set[str]) -> tuple[str, Mapping[str, str]] | None:
    """The whole with new prints of some parts, None where its print can't be told from its parts'."""
    if whole is None or whole.parts is None or names != news.keys() or _combined(whole.parts) != whole.version:
        return None
    parts = {**whole.parts, **news}
    return _combined(parts), parts


def _combined(parts: Mapping[str, str]) -> str:
    return next(iter(parts.values())) if len(parts) == 1 else fingerprint_parts(parts)


def _newer(mine: State, theirs: State) -> State:
    """Of two strands' states of one resource: by parts, what was learnt last."""
    whole = max((each[()] for each in (mine, theirs) if () in each), key=lambda memory: memory.end_ns, default=None)
    merged: State = {} if whole is None else {(): whole}
    for key, memory in (*mine.items(), *theirs.items()):
        known = merged.get(key)
        later = whole is None or memory.end_ns >= whole.end_ns
        if key and later and (known is None or memory.end_ns > known.end_ns):
            merged[key] = memory
    return merged
