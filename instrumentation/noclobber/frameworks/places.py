"""Which place a framework keeps its state in, as a segment of the resource's name.

Equal names must mean the same state, from whatever process they come: a file is named by its path on this host, what
lies in a process's memory after the process and the object.
"""

import hashlib
import itertools
from pathlib import Path
from typing import Any

from noclobber import strands
from noclobber.resources import host_name

__all__ = ["of_file", "of_object"]

_numbers = itertools.count(1)


def of_file(path: str) -> str:
    """The segment that names a file: what people call it, and a hash of host and path."""
    full = str(Path(path.removeprefix("file:").partition("?")[0]).resolve())
    digest = hashlib.blake2b(f"{host_name()}:{full}".encode(), digest_size=4).hexdigest()
    return f"{Path(full).name}~{digest}"


def of_object(holder: Any) -> str:
    """The segment that names an object of this process, which is numbered when first asked for."""
    number = getattr(holder, "_noclobber_number", None)
    if number is None:
        number = next(_numbers)
        object.__setattr__(holder, "_noclobber_number", number)
    return f"{strands.process_id()}.{number}"
