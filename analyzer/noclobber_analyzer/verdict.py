"""A candidate and how sure it is: what detectors propose before precedence, sentence and advice.

A grade starts from its strongest evidence and only ever goes down; each step down names what would have decided, so
that `missing` writes itself. A verdict that rests on an absence takes the record's word on completeness: what will
never be known lowers it one grade, and processes that may still speak make it wait.

Source: detection.md 2.5 (worlds, caps), contract 3 (`certainty`, `missing`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.access import Access
from noclobber_analyzer.coverage import Absence
from noclobber_analyzer.history import History
from noclobber_analyzer.order import Order

__all__ = ["SPENT", "Candidate", "Grade", "Link", "Name", "hole_between", "left_open", "name_of", "partial"]

Name = tuple[str, str]
"""Trace and span id of an access."""

SPENT: Final = "whether a longer path orders the two: the search for one spent its limit"

_LESS = {
    Certainty.CERTAIN: Certainty.LIKELY,
    Certainty.LIKELY: Certainty.POSSIBLE,
    Certainty.POSSIBLE: Certainty.POSSIBLE,
}


@dataclass(frozen=True, slots=True)
class Grade:
    """How sure, what would make it surer, and who may still change it.

    Attributes:
        certainty: the strongest that the evidence carries.
        missing: what would have to be captured, strongest first.
        waiting: ids of processes whose frontier has to pass before the verdict may be given.
    """

    certainty: Certainty = Certainty.CERTAIN
    missing: tuple[str, ...] = ()
    waiting: frozenset[str] = frozenset()

    def at_most(self, cap: Certainty, missing: str) -> "Grade":
        """Not surer than `cap`; `missing` says what would lift that."""
        lowered = min(self.certainty, cap, key=lambda c: c.rank)
        return replace(self, certainty=lowered, missing=(*self.missing, missing))

    def less(self, missing: str) -> "Grade":
        """One grade lower."""
        return replace(self, certainty=_LESS[self.certainty], missing=(*self.missing, missing))

    def resting_on(self, absence: Absence) -> "Grade":
        """As sure as the record's completeness allows."""
        grade = replace(self, waiting=self.waiting | frozenset(absence.waiting))
        if absence.missing:
            grade = replace(grade, certainty=_LESS[grade.certainty], missing=(*grade.missing, *absence.missing))
        return grade


@dataclass(frozen=True, slots=True)
class Link:
    """An edge of the witness that the detector itself knows: from one access to another, and why."""

    source: Access
    target: Access
    type: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One anomaly as a detector sees it.

    Attributes:
        kind: what it is.
        resource: what it is about; its id leaves the resource out where `crosses`.
        anchors: accesses that name it; `units` names instead where the kind is named after units or versions.
        roles: the accesses of its story with their roles, in the order of telling.
        links: edges that only the detector knows (base, unordered, reads-from).
        grade: how sure it is.
        also: kinds that it always implies.
        consequences: accesses that do harm only because of this: candidates of later kinds that are named by them
            make no findings of their own.
        crosses: whether it spans resources.
        ordered: whether the harmed access is before the harming one in sync order: no race was needed.
        words: facts for the sentence, by name.
        manifest, margin_ns: as in the contract.
    """

    kind: Kind
    resource: str
    anchors: tuple[Access, ...]
    units: tuple[str, ...] = ()
    roles: tuple[tuple[Access, str], ...]
    links: tuple[Link, ...] = ()
    grade: Grade
    also: tuple[Kind, ...] = ()
    consequences: frozenset[Name] = frozenset()
    crosses: bool = False
    ordered: bool = False
    words: dict[str, str] = field(default_factory=dict)
    manifest: bool = True
    margin_ns: int | None = None

    @property
    def core(self) -> frozenset[Name]:
        """Names of the accesses that the definition speaks of."""
        return frozenset(access.name for access, role in self.roles if role not in ("model", "guard", "context"))

    @property
    def racing(self) -> list[Access]:
        """The pair that a person would call the bug: the anchors, and whom they race with or so nearly did."""
        pair = {access.name: access for access in self.anchors}
        for link in self.links:
            if link.type == "unordered" and not self.manifest:
                pair[link.source.name] = link.source
            elif link.type == "unordered" and pair.keys() & {link.source.name, link.target.name}:
                pair |= {link.source.name: link.source, link.target.name: link.target}
        return list(pair.values())

    def one(self, *roles: str) -> Access | None:
        """The first access in one of these roles."""
        return next((access for access, role in self.roles if role in roles), None)

    def the(self, role: str) -> Access:
        """The access in a role that every candidate of its kind has."""
        access = self.one(role)
        assert access is not None, f"a {self.kind} without a {role}"
        return access

    def all(self, role: str) -> list[Access]:
        """All accesses in a role."""
        return [access for access, its in self.roles if its == role]

    @property
    def anchor_names(self) -> tuple[str, ...]:
        """What its id is taken over."""
        return self.units or tuple(name_of(access) for access in self.anchors)


def name_of(access: Access) -> str:
    """How an id names an access."""
    return f"{access.trace_id}/{access.span_id}"


def partial(grade: Grade, accesses: Iterable[Access]) -> Grade:
    """One grade less where an access says of itself that its capture is incomplete."""
    if any(access.partial for access in accesses):
        return grade.less("the full capture of an access that was recorded in part only")
    return grade


def left_open(grade: Grade, one: Access, other: Access, order: Order) -> Grade:
    """No more than possible where a search for what orders the two spent its limit."""
    return grade.at_most(Certainty.POSSIBLE, SPENT) if order.is_left_open(one, other) else grade


def hole_between(history: History, after: int | None, end: Access) -> bool:
    """Whether a number of `end`'s strand is missing after another one (None: from the strand's first) and before it."""
    numbers = history.numbers_of(end.strand)
    return bisect_left(numbers, end.seq) - bisect_right(numbers, after or 0) < end.seq - (after or 0) - 1
