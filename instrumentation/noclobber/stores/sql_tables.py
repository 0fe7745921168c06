"""What is known about tables: which columns name a row, which one counts its versions.

A row's name needs its key columns, and nothing may be asked of the database for that in an agent's way. So a
catalogue learns what passes by anyway: SQLAlchemy's own `Table` objects, and `CREATE TABLE` statements. For a table
that nobody has described, a column `id` is taken for the key until a statement shows that it is none. Version
columns come from mappers (`version_id_col`), or from the unmistakable `SET v = v + 1 .. WHERE v = :v`.

It does not decide what a statement does with a table (`sql_plan`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from noclobber.contract import VersionKind

__all__ = ["Catalogue", "Table"]

TABLES_MAX: Final = 4096
GUESSED_KEY: Final = ("id",)


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: as it stands in resource names: folded, without the default schema.
        key: columns of the primary key, in its order; empty: a table without one.
        columns: all columns in their order, None where not known.
        version: the version column, None where there is none. version_kind: what its values are.
        guessed: whether the key is only a guess.
    """

    name: str
    key: tuple[str, ...] = GUESSED_KEY
    columns: tuple[str, ...] | None = None
    version: str | None = None
    version_kind: VersionKind = VersionKind.COUNTER
    guessed: bool = True

    def content(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Those of `columns` that are neither key nor version, sorted."""
        return tuple(sorted({*columns} - {*self.key, self.version}))

    def is_whole(self, content: tuple[str, ...]) -> bool:
        """Whether `content` is everything that a row of this table holds."""
        return self.columns is not None and self.content(self.columns) == content


class Catalogue:
    """The tables of one database, as far as this process knows them; grows, never forgets a key.

    Attributes:
        generation: grows whenever something is learnt, so that plans made before are made anew.
    """

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        self.generation = 0

    def __getitem__(self, name: str) -> Table:
        return self._tables.get(name) or Table(name)

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def learn(self, table: Table) -> None:
        """Take what `table` says, unless it says less than what is known."""
        known = self._tables.get(table.name)
        if known is not None and not known.guessed:
            if table.guessed:
                return
            table = replace(
                table, columns=table.columns or known.columns, version=table.version or known.version,
                version_kind=table.version_kind if table.version else known.version_kind,
            )  # fmt: skip
        if table != known and (known is not None or len(self._tables) < TABLES_MAX):
            self._tables[table.name] = table
            self.generation += 1

    def learn_version(self, name: str, column: str) -> None:
        """`column` of table `name` is counted up by the very statements that compare it."""
        table = self[name]
        if table.version is None:
            self._tables[name] = replace(table, version=column)
            self.generation += 1

    def learn_no_key(self, name: str) -> None:
        """The guessed key of table `name` does not name one row."""
        table = self[name]
        if table.guessed and table.key:
            self._tables[name] = replace(table, key=())
            self.generation += 1
