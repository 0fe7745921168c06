"""Accesses as the owners of their resources declared them, before anything is compared.

A resource that goes by two names gets one (`alias_of`), a row of a declared queue is
the task that a write of it takes, and what is to be ignored takes part in nothing, though its number in its strand
stays, so that no hole looks like a loss.

Source: contract 4 (declarations). What policies permit stands in `policies`.
"""

import re
from typing import Final

import msgspec

from noclobber.contract import Op, WriteMode
from noclobber.declarations import IGNORED, Declarations, Policy
from noclobber_analyzer.access import Access, Message
from noclobber_analyzer.forms import changed

__all__ = ["NOTHING_DECLARED", "as_declared"]

NOTHING_DECLARED: Final = Declarations()
_CHANGES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})
_WILDCARD: Final = re.compile(r"[*?\[]")


def as_declared(access: Access, declarations: Declarations) -> Access:
    """An access by the name, and with the message, that its resource's owners gave it."""
    if not declarations.declared:
        return access
    found = declarations.of(access.resource)
    if found is not None and found.ignore:
        return changed(access, op=Op.READ, resource=IGNORED, read=None, scan=None, message=None)
    facts: dict[str, object] = {}
    resource = _named(access.resource, declarations)
    if resource != access.resource:
        facts["resource"] = resource
    if access.scan is not None and access.scan.resources:
        members = tuple(_named(member, declarations) for member in access.scan.resources)
        facts["scan"] = msgspec.structs.replace(access.scan, resources=members)
    if found is not None and found.closed and not access.closed:
        facts["closed"] = True
    if found is not None and found.policy is Policy.QUEUE and access.message is None and _works_on_a_task(access):
        facts["message"] = Message(resource)
    return changed(access, **facts) if facts else access


def _named(resource: str, declarations: Declarations) -> str:
    """A resource by the one name that its server goes by."""
    found = declarations.of(resource)
    if found is None or found.alias_of is None:
        return resource
    wildcard = _WILDCARD.search(found.pattern)
    return found.alias_of + resource[len(found.pattern) if wildcard is None else wildcard.start() :]


def _works_on_a_task(access: Access) -> bool:
    """Whether it changes a row that is a task; who inserts it makes the task and takes none."""
    return access.op in _CHANGES and access.mode is not WriteMode.INSERT and not access.resource.endswith("/")
