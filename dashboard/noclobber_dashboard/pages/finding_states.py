"""Which states did the resource go through, who made, read and replaced each, and which of them was lost?

Each state is one box in the order in which the slice meets it. Where the order of the two racing writes is open, the
strip leaves it open as the sentence does: no arrow from one to the other, and both are told to be perhaps the lost one.
"""

from typing import Final

from noclobber_dashboard.components.prose import Node
from noclobber_dashboard.records import AccessRecord, FindingHead
from noclobber_dashboard.slices import Slice
from noclobber_dashboard.versions import VersionNames, VersionUse
from noclobber_dashboard.wording import plural, short_name

__all__ = ["lost", "states"]

STATES_MAX: Final = 5
OPEN: Final = "either"
"""The role of two accesses of which nobody knows which came first (contract 3.1)."""


def states(uses: list[VersionUse], cut: Slice, head: FindingHead) -> Node:
    """The strip of states; where they are many, those that the witness names."""
    names = VersionNames(cut.events, cut.roles)
    unordered = {event.version_written for event in _racing(cut)} if _is_open(cut) else set()
    shown = _telling(uses, cut)
    boxes = []
    for number, use in enumerate(shown):
        beside = number + 1 < len(shown) and {use.version, shown[number + 1].version} <= unordered
        boxes.append(_version(use, names, cut, head, look="version beside" if beside else "version"))
    title = Node("h2", children=("States of ", Node("code", children=(short_name(head.resource),))))
    return Node("div", children=(title, Node("div", "versions", boxes)))


def lost(cut: Slice, resource: str) -> list[tuple[str, Node]]:
    """What was lost and what stands in its place, as far as it is known: state, print, size. Never a value."""
    racing = _racing(cut)
    if {event.resource for event in racing} != {resource} or not all(event.version_written for event in racing):
        return []
    names = VersionNames(cut.events, cut.roles)
    one, two = (_named(event, names) for event in racing)
    if _is_open(cut):
        return [("lost", Node("span", children=("either ", *one, " or ", *two)))]
    if not {"victim", "overwriter"} <= {cut.roles.get(event.key, "") for event in racing}:
        return []
    victim, over = (one, two) if cut.roles[racing[0].key] == "victim" else (two, one)
    return [("lost", Node("span", children=victim)), ("in its place", Node("span", children=over))]


def _named(event: AccessRecord, names: VersionNames) -> list[Node | str]:
    mark = names.print_of(event.resource, event.version_written)
    parts: list[Node | str] = [Node("b", children=(names.name(event.resource, event.version_written),))]
    parts += [" ", Node("code", children=(mark,), title=event.version_written)] if mark else []
    return [*parts, f" {plural(event.size, 'byte')}"] if event.size else parts


def _racing(cut: Slice) -> list[AccessRecord]:
    by_key = {event.key: event for event in cut.events}
    return [by_key[key] for key in cut.race or () if key in by_key]


def _is_open(cut: Slice) -> bool:
    """Whether nobody knows which of the racing two came first."""
    return bool(cut.race) and all(cut.roles.get(key) == OPEN for key in cut.race or ())


def _telling(uses: list[VersionUse], cut: Slice) -> list[VersionUse]:
    """The states that the witness names; all of them where they are few."""
    if len(uses) <= STATES_MAX:
        return uses
    named = {
        version
        for event in cut.events
        if event.key in cut.roles
        for version in (event.version_read, event.version_base, event.version_overwritten, event.version_written)
    }
    return [use for use in uses if use.version in named][:STATES_MAX]


def _version(use: VersionUse, names: VersionNames, cut: Slice, head: FindingHead, look: str) -> Node:
    def who(words: str, agents: list[str]) -> list[Node]:
        return [Node("span", "who", (f"{words} ", ", ".join(agents)))] if agents else []

    mark = names.print_of(head.resource, use.version)
    tags = _tags(use, cut)
    gone = any(tag.look.endswith("critical") for tag in tags)
    return Node(
        "div",
        f"{look} lost" if gone else look,
        (
            Node("div", "name", (names.name(head.resource, use.version),
                                 *([Node("code", children=(mark,), title=use.version)] if mark else []))),
            *(who("written by", use.made_by) or [Node("span", "who", ("was there before",))]),
            *who("read by", use.read_by),
            *who("built upon by", use.base_of),
            *who("replaced by", use.replaced_by),
            *tags,
        ),
    )  # fmt: skip


def _tags(use: VersionUse, cut: Slice) -> list[Node]:
    """What befell this state: lost or perhaps lost, the stale base, merely a candidate for it."""
    racing = _racing(cut)
    if len(racing) < 2 or len({event.resource for event in racing}) > 1:
        return []
    earlier, later = racing
    if _is_open(cut):
        return _open_tags(use, earlier, later)
    if use.version == earlier.version_written != later.version_base and later.version_written:
        return [Node("span", "pill critical", (f"overwritten unseen by {later.agent}",))]
    if use.version == later.version_base:
        return [Node("span", "pill high", (f"stale base of the write by {later.agent}",))]
    return [Node("span", "pill plain", ("perhaps its base",))] if use.version in later.version_candidates else []


def _open_tags(use: VersionUse, one: AccessRecord, other: AccessRecord) -> list[Node]:
    """Either was written unseen by the other: which of them is lost depends on which came first."""
    for mine, others in ((one, other), (other, one)):
        if use.version == mine.version_written:
            return [Node("span", "pill critical", (f"lost, if {others.agent} wrote after it",))]
    if use.version and use.version in (one.version_base, other.version_base):
        return [Node("span", "pill high", ("base of both, stale for the later",))]
    return []
