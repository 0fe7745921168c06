"""Versions of frameworks that are not known: left alone, said once, and nothing of the program changes."""

import os
import subprocess
import sys
from pathlib import Path

from noclobber.bootstrap.registry import INTEGRATIONS

CLASSES = {"agents.run": "class AgentRunner: ...", "workflows": "class Workflow: ..."}
"""What tells the framework's package from somebody else's of the same name."""
NAMES = [
    name
    for name, (module, _) in INTEGRATIONS.items()
    if module.startswith("noclobber.frameworks.") and name != "langgraph"
]
PROGRAM = """
import importlib, sys
from noclobber.bootstrap.registry import INTEGRATIONS
for name in sys.argv[1:]:
    importlib.import_module(INTEGRATIONS[name][1][0])
from noclobber.stores.wrapping import LEFT_ALONE
print(sorted(LEFT_ALONE))
"""


def test_unknown_versions_are_left_alone(tmp_path: Path) -> None:
    """Packages of the frameworks' names that have nothing of what is hooked."""
    for name in NAMES:
        trigger = INTEGRATIONS[name][1][0]
        *parents, last = trigger.split(".")
        folder = tmp_path
        for parent in parents:
            folder /= parent
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        (folder / f"{last}.py").write_text(CLASSES.get(trigger, "") + "\n")
    environment = {**os.environ, "NOCLOBBER_FILE_ONLY": "1", "NOCLOBBER_FILE": os.devnull, "NOCLOBBER_RERAISE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), environment.get("PYTHONPATH", "")))
    words = [sys.executable, "-m", "noclobber.cli", "run", "--", sys.executable, "-c", PROGRAM, *NAMES]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (ran.returncode, ran.stdout) == (0, f"{sorted(NAMES)}\n"), ran.stderr
    assert ran.stderr.count("and leaves it alone") == len(NAMES)
