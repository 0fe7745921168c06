"""How a command reaches the store, whether `noclobber up` runs or not.

The embedded store belongs to whoever holds the data folder's `engine.lock`. If an engine does, the same store is
reached through its API, with the same client and the same statements; if nobody does, the command takes the lock itself
and opens the folder. A command never waits for the lock.

Source: contract 4.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noclobber_collector.errors import StoreBusyError, StoreUnreachableError
from noclobber_collector.lock import EngineLock, Holder, holder
from noclobber_collector.store import ENGINE_PATH, Store, open_store

__all__ = ["reached_store"]


@contextmanager
def reached_store(data: Path, url: str | None = None, token: str | None = None) -> Iterator[Store]:
    """The store for one command.

    Args:
        data: the data folder of the embedded store; not looked at where a server is named.
        url: a server's URL, or `chdb:///folder` where the store lies elsewhere than in the data folder.
        token: bearer token of the running engine's API.

    Raises:
        StoreBusyError: somebody holds the folder and does not answer; names process and address.
        StoreUnreachableError: the server does not answer.
        StoreUnusableError: the store is a newer version's, or can't be read.
    """
    if url is not None and not url.startswith("chdb:"):
        with _closing(open_store(url)) as store:
            yield store
        return
    who = holder(data)
    if who is not None:
        with _closing(_beside(data, who, token)) as store:
            yield store
        return
    with EngineLock(data), _closing(open_store(url or f"chdb://{data.absolute() / 'store'}")) as store:
        yield store


def _beside(data: Path, who: Holder, token: str | None) -> Store:
    """The store of the engine that holds the folder."""
    told = f"process {who.pid or 'unknown'} holds the data folder {data}"
    if not who.address:
        raise StoreBusyError(f"{told} and offers no API: wait until it has ended")
    try:
        store = open_store(f"{who.address}/{ENGINE_PATH}", token=token, prepare=False)
        store.rows("SELECT 1")
    except StoreUnreachableError as error:
        raise StoreBusyError(f"{told}, and does not answer at {who.address}: {error}") from error
    return store


@contextmanager
def _closing(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.close()
