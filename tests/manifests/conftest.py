"""The tools as a fixture."""

import pytest
from manifest_tools import Tool, run_tool


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Runs a tool by its name; skips where there is none."""
    return run_tool
