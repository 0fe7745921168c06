"""What a file's accesses look like as spans: content prints, absent files, outcomes.

A print is taken over the bytes as they lie on the disk, at the call, so no content waits in the ring. A file that holds
nothing, a small number, a short word or an empty JSON container has a print that names no single state: it is weak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from noclobber.access import Access, Call
from noclobber.contract import Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.versions import WEAK_WORD_MAX, fingerprint, is_numeric, is_weak

__all__ = ["SYSTEM", "Content", "Fact", "build"]

SYSTEM: Final = "file"
SHORT_MAX: Final = 8 * WEAK_WORD_MAX
"""Bytes of a file that may be nothing but a number or a word, with the space around it."""
_EMPTY: Final = frozenset({b"{}", b"[]", b'""'})


@dataclass(frozen=True, slots=True)
class Content:
    """What is told of a file's content.

    Attributes:
        version: keyed print. size: bytes. weak, numeric: as the contract means them.
    """

    version: str
    size: int
    weak: bool
    numeric: bool

    @classmethod
    def of(cls, data: bytes | bytearray) -> "Content":
        """Of the whole content of a file."""
        told = bytes(data[:SHORT_MAX]).strip()
        short = len(data) <= SHORT_MAX
        return cls(
            fingerprint(data), len(data), short and (is_weak(told) or told in _EMPTY), short and is_numeric(told)
        )


@dataclass(frozen=True, slots=True)
class Fact:
    """One access to one file.

    Attributes:
        content: what was got or made; None: not known, or nothing there.
        unique: whether the file must not have been there. partial: whether something was not seen.
        size: bytes that were added.
    """

    op: Op
    resource: str
    outcome: Outcome = Outcome.OK
    content: Content | None = None
    mode: WriteMode | None = None
    unique: bool = False
    partial: bool = False
    size: int | None = None


def build(call: Call) -> Sequence[Access]:
    """The accesses of one call."""
    return [_access(fact) for fact in call.facts]


def _access(fact: Fact) -> Access:
    attributes: dict[str, Any] = {}
    if fact.op is not Op.UPDATE:
        attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    if fact.mode is not None:
        attributes[Attr.WRITE_MODE] = fact.mode
    if fact.unique:
        attributes[Attr.GUARD] = Guard.UNIQUE
    if fact.partial:
        attributes[Attr.PARTIAL] = True
    if fact.size is not None:
        attributes[Attr.SIZE] = fact.size
    _content(fact, attributes)
    return Access(
        fact.op, fact.resource, SYSTEM, fact.outcome, attributes=attributes, finds_base=fact.op in (Op.WRITE, Op.DELETE)
    )


def _content(fact: Fact, attributes: dict[str, Any]) -> None:
    if fact.op is Op.READ and fact.outcome is Outcome.NOT_FOUND:
        attributes[Attr.VERSION_READ] = VersionKind.FINGERPRINT.absent
    elif fact.op is Op.DELETE and fact.outcome is Outcome.OK:
        attributes[Attr.VERSION_WRITTEN] = VersionKind.FINGERPRINT.absent
    elif fact.content is not None:
        name = Attr.VERSION_READ if fact.op is Op.READ else Attr.VERSION_WRITTEN
        attributes |= {name: fact.content.version, Attr.SIZE: fact.content.size}
        if fact.content.weak:
            attributes[Attr.VERSION_WEAK] = True
        if fact.content.numeric:
            attributes[Attr.CONTENT_NUMERIC] = True
    elif fact.op is Op.READ:
        del attributes[Attr.VERSION_KIND]  # a reply that can't be printed has neither kind nor version
