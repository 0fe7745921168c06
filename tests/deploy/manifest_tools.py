"""Tools that check manifests as those do who take them: real helm and kubectl, schemas, linters.

`nox -s manifests` installs them and names their folders in `NOCLOBBER_TOOLS`; without them their tests are skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["TOOLS", "Tool", "run_tool"]

TOOLS = os.pathsep.join(filter(None, [os.environ.get("NOCLOBBER_TOOLS"), os.environ.get("PATH")]))
Tool = Callable[..., subprocess.CompletedProcess[str]]


def run_tool(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool by its name; skip where there is none."""
    found = shutil.which(name, path=TOOLS)
    if found is None:
        pytest.skip(f"there is no {name}: `nox -s manifests` installs it")
    return subprocess.run([found, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
