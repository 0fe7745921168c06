"""What the gate writes to the audit log: who came in, and who was refused.

Somebody is noted the first time in half a day, by name, way and address; refusals of one address once a minute, with
how many there were since. Both memories are bounded, so that nobody fills log or memory by asking.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from noclobber_analyzer.alerts.audit import from_where
from noclobber_analyzer.issues import Transition
from noclobber_analyzer.tables import Store, append_transitions
from noclobber_dashboard.identity import Identity

__all__ = ["REFUSED", "SIGNED_IN", "Journal"]

SIGNED_IN, REFUSED = "access.signed_in", "access.refused"
AGAIN_S: Final = {SIGNED_IN: 12 * 3_600.0, REFUSED: 60.0}
KEPT_MAX: Final = 10_000
_LOG = logging.getLogger(__name__)


class Journal:
    """Notes who came in and who did not; thread safe.

    Args:
        store: where the log is.
        monotonic: seconds that never go back.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store, self._monotonic = store, monotonic
        self._lock = threading.Lock()
        self._noted: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def is_new(self, kind: str, *words: str) -> int:
        """How often this happened since it was last noted, this time among them; 0: it is not to be noted yet."""
        with self._lock:
            key, now_s = (kind, *words), self._monotonic()
            noted_s, count = self._noted.pop(key, (float("-inf"), 0))
            due = now_s - noted_s >= AGAIN_S[kind]
            self._noted[key] = (now_s, 0) if due else (noted_s, count + 1)
            while len(self._noted) > KEPT_MAX:
                self._noted.popitem(last=False)
            return count + 1 if due else 0

    def came(self, identity: Identity) -> None:
        """Note who came in, if that is news."""
        if identity.name and self.is_new(SIGNED_IN, identity.name, identity.way, identity.origin):
            scopes = ", ".join(sorted(identity.scopes))
            self._write(SIGNED_IN, identity.name, identity.origin, f"by {identity.way}: {scopes}")

    def refused(self, origin: str, path: str) -> None:
        """Note that somebody was refused, if that is news."""
        times = self.is_new(REFUSED, origin)
        if times:
            self._write(REFUSED, "unknown", origin, f"{path[:100]}, {times} since the last entry")

    def _write(self, kind: str, who: str, origin: str, why: str) -> None:
        now_ns = time.time_ns()
        row_id = blake2b(f"{kind}\0{who}\0{origin}\0{now_ns}".encode(), digest_size=16).hexdigest()
        try:
            append_transitions(
                self._store, [from_where(Transition(row_id, "", now_ns, kind, "", "", who, why, ""), origin)]
            )
        except Exception:
            _LOG.warning("the audit log could not be written: %s by %s from %s", kind, who, origin, exc_info=True)
