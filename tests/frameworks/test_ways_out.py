"""Every framework that is here is hooked, and everything is put back when noclobber is switched off."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from noclobber.bootstrap.registry import INTEGRATIONS
from noclobber_sidecar.doctor_reach import DISTRIBUTIONS

NAMES = [
    name
    for name, (module, _) in INTEGRATIONS.items()
    if module.startswith("noclobber.frameworks.") and name != "langgraph"
]
PROGRAM = """
import importlib, inspect, sys
from noclobber.bootstrap.registry import INTEGRATIONS, installed
import noclobber
from noclobber.stores.wrapping import LEFT_ALONE

trigger = INTEGRATIONS[sys.argv[1]][1][0]

def code_of(value):
    value = value.fget if isinstance(value, property) else value
    return getattr(getattr(value, "__code__", None), "co_filename", "")

def hooked():
    package = trigger.split(".")[0]
    found = set()
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != package or module is None:
            continue
        for key, value in list(vars(module).items()):
            owners = [(key, value)] + (list(vars(value).items()) if isinstance(value, type) else [])
            found |= {(name, key, inner) for inner, each in owners if "/noclobber/frameworks/" in code_of(each)}
    return found

assert noclobber.instrument()
importlib.import_module(trigger)
assert sys.argv[1] in installed() and not LEFT_ALONE, LEFT_ALONE
first = hooked()
noclobber.uninstrument()
print(len(first) > 0, sorted(hooked()))
"""


@pytest.mark.parametrize("name", NAMES)
def test_all_is_put_back(name: str) -> None:
    """Found by where the code of each function comes from."""
    try:
        version(DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed: `nox -s frameworks`")
    environment = {**os.environ, "NOCLOBBER_FILE_ONLY": "1", "NOCLOBBER_FILE": os.devnull, "MEM0_TELEMETRY": "false"}
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM, name]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert (ran.returncode, ran.stdout) == (0, "True []\n"), ran.stderr[-2000:]
