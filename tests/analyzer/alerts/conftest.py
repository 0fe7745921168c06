"""A receiver for each test, and a route to it."""

from collections.abc import Callable, Iterator

import pytest
from receivers import Receiver, receiving


@pytest.fixture
def make_receiver() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers on free ports."""
    with receiving() as make:
        yield make


@pytest.fixture
def receiver(make_receiver: Callable[..., Receiver]) -> Receiver:
    """One receiver."""
    return make_receiver()
