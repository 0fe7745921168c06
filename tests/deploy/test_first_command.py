"""The first command of the README, as a newcomer types it: a clone, a new environment, one line, and a race is caught.

Needs the ordinary package index, as the newcomer does.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_S = 900
DEMO_S = 120
FINDING_S = 60


def run(words: list[str], folder: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run in a folder with nothing of this checkout in the way."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.mark.long
@pytest.mark.timeout(INSTALL_S + DEMO_S + 120)
def test_the_first_command_finds_a_race(tmp_path: Path) -> None:
    """`pip install '.[demo]' && noclobber demo --once` in a fresh clone: exit 0, and a finding within a minute."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout that could be cloned")
    clone = tmp_path / "noclobber"
    assert run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], tmp_path, 60).returncode == 0
    assert run([sys.executable, "-m", "venv", "venv"], tmp_path, 120).returncode == 0
    installed = run([str(tmp_path / "venv/bin/pip"), "install", "--quiet", ".[demo]"], clone, INSTALL_S)
    assert installed.returncode == 0, installed.stderr
    began_s = time.monotonic()
    demo = run([str(tmp_path / "venv/bin/noclobber"), "demo", "--once"], clone, DEMO_S)
    took_s = time.monotonic() - began_s
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout + demo.stderr
    found = re.search(r"found it ([\d.]+) s after the last access \((\d+) s in all\)", demo.stdout)
    assert found is not None, demo.stdout
    print(f"{found[1]} s after the last access, {found[2]} s after the command, {took_s:.0f} s to the end")
    assert "LOST UPDATE" in demo.stdout
    assert int(found[2]) < FINDING_S
