"""Who asks, what they may do, and from where.

The gate (`security`) finds out once for each request or WebSocket and says so to everything behind it: to the API in
the request's scope, to pages in a header of the WebSocket, which nobody outside can set. There are two roles: a reader
sees everything, an operator also acts on issues, silences and routes. A third scope, the store itself (for commands
beside a running engine), belongs to the sidecar's own token and to API tokens made for it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import quote, unquote

__all__ = [
    "ALL", "EVERYBODY", "HEADER", "KEY", "OPERATOR", "READER", "Identity", "Scope", "identity_of", "scopes_from",
]  # fmt: skip

HEADER: Final = "x-noclobber-identity"
KEY: Final = "noclobber.identity"


class Scope(StrEnum):
    """What may be done."""

    READ = "read"
    OPERATE = "operate"
    STORE = "store"


READER: Final = frozenset({Scope.READ})
OPERATOR: Final = frozenset({Scope.READ, Scope.OPERATE})
ALL: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Identity:
    """One caller.

    Attributes:
        name: as it stands in the audit log; empty: nobody asked who it is.
        scopes: what may be done.
        way: how it was found out: `open`, `token`, `api token`, `proxy`, `oidc`.
        origin: from where: an address.
    """

    name: str
    scopes: frozenset[Scope]
    way: str
    origin: str = ""

    def may(self, scope: Scope) -> bool:
        """Whether this caller may do something."""
        return scope in self.scopes

    def to_header(self) -> str:
        """For the pages' WebSocket."""
        words = {"name": self.name, "scopes": sorted(self.scopes), "way": self.way, "origin": self.origin}
        return quote(json.dumps(words))

    @classmethod
    def from_header(cls, text: str) -> Self:
        """What `to_header` made."""
        words = json.loads(unquote(text))
        return cls(words["name"], frozenset(map(Scope, words["scopes"])), words["way"], words["origin"])


EVERYBODY: Final = Identity("", ALL, "open")
"""Whoever asks where nothing is asked: only this machine reaches it."""


def identity_of(scope: Mapping[str, Any]) -> Identity:
    """Who asks, as the gate left it in an ASGI scope; nobody where there is no gate."""
    found = scope.get(KEY)
    return found if isinstance(found, Identity) else Identity("", frozenset(), "none")


def scopes_from(words: Iterable[str]) -> frozenset[Scope]:
    """Scopes as typed; whoever operates or reaches the store reads as well.

    Raises:
        ValueError: there is no such scope, or none was named.
    """
    try:
        named = frozenset(Scope(word.strip()) for text in words for word in text.split(",") if word.strip())
    except ValueError as error:
        raise ValueError(f"a scope is one of {', '.join(Scope)}: {error}") from error
    if not named:
        raise ValueError(f"name a scope: {', '.join(Scope)}")
    return named | READER
