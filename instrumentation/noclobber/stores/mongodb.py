"""MongoDB's documents as resources: names, what a document says, what a filter compares, what an update does.

A document's fields are its parts, each with a print of its own, so agents that `$set` different fields do not conflict.
A field of a field (`a.b`) is told as its outermost name, without a version. The store may give back something else
than it was sent (dates lose microseconds), so no print is verbatim.

A filter that compares more than `_id` is a guard: what it asks for is looked up among the states that this process has
seen, since the field that is compared (a version) is mostly not the one that is decided about (a balance).

Source: MongoDB manual (update operators, findAndModify); capture.md section 2.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from noclobber.access import Access
from noclobber.contract import ABSENT, Attr, BaseSource, Guard, Op, VersionKind, WriteMode
from noclobber.resources import authority, quoted
from noclobber.stores import points
from noclobber.stores.object_values import Kept, kept
from noclobber.versions import fingerprint, fingerprint_parts

__all__ = [
    "SYSTEM", "Asked", "Filter", "changes_of", "container_of", "guard", "name_of", "overwrote", "said", "saw",
    "server_of", "update", "write",
]  # fmt: skip

SYSTEM: Final = "mongodb"
DEFAULT_PORT: Final = 27017
STATES_MAX: Final = 8192
NUMBERS: Final = ("int", "float", "Int64", "Decimal128")
_states: OrderedDict[tuple[str, str, str], dict[str, str]] = OrderedDict()
"""Document, field, print -> prints of all its fields when it was last seen so; used by the drain only."""

Document = Mapping[str, Kept]


def server_of(client: Any) -> str:
    """A deployment's name. A replica set is called by the first of the hosts configured."""
    seeds = client._topology_settings.seeds
    return "mongodb://" + min(authority(str(host), int(port or DEFAULT_PORT), DEFAULT_PORT) for host, port in seeds)


def container_of(collection: Any) -> str:
    """A collection's name, with a slash at its end."""
    database = collection.database
    return f"{server_of(database.client)}/{quoted(database.name)}/{quoted(collection.name)}/"


def name_of(identifier: Any) -> str:
    """An `_id` in a resource's name; a text and a number that read alike are two."""
    if isinstance(identifier, str):
        return identifier
    kind = type(identifier).__name__
    if kind in NUMBERS:
        number = str(identifier)
        return f"number({number.removesuffix('.0')})"
    if kind in ("ObjectId", "UUID", "bool", "datetime", "NoneType"):
        return f"{kind}({identifier})"
    return f"print({fingerprint(kept(identifier).data or b'something that does not show its content')})"


def said(document: Any) -> dict[str, Kept]:
    """What a document says just now, without its `_id`."""
    return {str(name): kept(value) for name, value in document.items() if name != "_id"}


@dataclass(frozen=True, slots=True)
class Filter:
    """What a filter selects by.

    Attributes:
        container: the collection. key: the document's name where `_id` is named, else None.
        compared: further fields that must be equal to something. others: whether it asks for anything else.
        about: print of the whole.
    """

    container: str
    key: str | None
    compared: dict[str, Kept]
    others: bool
    about: str

    @classmethod
    def of(cls, container: str, asked: Any) -> "Filter":
        """What `asked`, as the caller gave it, selects by."""
        if asked is not None and not isinstance(asked, Mapping):
            asked = {"_id": asked}
        asked = asked or {}
        key, compared, others = None, {}, False
        for name, value in asked.items():
            if name == "_id" and not _operates(value):
                key = container + quoted(name_of(value))
            elif name.startswith("$") or "." in name or _operates(value):
                others = True
            else:
                compared[name] = kept(value)
        return cls(container, key, compared, others, points.predicate(str(asked)) if asked else "*")

    @property
    def guards(self) -> bool:
        """Whether it compares more than the key."""
        return bool(self.compared) or self.others

    def key_of(self, document: Any) -> str | None:
        """The name of the document that was found."""
        if self.key is not None or "_id" not in document:
            return self.key
        return self.container + quoted(name_of(document["_id"]))


def _operates(value: Any) -> bool:
    """Whether a filter's value is a condition (`{"$in": ...}`), or a pattern, and not something to be equal to."""
    pattern = type(value).__name__ in ("Pattern", "Regex")
    return pattern or (isinstance(value, Mapping) and any(str(name).startswith("$") for name in value))


@dataclass(frozen=True, slots=True)
class Asked:
    """What an update asks for.

    Attributes:
        sets: fields that are given a value, None where the whole is replaced (by `whole`). whole: see there.
        computes: outermost names of fields that the store computes, or that are set inside.
        increments: whether all of these are added to. opaque: whether nobody can say which fields.
    """

    sets: dict[str, Kept] | None
    computes: tuple[str, ...] = ()
    increments: bool = False
    opaque: bool = False
    whole: dict[str, Kept] | None = None

    @property
    def count(self) -> int:
        """How many accesses it is."""
        return 1 if self.opaque or self.whole is not None else bool(self.sets) + bool(self.computes)


def changes_of(asked: Any) -> Asked:
    """What the caller's update does."""
    if not isinstance(asked, Mapping):
        return Asked(None, opaque=True)  # a pipeline: the store computes it
    sets: dict[str, Kept] = {}
    computes: dict[str, bool] = {}
    for operator, fields in asked.items():
        for name, value in fields.items():
            if operator == "$set" and "." not in name:
                sets[name] = kept(value)
            else:
                computes[name.partition(".")[0]] = operator == "$inc"
            if operator == "$rename":
                computes[str(value).partition(".")[0]] = False
    return Asked(sets, tuple(sorted(computes)), all(computes.values()))


# -- in the drain --------------------------------------------------------------------------------------------------


def _prints(document: Document) -> dict[str, str]:
    return {name: fingerprint(each.data) for name, each in document.items() if each.data is not None}


def saw(resource: str, document: Document) -> None:
    """Note the state in which a document was seen whole."""
    prints = _prints(document)
    for each in prints.items():
        _states.pop((resource, *each), None)
        _states[resource, *each] = prints
    while len(_states) > STATES_MAX:
        _states.popitem(last=False)


def write(resource: str, made: Document, *, whole: bool, mode: WriteMode | None = None) -> Access:
    """A document, or some of its fields, set to what was given."""
    return points.write(resource, SYSTEM, made, whole=whole, mode=mode)


def update(resource: str, asked: Asked) -> Access:
    """What the store computed."""
    mode = WriteMode.INCREMENT if asked.increments else WriteMode.MERGE
    access = Access(Op.UPDATE, resource, SYSTEM, part=() if asked.opaque else asked.computes)
    access.attributes[Attr.WRITE_MODE] = mode
    return access


def guard(access: Access, about: Filter) -> None:
    """Say what the filter compared, as the state that had it."""
    if not about.guards:
        return
    access.attributes[Attr.GUARD] = Guard.VERSION
    access.attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    prints = _prints(about.compared)
    known = next((_states.get((access.resource, *each)) for each in prints.items()), None)
    if known is None or any(known.get(name) != version for name, version in prints.items()):
        access.attributes[Attr.VERSION_EXPECTED] = _of(prints, ()) if prints else fingerprint(b"a condition")
        access.finds_base = False  # it was compared with something that this process has not seen
        return
    expected = access.attributes[Attr.VERSION_EXPECTED] = _of(known, access.part)
    if access.op is not Op.UPDATE:
        access.attributes[Attr.VERSION_BASE] = expected
        access.attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT


def overwrote(access: Access, before: Document) -> None:
    """Tell what a write replaced, as the store gave it."""
    if Attr.VERSION_WRITTEN in access.attributes and all(each.data is not None for each in before.values()):
        access.attributes[Attr.VERSION_OVERWRITTEN] = _of(_prints(before), access.part)


def _of(prints: Mapping[str, str], part: Sequence[str]) -> str:
    """The version of some fields of a state, or of all."""
    chosen = {name: prints.get(name, ABSENT) for name in part} if part else dict(prints)
    return next(iter(chosen.values())) if len(chosen) == 1 else fingerprint_parts(chosen)
