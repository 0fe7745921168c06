"""langgraph#7417: a tool takes longer than its run may be silent, so the run is handed out again, and both run it.

Argument: URL of a Redis. Mended: what the tool does is told once for each run.
"""

import sys
import threading
import time

import redis

HOW = "plain"
(URL,) = sys.argv[1:]
STREAM, GROUP = "runs", "workers"
SILENT_MS, AFTER_S = 20, 0.04


def work(client: redis.Redis, name: str, again: bool) -> None:
    """Take a run, or one whose worker was silent for too long; run its tool."""
    if again:
        got = client.xautoclaim(STREAM, GROUP, name, SILENT_MS)[1]
    else:
        got = [run for _, runs in client.xreadgroup(GROUP, name, {STREAM: ">"}) for run in runs]
    for number, run in got:
        if HOW == "plain" or client.set(f"report:{number.decode()}", "the tool has run", nx=True):
            client.incrby(f"cost:{run[b'of'].decode()}", 120)
        client.xack(STREAM, GROUP, number)


store = redis.Redis.from_url(URL)
store.delete(STREAM, "cost:t-88")
store.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
store.xadd(STREAM, {"of": "t-88"})
threads = [
    threading.Thread(target=work, args=(store, name, again), name=name) for name, again in (("W1", False), ("W2", True))
]
for thread in threads:
    thread.start()
    time.sleep(AFTER_S)
for thread in threads:
    thread.join()
store.close()
