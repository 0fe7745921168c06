"""pydantic-ai#4322's shape, and flask-session#71's: tools read a counter of a session, think, and write it back whole.

Argument: URL of a Redis. Mended: WATCH and MULTI.
"""

import json
import sys
import threading
import time

import redis

HOW = "plain"
(URL,) = sys.argv[1:]
KEY = "session:8c1"


def tool(name: str) -> None:
    """One tool call."""
    client = redis.Redis.from_url(URL)
    while HOW == "mended":
        with client.pipeline() as pipe:
            pipe.watch(KEY)
            session = json.loads(pipe.get(KEY) or "{}")
            session[name] = len(session) + 1
            pipe.multi()
            pipe.set(KEY, json.dumps(session))
            try:
                pipe.execute()
            except redis.WatchError:
                continue
            return
    session = json.loads(client.get(KEY) or "{}")
    session[name] = len(session) + 1
    client.set(KEY, json.dumps(session))


redis.Redis.from_url(URL).set(KEY, "{}")
threads = [threading.Thread(target=tool, args=(name,), name=f"tool-{name}") for name in ("search", "basket")]
for thread in threads:
    thread.start()
    time.sleep(0.02)  # luck: the one is done before the other begins
for thread in threads:
    thread.join()
