"""How a receiver knows that a message is ours: the headers of Standard Webhooks.

`webhook-id` is the same over all attempts, `webhook-timestamp` is the attempt's, `webhook-signature` holds one
`v1,` HMAC-SHA256 for each secret over `id.timestamp.body`, so that while a secret is rotated receivers with the old
and with the new one both agree. The arithmetic is the reference library's.

Source: Standard Webhooks, spec/standard-webhooks.md, sections "Webhook signature scheme" and "Secret rotation".
"""

import base64
import binascii
import secrets as randomness
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

__all__ = ["SECRET_PREFIX", "check_secret", "new_secret", "signed_headers"]

SECRET_PREFIX = "whsec_"  # noqa: S105  a prefix, not a secret
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64


def new_secret() -> str:
    """A fresh secret of 32 random bytes, `whsec_...`."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def check_secret(secret: str) -> str:
    """The secret itself, if it is one.

    Raises:
        ValueError: not `whsec_` and base64 of 24 to 64 bytes. The message never holds the secret.
    """
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret starts with '{SECRET_PREFIX}'")
    try:
        size = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX) + "==", validate=False))
    except (binascii.Error, ValueError) as error:
        raise ValueError("a webhook secret is base64 after its prefix") from error
    if not SECRET_BYTES_MIN <= size <= SECRET_BYTES_MAX:
        raise ValueError(f"a webhook secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, this one {size}")
    return secret


def signed_headers(message_id: str, body: bytes, secrets: Sequence[str], now_ns: int) -> dict[str, str]:
    """The headers of one attempt; one signature for each secret, newest first, and none without one."""
    seconds = now_ns // 1_000_000_000
    when = datetime.fromtimestamp(seconds, tz=UTC)
    signatures = [Webhook(secret).sign(message_id, when, body.decode()) for secret in secrets]
    signed = {"webhook-signature": " ".join(signatures)} if signatures else {}
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), **signed}
