"""What the tests of local files share: a folder that is watched, and a file in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noclobber.guard import GUARD
from noclobber.testing import capture

TEXT = '{"balance": 100000}'


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the shared files lie."""
    made = tmp_path / "shared"
    made.mkdir()
    yield made
    GUARD.failures.clear()


@pytest.fixture
def path(folder: Path) -> Path:
    """A shared file."""
    file = folder / "state.json"
    file.write_text(TEXT)
    return file


def watching(folder: Path, **settings: Any) -> Any:
    return capture(watch_files=(f"{folder}/",), **settings)
