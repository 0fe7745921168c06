"""One decoder of meaning: attributes of a span, whatever they came in, become an `Access` or a `Mark`.

Both readers (OTLP files, rows of the store) bring a span's attributes under the contract's names; what they mean is
decided here and only here, so that both give identical accesses and, after them, identical ids. A span that is not
noclobber's is context. A span that speaks a newer contract is read as far as it is understood and marked `partial`;
one that lacks what every access must have cannot be judged and is reported as unreadable.

Source: contract 2 (attributes), 2.1 (ops), 2.4 (spans of others).
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from sys import intern
from typing import Any, Final, TypeVar

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
from noclobber_analyzer.access import Access, Effect, Lock, Mark, Message, Process, Scan

__all__ = ["Attributes", "Unreadable", "decode_process", "decode_span"]

Attributes = Mapping[str, object]
"""A span's or a resource's attributes by the contract's names: str, int, float, bool, or a sequence of str."""


class Unreadable(Exception):  # noqa: N818  it is a fact about a span, counted; not an error that stops anything
    """A span of noclobber's that lacks what every access must have, or has it in another form."""


_E = TypeVar("_E", bound=StrEnum)


def _text(value: object) -> str:
    if isinstance(value, str):
        return intern(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return str(value)


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
    Attr.STEP: ("step", _text),
    Attr.SEQ: ("seq", _number),
    Attr.STRAND_PARENT: ("strand_parent", _text),
    Attr.STRAND_PARENT_SEQ: ("strand_parent_seq", _number),
    Attr.STRAND_OTHER: ("strand_other", _text),
    Attr.STRAND_OTHER_SEQ: ("strand_other_seq", _number),
    Attr.UNIT: ("unit", _text),
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
    Attr.TXN_ID: ("txn_id", _text),
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
_SCAN: Final[_Table] = {
    Attr.PREDICATE: ("predicate", _text),
    Attr.SCAN_ID: ("id", _text),
    Attr.SCAN_PART: ("part", _number),
    Attr.SCAN_PARTS: ("parts", _number),
    Attr.SCAN_APPROXIMATE: ("approximate", _truth),
    Attr.RESULT_RESOURCES: ("resources", _texts),
    Attr.RESULT_VERSIONS: ("versions", _texts),
    Attr.RESULT_COUNT: ("count", _number),
}
_MESSAGE: Final[_Table] = {
    Attr.MESSAGE_ID: ("id", _text),
    Attr.MESSAGE_GROUP: ("group", _text),
    Attr.MESSAGE_KEY: ("key", _text),
    Attr.MESSAGE_SEQ: ("seq", _number),
    Attr.MESSAGE_SESSION: ("session", _text),
    Attr.MESSAGE_DELIVERY: ("delivery", _number),
}
_LOCK: Final[_Table] = {
    Attr.LOCK_OWNER: ("owner", _text),
    Attr.LOCK_TOKEN: ("token", _text),
    Attr.LOCK_TTL_MS: ("ttl_ms", _number),
    Attr.LOCK_MODE: ("shared", lambda value: value == "shared"),
}
_EFFECT: Final[_Table] = {Attr.EFFECT_HASH: ("hash", _text), Attr.EFFECT_KEY: ("key", _text)}
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
_NEEDED: Final = ("op", "resource", "system", "outcome", "agent", "strand", "seq")


def decode_process(attributes: Attributes) -> Process | None:
    """The process of a resource's attributes; None if it is not one of noclobber's."""
    if Attr.PROCESS not in attributes:
        return None
    return Process(**_picked(attributes, _PROCESS, lenient=True)[0])


def decode_span(
    attributes: Attributes,
    process: Process,
    *,
    trace_id: str,
    span_id: str,
    parent_span_id: str,
    start_ns: int,
    end_ns: int,
    links: tuple[tuple[str, str, str], ...] = (),
) -> Access | Mark:
    """The access or mark that a span of noclobber's is.

    Args:
        attributes: the span's own, by the contract's names.
        process: who sent it.
        trace_id: in hex, as all ids here.
        span_id: together with the trace's id its name.
        parent_span_id: "" where there is none.
        start_ns: as recorded.
        end_ns: as recorded; 0 while the call is open.
        links: (trace id, span id, value of `noclobber.edge`) of each span link that has one.

    Raises:
        Unreadable: what every access must have is missing, or has another form.
    """
    if attributes.get(Attr.OP) == Op.MARK:
        return _mark(attributes, process, end_ns)
    facts, understood = _picked(attributes, _PLAIN, lenient=_is_newer(process))
    for name in _NEEDED:
        if name not in facts:
            raise Unreadable(f"{name} is missing")
    facts.setdefault("unit", facts.get("step") or facts["strand"])
    if not understood:
        facts["partial"] = True
    for table, kind, name, key in _GROUPS:
        if key(facts, attributes):
            facts[name] = kind(**_picked(attributes, table, lenient=_is_newer(process))[0])
    return Access(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        start_ns=start_ns,
        end_ns=max(end_ns, start_ns),
        process=process,
        links=links,
        **facts,
    )


_GROUPS: Final[tuple[tuple[_Table, Callable[..., Any], str, Callable[[dict[str, Any], Attributes], bool]], ...]] = (
    (_SCAN, Scan, "scan", lambda facts, all_: facts["op"] is Op.SCAN or Attr.RESULT_RESOURCES in all_),
    (_MESSAGE, Message, "message", lambda _, all_: Attr.MESSAGE_ID in all_),
    (_LOCK, Lock, "lock", lambda _, all_: any(name in all_ for name in _LOCK)),
    (_EFFECT, Effect, "effect", lambda _, all_: Attr.EFFECT_HASH in all_),
)


def _mark(attributes: Attributes, process: Process, time_ns: int) -> Mark:
    try:
        accesses = attributes.get(Attr.ACCESSES)
        return Mark(
            process=process,
            frontier_ns=_number(attributes[Attr.FRONTIER_NS]),
            accesses=None if accesses is None else _number(accesses),
            dropped=_number(attributes.get(Attr.DROPPED, 0)),
            time_ns=time_ns,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"a mark without a usable frontier: {error}") from error


def _is_newer(process: Process) -> bool:
    return process.contract is not None and process.contract != CONTRACT_VERSION


def _picked(attributes: Attributes, table: _Table, *, lenient: bool) -> tuple[dict[str, Any], bool]:
    """The fields of one record, and whether all was understood; `lenient` skips what is not."""
    facts: dict[str, Any] = {}
    understood = True
    for name, value in attributes.items():
        entry = table.get(name)
        if entry is None or value == "":  # an empty text says nothing: the store has no other word for it
            continue
        try:
            facts[entry[0]] = entry[1](value)
        except (KeyError, TypeError, ValueError) as error:
            if not lenient:
                raise Unreadable(f"{name} is {value!r}") from error
            understood = False
    return facts, understood
