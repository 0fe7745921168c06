"""illospace#575: a sub-run locks its own row and then its parent's, the watchdog the parent's and then the sub-run's.

Argument: URL of a Redis, whose locks stand for the rows'. Mended: both lock the parent first.
"""

import contextlib
import sys
import threading
import time

import redis

HOW = "plain"
(URL,) = sys.argv[1:]
PARENT, CHILD = "run:parent", "run:child"
PATIENCE_S = 0.5


def lock_both(*runs: str) -> None:
    """Lock runs, one after the other, and keep them till both are had."""
    client = redis.Redis.from_url(URL)
    with contextlib.ExitStack() as held:
        for run in runs:
            lock = client.lock(run, timeout=30)
            if not lock.acquire(blocking_timeout=PATIENCE_S):
                return  # somebody has given up
            held.callback(lock.release)


child_first = (PARENT, CHILD) if HOW == "mended" else (CHILD, PARENT)
threads = [
    threading.Thread(target=lock_both, args=runs, name=name)
    for name, runs in (("sub-run", child_first), ("watchdog", (PARENT, CHILD)))
]
redis.Redis.from_url(URL).delete(PARENT, CHILD)
for thread in threads:
    thread.start()
    time.sleep(0.03)
for thread in threads:
    thread.join()
