"""Advice for Redis and what speaks its protocol.

Source: Redis documentation, transactions (WATCH) and INCRBY; redis-py's `transaction`.
"""

from typing import Final

from noclobber.contract import Kind

__all__ = ["ADVICE"]

ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.LOST_UPDATE: (
        "WATCH the key from the read to the write, so that EXEC refuses if it changed, and retry; for sums use INCRBY, "
        "which cannot lose.",
        "with r.pipeline() as pipe:\n    while True:\n        try:\n            pipe.watch('{key}')\n"
        "            new = decide(pipe.get('{key}'))\n            pipe.multi()\n            pipe.set('{key}', new)\n"
        "            pipe.execute()\n            break\n        except redis.WatchError:\n            continue\n\n"
        "# or, for a number:\nr.incrby('{key}', amount)",
    ),
    Kind.STALE_WRITE: (
        "WATCH what the decision was made from, too: EXEC then refuses if any of it changed.",
        "pipe.watch('{key}', basis)",
    ),
    Kind.DOUBLE_CLAIM: (
        "Let Redis hand a task to one worker: LMOVE to a list of its own, or a stream with one consumer group.",
        "task = r.lmove('{key}', f'{key}:{worker}', 'RIGHT', 'LEFT')",
    ),
    Kind.CHECK_THEN_ACT: (
        "Let Redis check and act in one step: SET .. NX says whether somebody was first; a script checks more.",
        "if not r.set('{key}', me, nx=True, ex=60):\n    return  # somebody else is at it",
    ),
    Kind.BLIND_OVERWRITE: (
        "Write a new key only if there is none (SET .. NX), or WATCH it; if the last writer may win, declare it.",
        "if not r.set('{key}', value, nx=True):\n    ...  # somebody was first",
    ),
}
