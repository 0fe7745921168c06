"""Where a Redis client's keys live: one name for one database of one server, and how its texts become bytes.

A cluster is one place, whichever of its nodes has a key just now. It has no name of its own, so it is named by the
first of its nodes' addresses in their order, which is the same for every client that knows the same nodes. A client
keeps the name that it began with; nodes that come or go change it for clients that begin later (`alias_of` joins them).
"""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from noclobber.resources import authority, host_name, quoted
from noclobber.versions import encode

__all__ = ["Place", "home_of", "is_cluster", "place_of", "resource_of"]

DEFAULT_PORT: Final = 6379
RESOURCES_MAX: Final = 16_384
"""Keys whose name as a resource is remembered."""


@dataclass(slots=True)
class Place:
    """One database of one server, as a client's pool is configured for it.

    Attributes:
        uri: with a slash at its end. encoding: of texts, None for UTF-8.
        peer: address of the connected server, None until there was a connection.
    """

    uri: str
    encoding: str | None
    peer: str | None = None

    def of(self, key: Any) -> str:
        """The resource that `key` is."""
        return resource_of(self.uri, self.raw(key))

    def words(self, words: Sequence[Any]) -> Sequence[Any]:
        """A command's words: its name, and the rest as `raw`."""
        return words if self.encoding is None else (words[0], *map(self.raw, words[1:]))

    def raw(self, value: Any) -> Any:
        """`value` with texts as the bytes that the server has, where they are not UTF-8."""
        if self.encoding is None:
            return value
        if isinstance(value, str):
            return value.encode(self.encoding, "replace")
        if isinstance(value, list | tuple | set):
            return type(value)(self.raw(each) for each in value)
        return {self.raw(k): self.raw(v) for k, v in value.items()} if isinstance(value, dict) else value


def resource_of(place: str, key: Any) -> str:
    """The resource that `key` is, in the database with the URI `place`."""
    return _resource(place, key if type(key) is str or type(key) is bytes else encode(key))


@functools.lru_cache(RESOURCES_MAX, typed=True)
def _resource(place: str, key: str | bytes) -> str:
    return place + quoted(encode(key).decode("utf-8", "backslashreplace"))


def home_of(client: Any) -> Any:
    """What `place_of` knows the place of a client's keys by: its pool, or what a cluster's clients have in its place.

    A cluster's pipeline works through a strategy, and its subscribers through the client that they belong to.
    """
    own = client.__dict__
    pool = own.get("connection_pool")
    if pool is not None and "cluster" not in own:
        return pool  # a plain client's, at each call: everything else is rare
    client = own.get("_pipe") or own.get("cluster") or client
    client = getattr(client, "cluster_client", client)
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        return pool
    return client if client._is_async_client else client.nodes_manager


def is_cluster(home: Any) -> bool:
    """Whether `home` is a cluster's."""
    return hasattr(home, "nodes_cache") or hasattr(home, "nodes_manager")


def place_of(pool: Any) -> Place:
    """Where the connections of `pool` (or of what else `home_of` gives) lead."""
    place: Place | None = pool.__dict__.get("_noclobber_place")
    if place is None:
        if is_cluster(pool):
            return _cluster_place(pool)
        place = pool._noclobber_place = _place(pool.connection_kwargs)
    if place.peer is None:
        place.peer = _peer(pool)
    return place


def _place(address: Any) -> Place:
    encoding_known = _encoding(address)
    database, path = address.get("db") or 0, address.get("path")
    if path:
        return Place(f"redis://{host_name()}{quote(str(path))}/{database}/", encoding_known, peer="")
    host, port = address.get("host", "localhost"), address.get("port", DEFAULT_PORT)
    return Place(f"redis://{authority(host, int(port), DEFAULT_PORT)}/{database}/", encoding_known)


def _encoding(address: Any) -> str | None:
    encoding = str(address.get("encoding") or "utf-8").lower().replace("_", "-")
    return None if encoding in ("utf-8", "utf8", "ascii") else encoding


def _cluster_place(home: Any) -> Place:
    """The place of a cluster's keys, remembered once its nodes are known. No node's address is its peer: keys move."""
    manager = getattr(home, "nodes_manager", home)
    known = tuple(manager.nodes_cache.values())
    nodes = known or tuple(manager.startup_nodes.values())
    first = min(authority(str(node.host), int(node.port), DEFAULT_PORT) for node in nodes)
    place = Place(f"redis://{first}/0/", _encoding(home.connection_kwargs), peer="")
    if known:
        home._noclobber_place = place
    return place


def _peer(pool: Any) -> str | None:
    """Address of the server that a connection of `pool` is connected to, None where none is open just now."""
    for connection in (*getattr(pool, "_available_connections", ()), *getattr(pool, "_in_use_connections", ())):
        with contextlib.suppress(OSError):
            socket, writer = getattr(connection, "_sock", None), getattr(connection, "_writer", None)
            name = socket.getpeername() if socket else writer.get_extra_info("peername") if writer else None
            if isinstance(name, tuple):
                return str(name[0])
    return None
