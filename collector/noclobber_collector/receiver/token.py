"""Whether a client has shown the bearer token; it takes as long for a wrong one as for the right one.

Source: RFC 6750, section 2.1. A token in the address is none: it would stand in logs.
"""

import hmac
from hashlib import sha256
from typing import Final

__all__ = ["Token"]

SCHEME: Final = b"bearer "


class Token:
    """The token that clients must show.

    Args:
        token: None: they need none.
    """

    def __init__(self, token: str | None) -> None:
        # Digests are compared, because a comparison of texts tells by its time whether their lengths are equal.
        self._digest = sha256(token.encode()).digest() if token else None

    def __repr__(self) -> str:
        return f"Token({'set' if self._digest else 'none'})"

    def admits(self, authorization: bytes) -> bool:
        """Whether the header `authorization` shows it."""
        if self._digest is None:
            return True
        shown = authorization[len(SCHEME) :] if authorization[: len(SCHEME)].lower() == SCHEME else b""
        return hmac.compare_digest(sha256(shown).digest(), self._digest) and bool(shown)
