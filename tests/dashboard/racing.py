"""A lost update on each of some things, told by the manual API, as the file that `noclobber run` would write."""

import threading

import noclobber
from noclobber.otlp import json_line
from noclobber.testing import capture

__all__ = ["race"]

TIMEOUT_S = 20


def race(*names: str, lost: bool = True) -> str:
    """OTLP as JSON lines: two agents read each thing, and one writes over what the other wrote; or only one writes."""
    with capture(fixed=False) as captured:
        for name in names:
            read, wrote = threading.Barrier(2), threading.Event()
            first = threading.Thread(target=_first, args=(name, read, wrote))
            second = threading.Thread(target=_second, args=(name, read, wrote, lost))
            for thread in (first, second):
                thread.start()
            for thread in (first, second):
                thread.join(TIMEOUT_S)
    return "".join(json_line(captured.resource, export) + "\n" for export in captured.exports)


def _first(name: str, read: threading.Barrier, wrote: threading.Event) -> None:
    with noclobber.agent(f"first of {name}"):
        _read(name)
        read.wait(TIMEOUT_S)
        _write(name, version=2, over=1)
        wrote.set()


def _second(name: str, read: threading.Barrier, wrote: threading.Event, lost: bool) -> None:
    with noclobber.agent(f"second of {name}"):
        _read(name)
        read.wait(TIMEOUT_S)
        assert wrote.wait(TIMEOUT_S)
        if lost:
            _write(name, version=3, over=2)


def _read(name: str) -> None:
    with noclobber.access(f"custom://{name}", "read") as access:
        access.read(version=1)


def _write(name: str, version: int, over: int) -> None:
    with noclobber.access(f"custom://{name}", "write") as access:
        access.overwritten(over)
        access.written(version=version)
