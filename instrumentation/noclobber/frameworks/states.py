"""One call that touches a framework's own state, as the accesses that it turns out to be.

A framework's stores give no versions, so a state is named by a keyed print of its content, taken at the call: what is
handed out by reference may be changed at any time, and nothing is kept of it but the print. Frameworks copy, validate
and serialise what they keep, so prints of a request and of a reply compare only where they are equal (not verbatim).

Source: contract 2 and 2.1; capture.md 2.1 (mutable objects, verbatim, weak).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noclobber import recorder, versions
from noclobber.access import Access, AttributeValue, Call, Member
from noclobber.contract import ABSENT, Attr, Guard, Op, Outcome, VersionKind
from noclobber.frameworks.seams import Finish, Seams, Start, is_hidden

__all__ = ["Told", "absent", "ended", "printed", "searched", "starting"]

RESULTS_MAX: Final = 64
"""What one search names; it is told as approximate, so what is beyond is not missed."""


@dataclass(slots=True)
class Told:
    """What is known of one access while its call runs.

    Attributes:
        attributes: by the contract's names; of a write what it would make, also where it then fails.
        finds_base: whether a base is looked for among what was got before.
        unsure: whether a call that raises may have been applied.
        refusals: names of the errors by which a guard refuses.
        learn: takes what the reply says into this; gives further accesses that the call turns out to be.
    """

    op: Op
    resource: str
    system: str
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    outcome: Outcome = Outcome.OK
    part: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    finds_base: bool = False
    unsure: bool = True
    refusals: frozenset[str] = frozenset()
    learn: Callable[["Told", Any], "Sequence[Told] | None"] | None = None


def printed(name: str, value: Any) -> dict[str, AttributeValue]:
    """The attributes of a version that is a print of `value`; none where it has none (its own code raises)."""
    try:
        data = versions.encode(value)
    except Exception:
        return {}
    attributes: dict[str, AttributeValue] = {
        Attr.VERSION_KIND: VersionKind.FINGERPRINT,
        name: versions.fingerprint(data),
        Attr.VERSION_VERBATIM: False,
        Attr.SIZE: len(data),
    }
    if not value or versions.is_weak(data):
        attributes[Attr.VERSION_WEAK] = True
    return attributes


def absent(name: str) -> dict[str, AttributeValue]:
    """The attributes of the state that is not there."""
    return {Attr.VERSION_KIND: VersionKind.FINGERPRINT, name: ABSENT, Attr.VERSION_VERBATIM: False}


def searched(
    resource: str, system: str, asked: Any, members_of: Callable[[Any], Sequence[Member]], part: tuple[str, ...] = ()
) -> Told:
    """A search or listing, which proves nothing by what it does not find.

    Args:
        resource: what is searched.
        system: whose it is.
        asked: what was asked for; it leaves only as a print.
        members_of: what a reply names.
        part: of each member, that which its version is of.
    """
    told = Told(Op.SCAN, resource, system, part=part)
    told.attributes = {
        Attr.PREDICATE: versions.fingerprint(versions.encode(asked)),
        Attr.SCAN_APPROXIMATE: True,
        Attr.RESULT_RESOURCES: [],
        Attr.RESULT_VERSIONS: [],
    }

    def got(told: Told, reply: Any) -> None:
        told.members = members = tuple(members_of(reply))
        told.attributes |= {
            Attr.VERSION_KIND: VersionKind.FINGERPRINT,
            Attr.VERSION_VERBATIM: False,
            Attr.RESULT_RESOURCES: [each.resource for each in members[:RESULTS_MAX]],
            Attr.RESULT_VERSIONS: [each.version for each in members[:RESULTS_MAX]],
            Attr.RESULT_COUNT: len(members),
        }

    told.learn = got
    return told


def starting(
    seams: Seams, tell: Callable[[Any, tuple[Any, ...], dict[str, Any]], Told | Sequence[Told] | None]
) -> Start:
    """Begins the call that `tell` describes, given the object and the arguments; it says None of what is no access."""

    def start(holder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        if is_hidden() or not (told := tell(holder, args, kwargs)):
            return None
        accesses = [told] if isinstance(told, Told) else list(told)
        call = seams.begin(len(accesses))
        if call is not None:
            call.facts = accesses
        return call

    return start


def _end(_holder: Any, call: Call, result: Any, error: BaseException | None) -> None:
    active = recorder.active()
    if active is None:
        return
    call.error = error
    for told in list(call.facts):
        if error is not None:
            _fail(told, error)
        elif told.learn is not None and (further := told.learn(told, result)):
            active.more(call, len(further))
            call.facts += further
    active.end(call, _build, call.facts)


def _fail(told: Told, error: BaseException) -> None:
    if any(each.__name__ in told.refusals for each in type(error).__mro__):
        told.outcome = Outcome.REJECTED
        told.attributes[Attr.GUARD] = Guard.VERSION
    elif told.unsure and told.op not in (Op.READ, Op.SCAN):
        told.outcome = Outcome.UNKNOWN
    else:
        told.outcome = Outcome.ERROR
    if isinstance(error, asyncio.CancelledError):
        told.attributes[Attr.CANCELLED] = True


ended: Finish = _end
"""Ends the call that `starting` began."""


def _build(call: Call) -> Sequence[Access]:
    return [
        Access(
            each.op, each.resource, each.system, each.outcome, each.part, each.attributes,
            members=each.members, finds_base=each.finds_base,
        )
        for each in call.facts
    ]  # fmt: skip
