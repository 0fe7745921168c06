"""Which place a framework keeps its state in, as a segment of the resource's name.

Equal names must mean the same state, from whatever process they come: a file is named by its path on this host, what
lies in a process's memory after the process and the object.
"""

import hashlib
import itertools
import threading
import weakref
from pathlib import Path
from typing import Any

from noclobber import strands
from noclobber.resources import host_name

__all__ = ["of_file", "of_object"]

_numbers = itertools.count(1)
_known: dict[int, int] = {}
_numbering = threading.RLock()  # an object may be collected, and its number given back, while another one is numbered


def of_file(path: str) -> str:
    """The segment that names a file: what people call it, and a hash of host and path."""
    full = str(Path(path.removeprefix("file:").partition("?")[0]).resolve())
    digest = hashlib.blake2b(f"{host_name()}:{full}".encode(), digest_size=4).hexdigest()
    return f"{Path(full).name}~{digest}"


def of_object(holder: Any) -> str:
    """The segment that names an object of this process.

    It is numbered when first asked for. The number is kept beside the object, never in it: a copy is another object.

    Raises:
        TypeError: no weak reference to it is possible, so nobody could tell when another one takes its place.
    """
    with _numbering:
        number = _known.get(id(holder))
        if number is None:
            weakref.finalize(holder, _known.pop, id(holder), None).atexit = False
            number = _known[id(holder)] = next(_numbers)
    return f"{strands.process_id()}.{number}"
