"""Dated files of what the long fault tests showed; they are kept with the tests."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def write_result(test: str, found: Mapping[str, Any]) -> Path:
    """Write what a test showed; returns the file."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{time.strftime('%Y-%m-%d')}-{test}.json"
    where = {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count(),
             "load_1_min": round(os.getloadavg()[0], 1)}  # fmt: skip
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=FOLDER, capture_output=True, text=True, check=False
    ).stdout.strip()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = {"test": test, "commit": commit, "at": at, "machine": where, **found}
    path.write_text(json.dumps(told, indent=2) + "\n")
    return path
