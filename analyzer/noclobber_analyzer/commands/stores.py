"""Which store a command works on, and the way to it.

The embedded store belongs to one process at a time. If an engine holds the data folder, its store is reached through
the engine's own interface; else the command opens it itself and holds the folder as long as it runs. It never waits
for the folder: a holder that does not answer is named, and that is all.

Source: contract 4 (beside a running `up`).
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from noclobber.cli import CommandError

if TYPE_CHECKING:
    from noclobber_collector.store import Store

__all__ = ["add_store_options", "opened"]

PATH = "/api/v1/store"


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which store."""
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get("NOCLOBBER_STORE"),
        help="chdb:///folder or http(s)://user@host:8123/db (default: the embedded one in --data) [NOCLOBBER_STORE]",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the sidecar's data folder (default: the user's)")
    parser.add_argument("--token", default=None, help="of a running sidecar's API; better given as NOCLOBBER_TOKEN")


@contextmanager
def opened(words: argparse.Namespace) -> Iterator["Store"]:
    """The store that was chosen, for the length of one command.

    Raises:
        CommandError: it is not there, or can't be reached; says what to do. Also for what it refuses later on.
    """
    from noclobber_collector.errors import StoreError

    try:
        if words.store and not words.store.startswith("chdb:"):
            with _closing(_server(words.store)) as store:
                yield store
        else:
            with _embedded(words) as store:
                yield store
    except StoreError as error:
        raise CommandError(str(error)) from error


@contextmanager
def _embedded(words: argparse.Namespace) -> Iterator["Store"]:
    from noclobber_collector.lock import EngineLock, holder
    from noclobber_collector.store import open_store

    data, folder = _folders(words)
    taken = holder(data)
    if taken is not None:
        with _closing(_beside(taken.pid, taken.address, words, data)) as store:
            yield store
        return
    if not folder.is_dir():
        raise CommandError(f"there is no store in {folder} yet: `noclobber up` makes it, or name another with --store")
    with EngineLock(data), _closing(open_store(f"chdb://{folder}")) as store:
        yield store


def _folders(words: argparse.Namespace) -> tuple[Path, Path]:
    """The data folder that an engine would hold, and the store's own."""
    from noclobber_collector.commands import data_folder

    if not words.store:
        data = data_folder(words.data)
        return data, data / "store"
    folder = Path(words.store.removeprefix("chdb://"))
    if not words.store.startswith("chdb:///"):
        raise CommandError(f"an embedded store needs an absolute folder: chdb:///path, not {words.store}")
    return (data_folder(words.data) if words.data else folder.parent), folder


def _beside(pid: int, address: str, words: argparse.Namespace, data: Path) -> "Store":
    """The store of the engine that holds the data folder."""
    from noclobber_collector.errors import StoreError
    from noclobber_collector.store import open_store

    where = f"process {pid}, {address or 'no address'}, holds {data}"
    if not address:
        raise CommandError(f"{where} and gives nobody access: wait for it, or end it")
    store = None
    try:
        store = open_store(address + PATH, token=words.token or os.environ.get("NOCLOBBER_TOKEN"), prepare=False)
        store.rows("SELECT 1")
    except StoreError as error:
        if store is not None:
            store.close()
        if "401" in str(error) or "403" in str(error):
            raise CommandError(f"{where}, and refuses this token: set NOCLOBBER_TOKEN to its own") from error
        raise CommandError(f"{where}, but does not answer: {error}") from error
    return store


def _server(url: str) -> "Store":
    from noclobber_collector.store import open_store

    return open_store(url)


@contextmanager
def _closing(store: "Store") -> Iterator["Store"]:
    try:
        yield store
    finally:
        store.close()
