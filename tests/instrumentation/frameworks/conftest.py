"""What the tests of LangGraph share: capture with everything hooked, on a thread of its own."""

from collections.abc import Iterator

import langgraph.pregel  # noqa: F401  the integration is installed with it
import pytest

from noclobber.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Everything is instrumented, drained on a thread as in life."""
    with capture(fixed=False, background=True) as found:
        yield found
