"""Reads of one row by its key: most statements of most programs, told by what is worked out once for each text.

What such a read is called, which columns of the reply its version is taken over, which of its attributes are always
the same: all that follows from the plan. What is left for each call is the key, the row and its prints. Whatever is not
of this plain shape (conditions, locks, guesses that a reply refutes, version columns, rows that are not there) is told
by `sql_reads`, which could tell these as well, and does so in a test that compares the two.

Source: contract 2.1 (`read`); capture.md, section 2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from noclobber.access import Access, AttributeValue
from noclobber.contract import Attr, Op, VersionKind
from noclobber.otlp import Shared
from noclobber.resources import quoted
from noclobber.stores.sql_values import name_of_key, state

if TYPE_CHECKING:
    from noclobber.stores.sql_plan import Plan, Value

__all__ = ["Look", "look_of"]

_READ: Final = Op.READ  # looked up once: it is slow


@dataclass(frozen=True, slots=True)
class Look:
    """What a plan says of each read that it makes.

    Attributes:
        key: the values that name the row. heads: what stands before each in its name.
        key_at: where the key stands in the reply, empty where it does not.
        content: columns that the version is taken over, sorted, and where they stand in the reply.
        width: columns that a reply has at least.
        part: as the access says it. common: its attributes that are always the same.
    """

    key: "tuple[Value, ...]"
    heads: tuple[str, ...]
    key_at: tuple[int, ...]
    content: tuple[tuple[str, int], ...]
    width: int
    part: tuple[str, ...]
    common: Shared

    def names_a_row(self, parameters: Any) -> bool:
        """Whether no column of the key is NULL, which is the key of nothing."""
        return None not in [value.of(parameters) for value in self.key]

    def access(self, place: str, system: str, parameters: Any, row: Sequence[Any]) -> Access | None:
        """The read that found `row`; None where it is not so plain."""
        names = [name_of_key(value.of(parameters)) for value in self.key]
        if len(row) < self.width or any(
            name_of_key(row[at]) != name for at, name in zip(self.key_at, names, strict=False)
        ):
            return None
        resource = place + "".join([head + quoted(name) for head, name in zip(self.heads, names, strict=True)])
        found = state({column: row[at] for column, at in self.content})
        attributes: dict[str, AttributeValue] = {Attr.VERSION_READ: found.version, Attr.SIZE: found.size}
        if found.weak:
            attributes[Attr.VERSION_WEAK] = True
        if found.numeric:
            attributes[Attr.CONTENT_NUMERIC] = True
        return Access(
            _READ, resource, system, part=self.part, attributes=attributes, part_versions=found.parts,
            common=self.common,
        )  # fmt: skip


def look_of(plan: "Plan") -> Look | None:
    """What `plan` says of its reads; None where it is not a plain read of one row."""
    table = plan.table
    odd = plan.conditions or plan.narrowed or plan.locks or plan.shares or plan.skips or plan.counted or plan.near
    if odd or not plan.known or plan.spread is not None or plan.lock is not None or table.version is not None:
        return None
    if plan.keys is None or len(plan.keys) != 1 or len(plan.sources) != 1 or not table.key:
        return None
    source = plan.sources[0]
    places = {column: at for at, column in source.columns}
    if source.star or source.hides or not places or source.table is not table:
        return None
    content = table.content(places)
    columns = content or tuple(sorted(places))
    part = () if table.is_whole(content) else columns
    common: dict[str, AttributeValue] = {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_VERBATIM: False}
    if part:
        common[Attr.PART] = part[0] if len(part) == 1 else part
    begins = (f"/{quoted(table.name)}/", *[","] * (len(table.key) - 1))
    return Look(
        plan.keys[0],
        tuple(f"{begin}{quoted(column)}=" for begin, column in zip(begins, table.key, strict=True)),
        tuple(places[column] for column in table.key) if places.keys() >= {*table.key} else (),
        tuple((column, places[column]) for column in columns),
        1 + max(places.values()),
        part,
        Shared(common),
    )
