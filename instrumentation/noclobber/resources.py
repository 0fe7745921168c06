"""Names of shared state: one canonical URI for one resource, from whatever process it is touched.

Two agents race only if they are seen to touch the same thing, so a name must not depend on how a client was
configured: hosts are lower case, default ports are written out, and every name of this machine becomes its host name.

Source: contract, `noclobber.resource`.
"""

import functools
import socket
from typing import Final
from urllib.parse import quote

__all__ = ["authority", "file_uri", "host_name", "uri"]

SAFE: Final = "-._~:=,@+!$*()"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0", "::", ""})  # noqa: S104  names, no bind
QUOTED_MAX: Final = 65536
"""Names remembered in their quoted form."""


@functools.cache
def host_name() -> str:
    """This machine's name, lower case."""
    return socket.gethostname().lower() or "localhost"


@functools.lru_cache(1024)
def authority(host: str | None, port: int | None, default_port: int | None = None) -> str:
    """`host:port` of a server, the same for every way to name it.

    Args:
        host: as configured; loopback and None become this machine's name.
        port: as configured.
        default_port: the protocol's port, where none was configured.
    """
    name = (host or "").strip().lower().rstrip(".")
    if name in LOOPBACK or name.startswith("127."):
        name = host_name()
    elif ":" in name and not name.startswith("["):
        name = f"[{name}]"
    number = port or default_port
    return f"{name}:{number}" if number else name


@functools.lru_cache(QUOTED_MAX)
def quoted(segment: str) -> str:
    """`segment` as it stands in a URI."""
    return quote(segment, safe=SAFE)


def uri(scheme: str, place: str, *segments: str) -> str:
    """Canonical URI: scheme, authority (may be empty), and segments, each percent-quoted by itself."""
    return (
        "/".join((f"{scheme}://{place}", *map(quoted, segments)))
        if place
        else f"{scheme}://" + "/".join(map(quoted, segments))
    )


def file_uri(path: str) -> str:
    """Canonical URI of a file of this machine, given its absolute path."""
    return uri("file", host_name(), *path.lstrip("/").split("/"))
