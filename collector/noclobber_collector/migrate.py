"""Brings a store's tables to what this version needs, by numbered migrations, each applied once.

Each migration is one file of SQL statements in `schema/`, noted in `schema_migrations` when it is done. Two processes
that start together agree on who applies it by a table: `migrating` can be created by one of them only, on a cluster
too, and the other waits until it is gone. Whoever died in the middle leaves that table behind; when nothing was done
for a while, another takes it over, by a rename that succeeds only once. Every statement can be repeated without harm,
so what was done in part is done again.

A store that has a migration which this version does not know is refused: an older program must not write into newer
tables. On a cluster (`?cluster=NAME` in the store's URL) each statement is rendered for it, see `ddl`.
"""

import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from noclobber_collector.columns import placeholders
from noclobber_collector.ddl import rendered, statements
from noclobber_collector.errors import StoreError, StoreUnreachableError, StoreUnusableError

if TYPE_CHECKING:
    from noclobber_collector.store import Store

__all__ = ["migrate", "migrations"]

NOTES: Final = (
    "CREATE TABLE IF NOT EXISTS schema_migrations{on_cluster} "
    "(number UInt32, name String, applied_at DateTime DEFAULT now())\nENGINE = MergeTree\nORDER BY number"
)
CLAIM: Final = "CREATE TABLE migrating{on_cluster} (owner String) ENGINE = Null"
TAKE_OVER: Final = "RENAME TABLE migrating TO {aside:Identifier}{on_cluster}"
DROP: Final = "DROP TABLE IF EXISTS {name:Identifier}{on_cluster} SYNC"
STILL_AT_IT: Final = "ALTER TABLE migrating{on_cluster} MODIFY COMMENT '{done}'"
AGE: Final = (
    "SELECT toUnixTimestamp(now()) - toUnixTimestamp(metadata_modification_time) FROM system.tables "
    "WHERE database = currentDatabase() AND name = 'migrating'"
)
ENGINE_OF: Final = (
    "SELECT extract(engine_full, '[(]\\'?([a-zA-Z0-9_.-]+)') FROM system.tables "
    "WHERE database = currentDatabase() AND name = 'accesses' AND engine = 'Distributed'"
)
ABANDONED_S: Final = 15
"""So long after its last sign whoever migrates is taken for dead. If it was only slow, both go on, and nothing
is done twice: statements can be repeated."""
WAIT_S: Final = 0.2
WAIT_MAX_S: Final = 600.0
TABLE_IS_THERE: Final = 57
TABLE_IS_GONE: Final = (60, 36)


def migrations() -> Mapping[int, tuple[str, str]]:
    """Number -> name and text of each migration that this version has, ascending."""
    found = {}
    for file in files("noclobber_collector.schema").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            found[int(number)] = (name, file.read_text())
    return dict(sorted(found.items()))


def migrate(store: "Store") -> list[int]:
    """Apply what is missing; returns the numbers applied here.

    Raises:
        StoreUnusableError: the store is newer than this version, spread over a cluster that its URL does not name, or
            can't be read.
    """
    try:
        _check_cluster(store)
        if not _missing(store):
            return []
        _claim(store)
        try:
            return _apply(store, _missing(store))
        finally:
            with contextlib.suppress(StoreError):  # what stays behind is taken over by the next one
                _run(store, DROP, {"name": "migrating"})
    except (StoreUnreachableError, StoreUnusableError):
        raise
    except StoreError as error:
        raise StoreUnusableError(f"the store can't be prepared: {error}") from error


def _check_cluster(store: "Store") -> None:
    over = store.rows(ENGINE_OF)
    if over and over[0][0] != store.cluster:
        raise StoreUnusableError(
            f"the store {store.name} is spread over the cluster {over[0][0]}: add ?cluster={over[0][0]} to its URL"
        )


def _missing(store: "Store") -> list[int]:
    """Numbers of the migrations that the store does not have."""
    ours = migrations()
    known = store.rows("EXISTS TABLE schema_migrations") == [(1,)]
    theirs = {int(number) for (number,) in store.rows("SELECT DISTINCT number FROM schema_migrations")} if known else ()
    newer = sorted(set(theirs) - ours.keys())
    if newer:
        raise StoreUnusableError(
            f"the store {store.name} was made by a newer noclobber (migration {newer[-1]}, this one knows "
            f"{max(ours)}): upgrade noclobber, or name another store"
        )
    return [number for number in ours if number not in theirs]


def _claim(store: "Store") -> None:
    """Become the one who migrates; waits for another who does."""
    deadline = time.monotonic() + WAIT_MAX_S
    while True:
        try:
            _run(store, CLAIM)
            return
        except StoreError as error:
            if error.code != TABLE_IS_THERE:
                raise
        age = store.rows(AGE)
        if age and age[0][0] > ABANDONED_S:
            _take_over(store)
        if time.monotonic() >= deadline:
            raise StoreUnusableError(
                f"the store {store.name} is being prepared by another process, which does not come to an end: "
                "drop its table `migrating` if there is none"
            )
        time.sleep(WAIT_S)


def _take_over(store: "Store") -> None:
    """Move the claim of one who died out of the way; of several who try one succeeds."""
    aside = f"migrating_left_{uuid.uuid4().hex}"
    try:
        _run(store, TAKE_OVER, {"aside": aside})
    except StoreError as error:
        if error.code not in TABLE_IS_GONE:
            raise
        return
    _run(store, DROP, {"name": aside})


def _apply(store: "Store", numbers: Sequence[int]) -> list[int]:
    if numbers:
        _run(store, NOTES)
    values = placeholders()
    for number in numbers:
        name, text = migrations()[number]
        for done, statement in enumerate(statements(text), 1):
            for each in rendered(statement, values, store.cluster):
                store.command(each)
            for each in rendered(STILL_AT_IT, {"done": f"{number}.{done}"}, store.cluster):
                store.command(each)
        store.insert("schema_migrations", ("number", "name"), [(number, name)])
    return list(numbers)


def _run(store: "Store", statement: str, parameters: Mapping[str, object] | None = None) -> None:
    for each in rendered(statement, {}, store.cluster):
        store.command(each, parameters or {})
