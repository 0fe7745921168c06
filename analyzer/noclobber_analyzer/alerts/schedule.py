"""When is the next attempt: a pure function of the log of deliveries.

The schedule is that of Standard Webhooks: at once, then after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h, each
20 % more or less (the amount is derived from message and attempt, so every reader of the log gets the same). An
answer's `Retry-After` is a least wait. After the last attempt the message is a dead letter. An attempt without an end
in the log (its sender died) counts, and is repeated once its timeout has surely passed. An endpoint that throttles,
does not answer, or fails again and again is left alone for a while, and its other messages lose no attempt by it.

Source: Standard Webhooks, "Deliverability and reliability"; design alerts-and-safety.md 3 and 5.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from noclobber_analyzer.alerts.post import BLOCKED, NO_ANSWER, REJECTED, TIMEOUT_S, Outcome
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.tables import Delivery

__all__ = ["ATTEMPTS_MAX", "STEPS_S", "Breaker", "Next", "closing", "next_attempt"]

STEPS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
ATTEMPTS_MAX = len(STEPS_S) + 1
JITTER = 0.2
RETRY_AFTER_MAX_S = 86_400.0
THROTTLING = frozenset({429, 502, 503, 504})
GONE = 410
PAUSE_MIN_S, PAUSE_MAX_S = 5.0, 300.0
STUBBORN_FAILURES = 5
"""Failures in a row, none of them throttling, after which an endpoint is taken to be broken."""
_RETRY_AFTER = "Retry-After: "


@dataclass(frozen=True, slots=True)
class Next:
    """The attempt to come: its number from 1, and the time before which it must not be made."""

    attempt: int
    at_ns: int


def next_attempt(rows: Sequence[Delivery], message_at_ns: int, resent_ns: int = 0) -> Next | None:
    """The next attempt of one message; None: it has arrived, or is given up.

    Args:
        rows: its deliveries, in any order.
        message_at_ns: when it came into being.
        resent_ns: when a person asked to send it again; 0: nobody did. What was final before is not any more,
            unless it has arrived. A message that had its attempts gets one more.
    """
    if any(row.ok or (row.final and row.at_ns >= resent_ns) for row in rows):
        return None
    if not rows:
        return Next(1, message_at_ns)
    last = max(rows, key=lambda row: (row.attempt, row.phase == "done"))
    if last.final:
        return Next(last.attempt + 1, resent_ns)
    if last.phase == "begun":
        return Next(last.attempt + 1, last.at_ns + int(TIMEOUT_S * SECOND_NS))
    wait_s = max(_step_s(last.id, last.attempt), _asked_s(last.answer))
    return Next(last.attempt + 1, last.at_ns + int(wait_s * SECOND_NS))


def _step_s(message: str, attempt: int) -> float:
    digest = hashlib.blake2b(f"{message}\0{attempt}".encode(), digest_size=4).digest()
    spread = int.from_bytes(digest) / 0xFFFFFFFF * 2 - 1
    return STEPS_S[min(attempt, len(STEPS_S)) - 1] * (1 + JITTER * spread)


def closing(begun: Delivery, outcome: Outcome, now_ns: int) -> Delivery:
    """The row that ends an attempt. What `Retry-After` asked for stands before the answer, as it would in HTTP."""
    asked = "" if outcome.retry_after_s is None else f"{_RETRY_AFTER}{outcome.retry_after_s:.0f}\n\n"
    final = outcome.ok or outcome.status in (GONE, REJECTED) or begun.attempt >= ATTEMPTS_MAX
    return Delivery(
        begun.id, begun.transition, begun.endpoint, begun.attempt, "done", now_ns, outcome.status, final, outcome.ok,
        round(outcome.elapsed_ms, 3), asked + outcome.answer,
    )  # fmt: skip


def _asked_s(answer: str) -> float:
    """Seconds that an answer asked to wait."""
    first = answer.partition("\n")[0]
    words = first.removeprefix(_RETRY_AFTER) if first.startswith(_RETRY_AFTER) else ""
    return min(float(words), RETRY_AFTER_MAX_S) if words.isdecimal() else 0.0


@dataclass(slots=True)
class Breaker:
    """What an endpoint's last answers say of the endpoint: fed with its `done` rows in order.

    Attributes:
        failures: in a row. until_ns: no attempt before. gone_ns: when it answered 410; 0: it did not.
    """

    failures: int = 0
    until_ns: int = 0
    gone_ns: int = 0

    def take(self, row: Delivery) -> None:
        """Account for one more finished attempt."""
        if row.ok:
            self.failures, self.until_ns = 0, 0
            return
        self.failures += 1
        if row.status == GONE:
            self.gone_ns = row.at_ns
        self.until_ns = row.at_ns + int(self._pause_s(row) * SECOND_NS)

    def _pause_s(self, row: Delivery) -> float:
        if row.status in THROTTLING or row.status in (NO_ANSWER, BLOCKED):
            return max(_asked_s(row.answer), _doubled_s(self.failures - 1))
        return _doubled_s(self.failures - STUBBORN_FAILURES) if self.failures >= STUBBORN_FAILURES else 0.0


def _doubled_s(times: int) -> float:
    return min(PAUSE_MIN_S * 2.0 ** min(times, 16), PAUSE_MAX_S)
