"""What a connection talks to: the URI of its database, which is one whatever client reaches it, and its plans.

One file, or one server's database, has one name, whether SQLAlchemy or a driver names it, so that accesses through
both are accesses to the same rows. Drivers often connect anew for each call; their plans and what is known of tables
are therefore kept by that name, not by connection.

Source: contract 2, `noclobber.resource`; capture.md, section 7 (authority of a URI).
"""

import ipaddress
import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from noclobber import strands
from noclobber.resources import authority, host_name, quoted
from noclobber.stores.sql_planner import Planner
from noclobber.stores.sql_tables import Catalogue

__all__ = ["PORTS", "Database", "address", "database_at", "server_uri", "sqlite_uri"]

PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
DATABASES_MAX: Final = 256
"""Databases whose plans and tables are kept for drivers; the one that was used longest ago goes."""
_memory_numbers = itertools.count(1)
_databases: "OrderedDict[tuple[str, str], Database]" = OrderedDict()


@dataclass(slots=True)
class Database:
    """What one engine, or one connection of a driver, talks to.

    Attributes:
        uri: without a slash at its end. system: as the semantic conventions call it.
        planner: plans of its statements. peer: address as it was configured.
        described: tables that SQLAlchemy has described.
    """

    uri: str
    system: str
    planner: Planner
    peer: str | None = None
    described: set[str] = field(default_factory=set)


def database_at(uri: str, system: str, style: str, peer: str | None = None, schema: str | None = None) -> Database:
    """The database at `uri` for a driver that writes placeholders in `style`; made where there is none yet.

    Args:
        uri: without a slash at its end.
        system: as the semantic conventions call it.
        style: of the driver's placeholders.
        peer: address as it was configured.
        schema: the one that a bare name is looked up in, where it is not PostgreSQL's usual one.
    """
    found = _databases.get((uri, style))
    if found is None:
        known = next((each.planner.catalogue for (at, _), each in _databases.items() if at == uri), None)
        schema = "public" if system == "postgresql" else schema
        found = Database(uri, system, Planner(system, style, known or Catalogue(), schema), peer)
        _databases[uri, style] = found
        if len(_databases) > DATABASES_MAX:
            _databases.popitem(last=False)
    return found


def address(host: str | None) -> str | None:
    """`host` where it was configured as an address."""
    try:
        return None if host is None else str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def server_uri(system: str, host: str | None, port: int | None, database: str) -> str:
    """URI of a server's database; `host` may be a socket's folder, None is the default."""
    if host and host.startswith("/"):
        return f"{system}://{host_name()}{quoted(host)}:{port or PORTS.get(system, 0)}/{quoted(database)}"
    return f"{system}://{authority(host, port, PORTS.get(system))}/{quoted(database)}"


def sqlite_uri(name: str, mode: Any = None) -> str:
    """URI of SQLite's database `name`, a path or a `file:` URI; what lives in memory is a process's own."""
    name, _, query = name.removeprefix("file:").partition("?")
    in_memory = name in ("", ":memory:") or "mode=memory" in query or mode == "memory"
    if in_memory:
        return f"sqlite://{host_name()}/memory:{strands.process_id()}:{name.strip(':') or next(_memory_numbers)}"
    path = Path(name[2:] if name.startswith("///") else name)
    return f"sqlite://{host_name()}" + "/".join(map(quoted, str(path.resolve()).split("/")))
