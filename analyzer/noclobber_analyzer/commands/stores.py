"""Which store a command works on, and the way to it.

The way there is the collector's (`reach`): through a running engine's API, or by opening the folder itself. Here stand
the options, and what a person is told where there is no way.

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

__all__ = ["add_store_options", "elsewhere", "opened"]


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
    from noclobber_collector.lock import holder
    from noclobber_collector.reach import reached_store

    data, folder = _folders(words)
    if folder is not None and not folder.is_dir() and holder(data) is None:
        raise CommandError(f"there is no store in {folder} yet: `noclobber up` makes it, or name another with --store")
    token = words.token or os.environ.get("NOCLOBBER_TOKEN")
    try:
        with reached_store(data, words.store or None, token) as store:
            yield store
    except StoreError as error:
        if "401" in str(error) or "403" in str(error):
            raise CommandError(f"{error}. Set NOCLOBBER_TOKEN to the sidecar's own") from error
        raise CommandError(str(error)) from error


@contextmanager
def elsewhere(url: str) -> Iterator["Store"]:
    """A database of somebody else's, on a server: it is read, and nothing is made in it.

    Raises:
        CommandError: it can't be reached, or the URL makes no sense. Also for what it refuses later on.
    """
    from noclobber_collector.errors import StoreError
    from noclobber_collector.store import open_store

    if not url.startswith(("http://", "https://")):
        raise CommandError(f"spans of another collector are read from a server: http(s)://user@host:8123/db, not {url}")
    try:
        store = open_store(url, prepare=False)
        try:
            yield store
        finally:
            store.close()
    except StoreError as error:
        raise CommandError(str(error)) from error


def _folders(words: argparse.Namespace) -> tuple[Path, Path | None]:
    """The data folder that an engine would hold, and the embedded store's own; None where a server is named."""
    from noclobber_collector.commands import data_folder

    if words.store and not words.store.startswith("chdb:"):
        return data_folder(words.data), None
    if not words.store:
        data = data_folder(words.data)
        return data, data / "store"
    if not words.store.startswith("chdb:///"):
        raise CommandError(f"an embedded store needs an absolute folder: chdb:///path, not {words.store}")
    folder = Path(words.store.removeprefix("chdb://"))
    return (data_folder(words.data) if words.data else folder.parent), folder
