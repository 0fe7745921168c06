"""Brings a store's tables to what this version needs, by numbered migrations.

Each migration is one file of SQL statements in `schema/`, applied once and noted in `schema_migrations`. Every
statement can be repeated without harm, so two processes that start together may both apply one; its note is written
after it. A store that has a migration which this version does not know is refused: an older program must not write
into newer tables. `{on_cluster}` in a statement becomes `ON CLUSTER name` where a cluster was asked for.
"""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from noclobber_collector.columns import placeholders
from noclobber_collector.errors import StoreError, StoreUnreachableError, StoreUnusableError

if TYPE_CHECKING:
    from noclobber_collector.store import Store

__all__ = ["migrate", "migrations"]

NOTES: Final = (
    "CREATE TABLE IF NOT EXISTS schema_migrations{on_cluster} "
    "(number UInt32, name String, applied_at DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY number"
)


def migrations() -> Mapping[int, tuple[str, str]]:
    """Number -> name and text of each migration that this version has, ascending."""
    found = {}
    for file in files("noclobber_collector.schema").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            found[int(number)] = (name, file.read_text())
    return dict(sorted(found.items()))


def migrate(store: "Store", cluster: str | None = None) -> list[int]:
    """Apply what is missing; returns the numbers applied.

    Raises:
        StoreUnusableError: the store is newer than this version, or can't be read.
    """
    on_cluster = f" ON CLUSTER {cluster}" if cluster else ""
    ours = migrations()
    try:
        store.command(NOTES.replace("{on_cluster}", on_cluster))
        theirs = {int(number) for (number,) in store.rows("SELECT DISTINCT number FROM schema_migrations")}
    except StoreUnreachableError:
        raise
    except StoreError as error:
        raise StoreUnusableError(f"the store can't be prepared: {error}") from error
    newer = sorted(theirs - ours.keys())
    if newer:
        raise StoreUnusableError(
            f"the store {store.name} was made by a newer noclobber (migration {newer[-1]}, this one knows "
            f"{max(ours)}): upgrade noclobber, or name another store"
        )
    missing = [number for number in ours if number not in theirs]
    for number in missing:
        name, text = ours[number]
        for statement in _statements(_filled(text, {**placeholders(), "on_cluster": on_cluster})):
            store.command(statement)
        store.insert("schema_migrations", ("number", "name"), [(number, name)])
    return missing


def _filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with what stands for each `{name}`; braces around anything else stay (bound parameters, maps)."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def _statements(text: str) -> Iterator[str]:
    """Statements end with a semicolon at the end of a line; lines that begin with two dashes are comments."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("--") or not line.strip():
            continue
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines).rstrip().removesuffix(";")
            lines = []
    if lines:
        yield "\n".join(lines)
