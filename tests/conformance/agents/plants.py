"""What programs that plant a secret share: the secret, where they may write, and who plants it for what."""

import os
from collections.abc import Callable
from pathlib import Path

SECRET = os.environ["PLANTED"]
TIMEOUT_S = 30
FOLDER = Path(os.environ["FOLDER"])
PLANTS: dict[str, Callable[[], object]] = {}


def plants(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Note which integration a function is for."""

    def note(function: Callable[[], object]) -> Callable[[], object]:
        PLANTS[name] = function
        return function

    return note
