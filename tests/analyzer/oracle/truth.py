"""What a finding of each kind claims, written down from the true schedule alone.

No recorded version, clock or edge is asked: only what really happened, when it took effect, and from what it was
computed. `TRUE` has one function for each kind: whether the claim about one anchor holds in this world.
"""

from collections.abc import Callable

from oracle.world import Event, World

from noclobber.contract import VersionKind

__all__ = ["TRUE", "lost"]

Claim = Callable[[World, Event], bool]


def _overlap(one: Event, other: Event) -> bool:
    return not one.move.part or not other.move.part or one.move.part == other.move.part


def _foreign(one: Event, other: Event) -> bool:
    return one.strand != other.strand or one.move.verb.startswith("outside") != other.move.verb.startswith("outside")


def _changes(world: World, event: Event) -> list[Event]:
    """Applied writes of others that conflict with an event, in the order in which they came to be seen."""
    found = [
        e
        for e in world.happened
        if e is not event and e.writes and e.visible is not None and e.move.resource == event.move.resource
        if _foreign(e, event) and _overlap(e, event)
    ]  # fmt: skip
    return sorted(found, key=lambda e: e.visible or 0)


def _seen(event: Event) -> int:
    """When what an event is computed from was got."""
    return event.basis.at if event.basis is not None else -1


def lost(world: World, write: Event) -> bool:
    """A write replaced what another had made after the state was got that this one was computed from."""
    if write.visible is None or write.basis is None:
        return False
    between = [e for e in _changes(world, write) if _seen(write) < (e.visible or 0) < write.at]
    if not between:
        return False
    if world.plan.kind is not VersionKind.FINGERPRINT:
        return True
    part, before, got = write.move.part, write.before, write.basis.after
    if not before.present or not got.present:
        return before.present != got.present
    return before.content(part) != got.content(part)


def either(world: World, write: Event) -> bool:
    """One of two overlapping writes lost the other: the record may name them the other way round."""
    return lost(world, write) or any(
        lost(world, other) and _seen(other) < write.at < other.at for other in _changes(world, write) if other.basis
    )


def forked(world: World, child: Event) -> bool:
    """Two children of one state, neither of which knew of the other."""
    others = [e for e in _changes(world, child) if e.basis is not None and child.basis is not None]
    return any(e.basis.after is child.basis.after and child.visible is not None for e in others)  # type: ignore[union-attr]


def stale(world: World, write: Event) -> bool:
    """What was written was decided from a state that another had changed meanwhile."""
    if write.basis is not None and write.move.verb == "append":
        return any(_seen(write) < (e.visible or 0) < write.at for e in _changes(world, write))
    reads = [e for e in world.events if e.move.verb == "read" and e.strand == write.strand and e.at < write.at]
    last = {read.move.resource: read for read in reads if read.move.resource != write.move.resource}
    return any(read.at < (e.visible or 0) < write.at for read in last.values() for e in _changes(world, read))


def dirty(world: World, read: Event) -> bool:
    """What was read had not been committed by another, and perhaps never was."""
    maker = read.after.maker
    if maker is None or maker.strand == read.strand:
        return False
    return maker.visible is None or maker.visible > read.at


def claimed_twice(world: World, take: Event) -> bool:
    """Two took a task, and it was not free again in between."""
    takes = [e for e in _changes(world, take) if e.move.verb == "take"]
    freed = [
        e.at
        for e in world.happened
        if e.writes and e.visible is not None and e.move.verb != "take" and e.move.resource == take.move.resource
    ]
    for other in takes if take.visible is not None else ():
        low, high = sorted((other.at, take.at))
        if not any(low < at < high for at in freed):
            return True
    return False


def unread(world: World, write: Event) -> bool:
    """A blind write replaced what another agent had made and nobody had read."""
    replaced = write.before.maker
    if replaced is None or not _foreign(replaced, write):
        return False
    return not any(e.move.verb == "read" and e.after is write.before for e in world.events)


TRUE: dict[str, Claim] = {
    "lost_update": lost,
    "fork": forked,
    "stale_write": stale,
    "dirty_read": dirty,
    "double_claim": claimed_twice,
    "blind_overwrite": unread,
}
