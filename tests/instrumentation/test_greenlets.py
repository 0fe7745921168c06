"""Strands over gevent: which accesses of small programs are ordered, with and without monkey patches."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gevent", reason="gevent is not installed (pip install gevent)")
PROGRAMS = Path(__file__).parent / "greenlet_programs.py"
TIMEOUT_S = 60


@pytest.mark.parametrize("how", ["plain", "patched"])
def test_programs(how: str) -> None:
    """Ordered pairs are never called concurrent, unordered ones are."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS), how], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(": -")] == []
    assert len(lines) > 20
