"""A receiver for each test, and a route to it."""

import threading
from collections.abc import Callable, Iterator

import pytest
from receivers import Receiver, serve

from noclobber_analyzer.alerts.signing import new_secret


@pytest.fixture
def make_receiver() -> Iterator[Callable[[], Receiver]]:
    """Starts receivers on free ports."""
    servers = []

    def make() -> Receiver:
        receiver = Receiver(0, new_secret())
        server = serve(receiver)
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return receiver

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver(make_receiver: Callable[[], Receiver]) -> Receiver:
    """One receiver."""
    return make_receiver()
