# ruff: noqa: INP001, PTH100, PTH120, T201  no package; and pathlib costs what every start would pay
"""Loaded by Python itself at the start of a program under `noclobber run`.

It switches the instrumentation on and then makes way for the `sitecustomize` that would have been loaded without it.
Whatever goes wrong here, the program starts as if nothing had happened.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _activate() -> None:
    try:
        from noclobber.bootstrap.activate import activate

        activate(program=os.environ.pop("NOCLOBBER_PROGRAM", None))
    except Exception as error:
        print(f"noclobber is off: {type(error).__name__}: {error}", file=sys.stderr)


def _chain() -> None:
    """Load the next sitecustomize on the path, as Python would have."""
    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_activate()
_chain()
