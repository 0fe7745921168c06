"""One decoder of meaning: attributes of a span, whatever they came in, become an `Access` or a `Mark`.

Both readers (OTLP files, rows of the store) bring a span's attributes under the contract's names; what they mean is
decided here and only here, so that both give identical accesses and, after them, identical ids. It is decided for one
attribute at a time (`fact`), which lets a reader remember what it has seen: a few thousand different attributes make
up millions of spans. A span that is not noclobber's is context. A span that speaks a newer contract is read as far as
it is understood and marked `partial`; one that lacks what every access must have cannot be judged and is reported as
unreadable.

Source: contract 2 (attributes), 2.1 (ops), 2.4 (spans of others).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from sys import intern
from typing import Any, Final, TypeVar

import msgspec

from noclobber.contract import (
    CONTRACT_VERSION,
    Attr,
    BaseSource,
    Guard,
    Op,
    Outcome,
    UnitKind,
    VersionKind,
    WriteMode,
)
from noclobber_analyzer.access import Access, Effect, Lock, Mark, Message, Process, Scan, key_of
from noclobber_analyzer.forms import in_form
from noclobber_analyzer.spans import SpanRecord

__all__ = [
    "MISREAD",
    "NO_FACT",
    "Attributes",
    "Fact",
    "Unreadable",
    "decode_process",
    "decode_span",
    "fact",
    "facts",
    "record_of",
]

Attributes = Mapping[str, object]
"""A resource's attributes by the contract's names: str, int, float, bool, or a sequence of str."""

Fact = tuple[str, Any]
"""What one attribute says: the field of the access that it fills, and the field's value."""

NO_FACT: Final[Fact] = ("", None)
"""What an attribute says that means nothing to the contract."""

MISREAD: Final = "misread"
"""The field that names an attribute whose value could not be understood."""


class Unreadable(Exception):  # noqa: N818  it is a fact about a span, counted; not an error that stops anything
    """A span of noclobber's that lacks what every access must have, or has it in another form."""


_E = TypeVar("_E", bound=StrEnum)


def _text(value: object) -> str:
    if isinstance(value, str):
        return intern(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return str(value)


def _passing(value: object) -> str:
    """A text that names something short-lived: few accesses share it, and these lie close together."""
    return value if isinstance(value, str) else _text(value)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return int(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (intern(value),)
    if not isinstance(value, Iterable):
        raise TypeError(value)
    return tuple(_text(item) for item in value)


def _sorted_texts(value: object) -> tuple[str, ...]:
    return tuple(sorted(set(_texts(value))))


def _one_of(words: type[_E]) -> Callable[[object], _E]:
    members = {str(word): word for word in words}

    def convert(value: object) -> _E:
        return members[value]  # type: ignore[index]  # anything else than a known word is a KeyError or TypeError

    return convert


_Table = Mapping[str, tuple[str, Callable[[object], Any]]]

_PLAIN: Final[_Table] = {
    Attr.OP: ("op", _one_of(Op)),
    Attr.RESOURCE: ("resource", _text),
    Attr.SYSTEM: ("system", _text),
    Attr.PART: ("part", _sorted_texts),
    Attr.OUTCOME: ("outcome", _one_of(Outcome)),
    Attr.CANCELLED: ("cancelled", _truth),
    Attr.AGENT: ("agent", _text),
    Attr.STRAND: ("strand", _text),
    Attr.RUN: ("run", _text),
    Attr.STEP: ("step", _passing),
    Attr.SEQ: ("seq", _number),
    Attr.STRAND_PARENT: ("strand_parent", _text),
    Attr.STRAND_PARENT_SEQ: ("strand_parent_seq", _number),
    Attr.STRAND_OTHER: ("strand_other", _text),
    Attr.STRAND_OTHER_SEQ: ("strand_other_seq", _number),
    Attr.UNIT: ("unit", _passing),
    Attr.UNIT_KIND: ("unit_kind", _one_of(UnitKind)),
    Attr.VERSION_KIND: ("version_kind", _one_of(VersionKind)),
    Attr.VERSION_READ: ("read", _text),
    Attr.VERSION_BASE: ("base", _text),
    Attr.VERSION_BASE_SOURCE: ("base_source", _one_of(BaseSource)),
    Attr.VERSION_CANDIDATES: ("candidates", _sorted_texts),
    Attr.VERSION_BASE_STRAND: ("base_strand", _text),
    Attr.VERSION_BASE_SEQ: ("base_seq", _number),
    Attr.VERSION_BASE_END_NS: ("base_end_ns", _number),
    Attr.VERSION_OVERWRITTEN: ("overwritten", _text),
    Attr.VERSION_WRITTEN: ("written", _text),
    Attr.VERSION_EXPECTED: ("expected", _text),
    Attr.VERSION_WEAK: ("weak", _truth),
    Attr.VERSION_VERBATIM: ("verbatim", _truth),
    Attr.CONTENT_READ: ("content_read", _text),
    Attr.CONTENT_WRITTEN: ("content_written", _text),
    Attr.CONTENT_NUMERIC: ("numeric", _truth),
    Attr.SIZE: ("size", _number),
    Attr.TTL_MS: ("ttl_ms", _number),
    Attr.CLOSED: ("closed", _truth),
    Attr.BRANCH: ("branch", _text),
    Attr.WRITE_MODE: ("mode", _one_of(WriteMode)),
    Attr.GUARD: ("guard", _one_of(Guard)),
    Attr.LOCKS: ("locks", _texts),
    Attr.TXN_ID: ("txn_id", _passing),
    Attr.TXN_ISOLATION: ("isolation", _text),
    Attr.TXN_SAVEPOINT: ("savepoint", _text),
    Attr.PREDICATES: ("predicates", _texts),
    Attr.RESULT_COUNT: ("result_count", _number),
    Attr.WAITS_FOR: ("waits_for", _texts),
    Attr.OPEN: ("open", _truth),
    Attr.PARTIAL: ("partial", _truth),
    Attr.MODEL_SPAN: ("model_span", _text),
    Attr.CODE_FUNCTION: ("code_function", _text),
    Attr.CODE_FILE: ("code_file", _text),
    Attr.CODE_LINE: ("code_line", _number),
    Attr.PEER_ADDRESS: ("peer", _text),
}
_OF_GROUPS: Final[_Table] = {
    Attr.PREDICATE: ("scan.predicate", _text),
    Attr.SCAN_ID: ("scan.id", _text),
    Attr.SCAN_PART: ("scan.part", _number),
    Attr.SCAN_PARTS: ("scan.parts", _number),
    Attr.SCAN_APPROXIMATE: ("scan.approximate", _truth),
    Attr.RESULT_RESOURCES: ("scan.resources", _texts),
    Attr.RESULT_VERSIONS: ("scan.versions", _texts),
    Attr.MESSAGE_ID: ("message.id", _passing),
    Attr.MESSAGE_GROUP: ("message.group", _text),
    Attr.MESSAGE_KEY: ("message.key", _text),
    Attr.MESSAGE_SEQ: ("message.seq", _number),
    Attr.MESSAGE_SESSION: ("message.session", _text),
    Attr.MESSAGE_DELIVERY: ("message.delivery", _number),
    Attr.LOCK_OWNER: ("lock.owner", _text),
    Attr.LOCK_TOKEN: ("lock.token", _text),
    Attr.LOCK_TTL_MS: ("lock.ttl_ms", _number),
    Attr.LOCK_MODE: ("lock.shared", lambda value: value == "shared"),
    Attr.EFFECT_HASH: ("effect.hash", _text),
    Attr.EFFECT_KEY: ("effect.key", _text),
    Attr.FRONTIER_NS: ("mark.frontier_ns", _number),
    Attr.ACCESSES: ("mark.accesses", _number),
    Attr.DROPPED: ("mark.dropped", _number),
}
"""Facts that few accesses have: they go into records of their own."""
_FACTS: Final[_Table] = {**_PLAIN, **_OF_GROUPS}
_GROUPED: Final = frozenset(field for field, _ in _OF_GROUPS.values())
_UNCOMMON: Final = frozenset({"", MISREAD, *_GROUPED})
"""Facts that have to be sorted out."""
_PROCESS: Final[_Table] = {
    Attr.PROCESS: ("id", _text),
    Attr.CLOCK: ("clock", _text),
    Attr.CLOCK_OFFSET_NS: ("clock_offset_ns", _number),
    Attr.KEY_ID: ("key_id", _text),
    Attr.HOST_NAME: ("host", _text),
    Attr.SERVICE_NAME: ("service", _text),
    Attr.PROCESS_PID: ("pid", _number),
    Attr.CONTRACT: ("contract", _text),
}


def fact(name: str, value: object) -> Fact:
    """What one attribute of a span says.

    Args:
        name: by the contract.
        value: str, int, float, bool, or a sequence of str.

    Returns:
        Field and value; `NO_FACT` if it means nothing; `MISREAD` and why, if it should mean something but does not.
    """
    entry = _FACTS.get(name)
    if entry is None or (value == "" and name != Attr.OP):  # an empty text says nothing: stores have no other word
        return NO_FACT
    field, convert = entry
    try:
        said = convert(value)
    except (KeyError, TypeError, ValueError):
        return MISREAD, f"{name} is {value!r}"
    return NO_FACT if said == () and field not in _GROUPED else (field, said)


def facts(name: str) -> tuple[str, Callable[[Sequence[Any]], Sequence[Any]]]:
    """What one attribute of many spans says: the field, and what understands its values, none of which is empty.

    The values are texts, or whole numbers where the attribute is one; only for attributes that any of these fits.
    """
    field, convert = _FACTS[name]
    if convert is _text:
        return field, _interned
    if convert is _passing or convert is _number:
        return field, _as_they_are
    return field, lambda values: [convert(value) for value in values]


def _interned(values: Sequence[Any]) -> Sequence[Any]:
    return list(map(intern, values))


def _as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    return values


def record_of(group: str, fields: Iterable[str]) -> Callable[..., Any] | None:
    """What makes the record of a group of facts; None where it would be none, since what names it is not among them."""
    build, needed = _RECORDS[group]
    return build if needed is None or needed in fields else None


def decode_process(attributes: Attributes) -> Process | None:
    """The process of a resource's attributes; None if it is not one of noclobber's."""
    if Attr.PROCESS not in attributes:
        return None
    said: dict[str, Any] = {}
    for name, (field, convert) in _PROCESS.items():
        if attributes.get(name) not in (None, ""):
            with suppress(KeyError, TypeError, ValueError):
                said[field] = convert(attributes[name])
    return Process(**said)


def decode_span(span: SpanRecord, process: Process) -> Access | Mark | None:
    """What a span of noclobber's tells: an access, or a mark; None if it is no span of noclobber's after all.

    Args:
        span: its facts are taken out of it.
        process: who sent it.

    Raises:
        Unreadable: what every access must have is missing, or has another form.
    """
    facts = span.facts
    mark = None if facts.keys().isdisjoint(_UNCOMMON) else _sorted_out(facts, process)
    if mark is not None:
        return _mark(mark, process, span.end_ns)
    op = facts.get("op")
    if op is None:
        return None
    if op is Op.SCAN:
        facts.setdefault("scan", Scan(count=facts.get("result_count")))
    if "unit" not in facts:
        facts["unit"] = facts.get("step") or facts.get("strand")
    facts["key"] = key_of(span.trace_id, span.span_id)
    facts["start_ns"], facts["end_ns"] = span.start_ns, max(span.start_ns, span.end_ns)
    facts["process"] = process
    if span.links:
        facts["links"] = span.links
    try:
        return in_form(facts)
    except TypeError as error:
        raise Unreadable(str(error)) from error


def _sorted_out(facts: dict[str, Any], process: Process) -> dict[str, Any] | None:
    """Take out what means nothing, and gather what few have; what a mark says, if it is one."""
    facts.pop("", None)
    misread = facts.pop(MISREAD, None)
    if misread is not None:
        if not _is_newer(process):
            raise Unreadable(misread)
        facts["partial"] = True
        if "op" not in facts:
            raise Unreadable(misread)
    if not facts.keys().isdisjoint(_GROUPED):
        _gather(facts)
    mark: dict[str, Any] | None = facts.pop("mark", None)
    return (mark or {}) if facts.get("op") is Op.MARK else None


def _gather(facts: dict[str, Any]) -> None:
    """Put the facts that few accesses have into records of their own."""
    groups: dict[str, dict[str, Any]] = {}
    for name in _GROUPED & facts.keys():
        group, _, field = name.partition(".")
        groups.setdefault(group, {})[field] = facts.pop(name)
    for group, said in groups.items():
        build, needed = _RECORDS[group]
        if needed is None or needed in said or facts.get("op") is Op.SCAN:
            facts[group] = build(**said)
    scan = facts.get("scan")
    if scan is not None and "result_count" in facts:
        facts["scan"] = msgspec.structs.replace(scan, count=facts["result_count"])


_RECORDS: Final[dict[str, tuple[Callable[..., Any], str | None]]] = {
    "scan": (Scan, "resources"),
    "message": (Message, "id"),
    "lock": (Lock, None),
    "effect": (Effect, "hash"),
    "mark": (dict, None),
}
"""How each record is made, and without what it is none (a scan always is one)."""


def _mark(said: dict[str, Any], process: Process, time_ns: int) -> Mark:
    if "frontier_ns" not in said:
        raise Unreadable("a mark without a usable frontier")
    return Mark(process, said["frontier_ns"], said.get("accesses"), said.get("dropped", 0), time_ns)


def _is_newer(process: Process) -> bool:
    return process.contract is not None and process.contract != CONTRACT_VERSION
