"""API tokens: made, listed and revoked by command, each with scopes; the store keeps only a hash of it.

A token is a row of the log of transitions (`token.made`, `token.revoked`), so every dashboard over the store knows it,
and who made it stands in the audit log. Its text is `nc_`, its id and 32 random bytes: with that much chance in it a
plain SHA-256 is enough, and nobody can guess it from the hash.
"""

import hashlib
import hmac
import secrets as randomness
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from noclobber_analyzer.issues import Transition
from noclobber_analyzer.tables import Store, read_transitions_of
from noclobber_dashboard.identity import Scope

__all__ = ["MADE", "REVOKED", "Token", "Tokens", "make_token", "read_tokens", "revoke_row"]

MADE, REVOKED = "token.made", "token.revoked"
PREFIX: Final = "nc"
NAME_MAX: Final = 80
TTL_S: Final = 2.0
"""How long a revoked token may still be taken: the log is read that often at most."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as the log knows it.

    Attributes:
        digest: SHA-256 of its secret part, hexadecimal.
        until_ns: when it ends; 0: never. revoked_ns: when somebody ended it; 0: nobody did.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    digest: str
    made_ns: int
    author: str
    until_ns: int = 0
    revoked_ns: int = 0

    def is_valid(self, now_ns: int) -> bool:
        """Whether it is taken."""
        return not self.revoked_ns and (not self.until_ns or now_ns < self.until_ns)


def make_token(
    name: str, scopes: frozenset[Scope], *, actor: str, now_ns: int, until_ns: int = 0
) -> tuple[str, Transition]:
    """A new token's text, which is shown once, and the row that makes it.

    Raises:
        ValueError: it has no name, by which its deeds are known.
    """
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise ValueError(f"a token needs a name of {NAME_MAX} characters at most: its deeds stand under it in the log")
    token_id, secret = randomness.token_hex(6), randomness.token_urlsafe(32)
    body = {"hash": _digest(secret), "scopes": sorted(scopes), "until_ns": until_ns}
    encoded = msgspec.json.encode(body, order="sorted").decode()
    row = Transition(f"token-{token_id}", token_id, now_ns, MADE, "", "", actor, name.strip(), encoded)
    return f"{PREFIX}_{token_id}_{secret}", row


def revoke_row(token: Token, *, actor: str, now_ns: int) -> Transition:
    """The row that ends a token."""
    return Transition(f"revoked-{token.id}", token.id, now_ns, REVOKED, "", "", actor, token.name, "")


def read_tokens(store: Store) -> list[Token]:
    """All tokens that were ever made, the latest first."""
    return _tokens(read_transitions_of(store, [MADE, REVOKED]))


def _tokens(rows: Iterable[Transition]) -> list[Token]:
    made: dict[str, Token] = {}
    revoked: dict[str, int] = {}
    for row in rows:
        if row.kind == REVOKED:
            revoked.setdefault(row.issue, row.at_ns)
        else:
            made[row.issue] = _token(row)
    known = [replace(each, revoked_ns=revoked.get(each.id, 0)) for each in made.values()]
    return sorted(known, key=lambda each: (-each.made_ns, each.id))


def _token(row: Transition) -> Token:
    content = row.content
    scopes, until = content.get("scopes"), content.get("until_ns")
    named = scopes if isinstance(scopes, list) else []
    return Token(
        row.issue, row.reason, frozenset(Scope(word) for word in named if word in set(Scope)),
        str(content.get("hash") or ""), row.at_ns, row.actor, until if isinstance(until, int) else 0,
    )  # fmt: skip


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens that are taken now, read anew every two seconds; thread safe.

    While the store is away those last read go on being taken: who could read a page before still can.

    Args:
        store: where the log is.
        now_ns: wall time.
    """

    def __init__(self, store: Store, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store, self._now_ns = store, now_ns
        self._lock = threading.Lock()
        self._known: dict[str, Token] = {}
        self._read_at_s = float("-inf")

    def shown(self, text: str) -> Token | None:
        """The token whose text somebody shows; None: it is none that is taken."""
        _, _, rest = text.partition(f"{PREFIX}_")
        token_id, _, secret = rest.partition("_")
        token = self.valid(token_id) if secret else None
        return token if token and hmac.compare_digest(_digest(secret), token.digest) else None

    def valid(self, token_id: str) -> Token | None:
        """The token of an id, if it is taken."""
        token = self._current().get(token_id)
        return token if token and token.digest and token.is_valid(self._now_ns()) else None

    def _current(self) -> dict[str, Token]:
        with self._lock:
            if time.monotonic() - self._read_at_s >= TTL_S:
                self._read_at_s = time.monotonic()
                with suppress(Exception):  # the store's own health says that it is away
                    self._known = {each.id: each for each in read_tokens(self._store)}
            return self._known
