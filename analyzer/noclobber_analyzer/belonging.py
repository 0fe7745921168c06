"""What an access belongs to: the resources whose verdicts it bears on, and the units that it is a part of.

Most accesses belong to one resource and one unit and have to do with nothing else. That is told by their form alone
(`forms`), so that it is asked once for each form and not for each access.

Source: contract 1 (unit, access); analysis.md 6.
"""

from collections.abc import Sequence
from typing import Final

from noclobber_analyzer.access import Access
from noclobber_analyzer.edges import ALONE
from noclobber_analyzer.forms import FORMS_MAX, is_form

__all__ = ["touched", "touches_one", "units_of"]


def touched(access: Access) -> tuple[str, ...]:
    """Resources whose verdicts an access belongs to."""
    return (access.resource,) if access.scan is None else (access.resource, *access.scan.resources)


def touches_one(access: Access) -> bool:
    """Whether an access belongs to its resource and its unit alone, and neither makes anybody wait nor waits."""
    of_form = type(access)
    known = _TOUCH_ONE.get(of_form)
    if known is None:
        known = _touches_one(access)
        if is_form(of_form):
            if len(_TOUCH_ONE) >= FORMS_MAX:
                _TOUCH_ONE.clear()
            _TOUCH_ONE[of_form] = known
    return known


_TOUCH_ONE: Final[dict[type[Access], bool]] = {}
"""By form, whether its accesses do."""


def _touches_one(access: Access) -> bool:
    return (
        access.op in ALONE and access.strand_parent is None and not access.links and access.scan is None
        and access.txn_id is None and access.message is None and access.effect is None
    )  # fmt: skip


def units_of(access: Access) -> Sequence[str]:
    """What it belongs to: its unit, its transaction, its message or task, its effect."""
    if access.txn_id is None and access.message is None and access.effect is None:
        return (access.unit,)
    found = [access.unit]
    if access.txn_id and access.txn_id != access.unit:
        found.append(access.txn_id)
    if access.message is not None:
        found.append(f"message {access.message.id}")
    if access.effect is not None:
        found.append(f"effect {access.effect.hash}")
    return found
