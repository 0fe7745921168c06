"""Points of vector stores: an id, a vector, and what the vector stands for (a text, fields).

What a point says is its state. The fields and the text are its *pieces*, each a part with a print of its own, so agents
that change different fields do not conflict where the store merges them. A vector is normalised, quantized or made by
the store, and mostly follows from the text: it is a piece only where nothing else is there. Since a store may give back
something else than it was sent, no print is verbatim. A search by likeness is an approximate scan.

This module knows no library: `chroma`, `qdrant`, `lancedb` and `faiss` say what was asked and answered.

Source: capture.md section 2; contract 2.1 (`scan`), `noclobber.version.verbatim`.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from noclobber.access import Access, AttributeValue, Member
from noclobber.contract import ABSENT, Attr, Op, Outcome, VersionKind, WriteMode
from noclobber.stores.object_values import Kept, kept
from noclobber.versions import fingerprint, fingerprint_parts, is_numeric, is_weak

__all__ = ["Pieces", "changed", "delete", "pieces", "predicate", "read", "scan", "write"]

Pieces = Mapping[str, Kept]
"""What a point says: name of a piece -> its content."""
RESULTS_MAX: Final = 64


def pieces(fields: Mapping[str, Any] | None, under: str, text: Any = None, vector: Any = None) -> dict[str, Kept]:
    """The pieces of a point at this moment; fields are named `under.name`."""
    found = {f"{under}.{name}": kept(value) for name, value in (fields or {}).items()}
    if text is not None:
        found["document"] = kept(text)
    if not found and vector is not None:
        found["vector"] = _vector(vector)
    return found


def _vector(vector: Any) -> Kept:
    """A vector as stores keep it: single precision."""
    try:
        if isinstance(vector, Mapping):
            return kept({str(name): (_vector(each).data or b"").hex() for name, each in vector.items()})
        if hasattr(vector, "astype"):
            return Kept(vector.astype("float32").tobytes(), verbatim=False)
        return Kept(array("f", vector).tobytes(), verbatim=False)
    except (TypeError, ValueError, OverflowError):
        return kept(vector)


def predicate(*asked: Any) -> str:
    """The keyed hash of what a scan asked for."""
    return fingerprint(kept(asked).data or b"something that does not show its content")


# -- in the drain --------------------------------------------------------------------------------------------------


def read(resource: str, system: str, found: Pieces | None, *, whole: bool) -> Access:
    """One point that was asked for by its id; None: it is not there. `whole`: all that it says was asked for."""
    access = Access(Op.READ, resource, system)
    if found is None:
        access.outcome = Outcome.NOT_FOUND
        access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_READ: ABSENT}
    else:
        _tell(access, found, Attr.VERSION_READ, whole=whole)
    return access


def write(resource: str, system: str, made: Pieces, *, whole: bool, mode: WriteMode | None = None) -> Access:
    """One point, or (not `whole`) some pieces of it, set to what the caller gave."""
    access = Access(Op.WRITE, resource, system, finds_base=True)
    _tell(access, made, Attr.VERSION_WRITTEN, whole=whole)
    if mode is not None:
        access.attributes[Attr.WRITE_MODE] = mode
    return access


def delete(resource: str, system: str, part: Sequence[str] = ()) -> Access:
    """One point, or some pieces of it, gone."""
    access = Access(Op.DELETE if not part else Op.WRITE, resource, system, part=tuple(sorted(part)), finds_base=True)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    if part:
        access.part_versions = dict.fromkeys(access.part, ABSENT)
        if len(part) > 1:
            access.attributes[Attr.VERSION_WRITTEN] = fingerprint_parts(access.part_versions)
    return access


def changed(container: str, system: str) -> Access:
    """Something in the container, nobody can say what."""
    attributes: dict[str, AttributeValue] = {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}
    return Access(Op.UPDATE, container, system, attributes=attributes)


def scan(
    container: str, system: str, asked: str, found: Iterable[tuple[str, Pieces]], *, whole: bool, approximate: bool,
    cut: bool = False,
) -> Access:  # fmt: skip
    """What a filter or a likeness found; a result is told with its version where it was given whole."""
    members: list[Member] = []
    for resource, each in found:
        prints = _prints(each)
        version = _combined(prints) if whole and prints else ""
        members.append(Member(resource, version, (), prints if version else None))
    attributes: dict[str, AttributeValue] = {
        Attr.PREDICATE: asked,
        Attr.RESULT_RESOURCES: tuple(each.resource for each in members[:RESULTS_MAX]),
        Attr.RESULT_COUNT: len(members),
    }
    access = Access(Op.SCAN, container, system, attributes=attributes)
    if members and all(each.version for each in members):
        access.members = tuple(members)
        attributes[Attr.VERSION_KIND], attributes[Attr.VERSION_VERBATIM] = VersionKind.FINGERPRINT, False
        attributes[Attr.RESULT_VERSIONS] = tuple(each.version for each in members[:RESULTS_MAX])
    if approximate:
        attributes[Attr.SCAN_APPROXIMATE] = True
    if cut or len(members) > RESULTS_MAX:
        attributes[Attr.PARTIAL] = True
    return access


def _tell(access: Access, said: Pieces, name: str, *, whole: bool) -> None:
    if not whole:
        access.part = tuple(sorted(said))
    prints = _prints(said)
    if not said or len(prints) < len(said):  # nothing that could be compared, or something that shows no content
        access.attributes[Attr.PARTIAL] = True
        return
    data = [each.data or b"" for each in said.values()]
    access.part_versions = prints
    access.attributes |= {
        Attr.VERSION_KIND: VersionKind.FINGERPRINT,
        name: _combined(prints),
        Attr.VERSION_VERBATIM: False,
        Attr.SIZE: sum(map(len, data)),
    }
    if all(map(is_weak, data)):
        access.attributes[Attr.VERSION_WEAK] = True
    if len(data) == 1 and is_numeric(data[0]):
        access.attributes[Attr.CONTENT_NUMERIC] = True


def _prints(said: Pieces) -> dict[str, str]:
    return {name: fingerprint(each.data) for name, each in said.items() if each.data is not None}


def _combined(prints: Mapping[str, str]) -> str:
    return next(iter(prints.values())) if len(prints) == 1 else fingerprint_parts(prints)
