"""The key under which values become prints.

Values of low entropy (balances, flags) could be guessed from a plain hash, so prints are keyed, and prints compare
only under one key. The key is `NOCLOBBER_KEY`, else one that is made once for the user of this host; all agents that
share state across hosts or containers need the same `NOCLOBBER_KEY`. `noclobber.key_id` names the key without
telling it.
"""

import hashlib
import os
import secrets
from pathlib import Path

__all__ = ["KEY_BYTES", "key_id", "load_key"]

KEY_BYTES = 32


def load_key(configured: str | None = None, folder: Path | None = None) -> bytes:
    """The fingerprint key, 32 bytes.

    Args:
        configured: `NOCLOBBER_KEY`, any text.
        folder: where the user's own key lies; the user's configuration folder where None.

    A user's key file is written beside and linked into place, so that two first starts agree on one key. Where no
    file can be written the key lives as long as the process, and nothing compares across processes: `key_id` shows.
    """
    if configured:
        return hashlib.blake2b(configured.encode(), digest_size=KEY_BYTES).digest()
    try:
        path = (folder or _user_folder()) / "key"
        return _read(path) or _make(path)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return secrets.token_bytes(KEY_BYTES)


def key_id(key: bytes) -> str:
    """Short name of `key`."""
    return hashlib.blake2b(b"noclobber key id", key=key, digest_size=6).hexdigest()


def _user_folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "noclobber"


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if len(data) == KEY_BYTES else None


def _make(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # fails if somebody else was first: then theirs counts
        except FileExistsError:
            if _read(path) is None:  # a torn file of an earlier time
                os.replace(beside, path)  # noqa: PTH105
                return path.read_bytes()
    finally:
        beside.unlink(missing_ok=True)
    return path.read_bytes()
