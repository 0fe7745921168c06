"""One call of a LangGraph store, and the accesses that it turns out to be.

A version is a keyed print of the item's content, taken at the call: items are handed out by reference, may be changed
at any time, and nothing is kept of them but the print. A search is a scan of its namespace, in spans of 64 results.

Source: contract 2 and 2.1; capture.md 2.1 (mutable objects, verbatim, weak).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langgraph.store.base import GetOp, PutOp, SearchOp

from noclobber import versions
from noclobber.access import Access, AttributeValue
from noclobber.contract import ABSENT, Attr, Op, Outcome, VersionKind
from noclobber.resources import quoted

__all__ = ["SCAN_MAX", "SYSTEM", "Batch", "Content", "Key", "accesses_of", "content_of", "is_touching", "spans_of"]

SYSTEM: Final = "langgraph.store"
SCAN_MAX: Final = 64
"""Results in one span of a scan."""
Key = tuple[tuple[str, ...], str]
"""Namespace and key of an item."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of one value.

    Attributes:
        print: its keyed print. weak: whether too many values have the same. size: in bytes, encoded.
    """

    print: str
    weak: bool
    size: int


def content_of(value: Any) -> Content | None:
    """Print `value`; None where that can't be: another thread changes it meanwhile, or its own code raises."""
    try:
        data = versions.encode(value)
    except Exception:
        return None
    return Content(versions.fingerprint(data), not value or versions.is_weak(data), len(data))


class Batch:
    """The operations of one call on items, and what was learnt of them while it ran.

    Attributes:
        place: the segment that names the store, None where nothing is known.
        operations: LangGraph's own. positions: where each stood in the call.
        contents: of each what it put, or got. found: of each search its items' names and contents.
        replaced: in memory: for each item put what stood there: None where nothing did, else its content in a tuple
            of one, which is None where that is not known.
        aliased: numbers of the puts whose value is an object that the store handed out.
        unprintable: numbers of the gets whose item could not be printed.
        error: what the call raised.
        is_memory: whether the store lies in this process's memory.
    """

    __slots__ = (
        "aliased", "contents", "error", "found", "is_memory", "operations", "place", "positions", "replaced",
        "unprintable",
    )  # fmt: skip

    def __init__(self, place: str | None, operations: Sequence[Any], *, is_memory: bool) -> None:
        self.place = place
        self.is_memory = is_memory
        self.positions = [number for number, op in enumerate(operations) if is_touching(op)]
        self.operations = [operations[number] for number in self.positions]
        self.contents: list[Content | None] = [
            content_of(op.value) if isinstance(op, PutOp) and op.value is not None else None for op in self.operations
        ]
        self.found: dict[int, list[tuple[Key, Content | None]]] = {}
        self.replaced: dict[Key, tuple[Content | None] | None] = {}
        self.aliased: set[int] = set()
        self.error: BaseException | None = None
        self.unprintable: set[int] = set()

    def content_of_put(self, operation: Any) -> Content | None:
        """What `operation` puts, printed when the call began."""
        for own, content in zip(self.operations, self.contents, strict=True):
            if own is operation:
                return content
        return content_of(operation.value)

    def resource(self, namespace: Sequence[str], *below: str) -> str:
        """Canonical name of a namespace, or of an item in it."""
        segments = (*((self.place,) if self.place else ()), *namespace, *below)
        return "/".join(("langgraph://store", *(quoted(str(segment)) for segment in segments)))


def is_touching(operation: Any) -> bool:
    """Whether an operation touches items."""
    return isinstance(operation, GetOp | PutOp | SearchOp)


def spans_of(found: int) -> int:
    """In how many spans a search with so many results is told."""
    return max(1, -(-found // SCAN_MAX))


def accesses_of(batch: Batch, scan_id: str) -> list[Access]:
    """What the call was: one access for each operation, and after them the further spans of its searches."""
    first: list[Access] = []
    further: list[Access] = []
    for number, op in enumerate(batch.operations):
        if isinstance(op, GetOp):
            first.append(_get(batch, number, op))
        elif isinstance(op, PutOp):
            first.append(_put(batch, number, op))
        else:
            head, *rest = _search(batch, number, op, f"{scan_id}.{number}")
            first.append(head)
            further += rest
    return first + further


def _get(batch: Batch, number: int, op: GetOp) -> Access:
    access = Access(Op.READ, batch.resource(op.namespace, op.key), SYSTEM)
    content = batch.contents[number]
    if batch.error is not None:
        access.outcome = Outcome.ERROR
    elif content is not None:
        access.attributes = _described(content, Attr.VERSION_READ)
    elif number not in batch.unprintable:
        access.outcome = Outcome.NOT_FOUND
        access.attributes = {
            Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_READ: ABSENT, Attr.VERSION_VERBATIM: False,
        }  # fmt: skip
    return access


def _put(batch: Batch, number: int, op: PutOp) -> Access:
    op_name = Op.WRITE if op.value is not None else Op.DELETE
    access = Access(op_name, batch.resource(op.namespace, op.key), SYSTEM, finds_base=True)
    content = batch.contents[number]
    if content is not None:
        access.attributes = _described(content, Attr.VERSION_WRITTEN)
    elif op.value is None:
        access.attributes = {
            Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT, Attr.VERSION_VERBATIM: False,
        }  # fmt: skip
    if op.ttl is not None:
        access.attributes[Attr.TTL_MS] = int(op.ttl * 60_000)
    if number in batch.aliased:
        access.attributes[Attr.PARTIAL] = True
    access.outcome = _outcome_of_put(batch, number, op)
    key = (op.namespace, op.key)
    if access.outcome is Outcome.OK and key in batch.replaced:
        old = batch.replaced[key]
        if old is None:
            access.attributes[Attr.VERSION_OVERWRITTEN] = ABSENT
        elif old[0] is not None:
            access.attributes[Attr.VERSION_OVERWRITTEN] = old[0].print
    return access


def _outcome_of_put(batch: Batch, number: int, op: PutOp) -> Outcome:
    key = (op.namespace, op.key)
    if batch.error is not None and key not in batch.replaced:
        refused = batch.is_memory or isinstance(batch.error, TypeError | ValueError | NotImplementedError)
        return Outcome.ERROR if refused else Outcome.UNKNOWN
    later = batch.operations[number + 1 :]
    if any(isinstance(other, PutOp) and (other.namespace, other.key) == key for other in later):
        return Outcome.NO_EFFECT  # of several puts of one item in one call only the last is applied
    if op.value is None and key in batch.replaced and batch.replaced[key] is None:
        return Outcome.NO_EFFECT
    return Outcome.OK


def _search(batch: Batch, number: int, op: SearchOp, scan_id: str) -> Iterator[Access]:
    found = batch.found.get(number, [])
    parts = spans_of(len(found))
    # A query finds what is near, and a page that is full leaves out the rest: what is missing proves nothing.
    approximate = op.query is not None or op.offset > 0 or len(found) >= op.limit
    for part in range(parts):
        some = found[part * SCAN_MAX : (part + 1) * SCAN_MAX]
        attributes: dict[str, AttributeValue] = {
            Attr.PREDICATE: _predicate(op),
            Attr.RESULT_RESOURCES: [batch.resource(namespace, key) for (namespace, key), _ in some],
            Attr.RESULT_VERSIONS: [content.print if content is not None else "" for _, content in some],
            Attr.RESULT_COUNT: len(found),
            Attr.VERSION_KIND: VersionKind.FINGERPRINT,
            Attr.VERSION_VERBATIM: False,
        }
        if approximate:
            attributes[Attr.SCAN_APPROXIMATE] = True
        if parts > 1:
            attributes |= {Attr.SCAN_ID: scan_id, Attr.SCAN_PART: part + 1, Attr.SCAN_PARTS: parts}
        outcome = Outcome.OK if batch.error is None else Outcome.ERROR
        yield Access(Op.SCAN, batch.resource(op.namespace_prefix), SYSTEM, outcome, attributes=attributes)


def _predicate(op: SearchOp) -> str:
    if not op.filter and op.query is None:
        return "*"
    return versions.fingerprint(versions.encode({"filter": op.filter or {}, "query": op.query}))


def _described(content: Content, name: str) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        Attr.VERSION_KIND: VersionKind.FINGERPRINT,
        name: content.print,
        Attr.VERSION_VERBATIM: False,
        Attr.SIZE: content.size,
    }
    if content.weak:
        attributes[Attr.VERSION_WEAK] = True
    return attributes
