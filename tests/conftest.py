"""What all tests share: one embedded store at a time, since chdb opens one folder in a process."""

import signal
from collections.abc import Iterator

import pytest

from noclobber_collector.store import Store, open_store


@pytest.fixture(scope="module")
def embedded_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The real store on the real engine, for one module; closed after it, so that the next one can open its own."""
    store = open_store(f"chdb://{tmp_path_factory.mktemp('store')}")
    yield store
    store.close()


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C reaches what tests start, also where a shell in the background had it ignored: children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
