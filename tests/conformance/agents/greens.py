"""Two greenlets add to one balance in Redis; nothing here knows of noclobber.

Arguments: how (`plain`, `atomic`, `in turn`: one after the other), who starts them (`gevent`, or `threads` that gevent
has patched), and the server's URL.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import threading  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402
from gevent.lock import Semaphore  # noqa: E402

HOW, WHO, URL = sys.argv[1:]
TIMEOUT_S = 20
have_read: list[int] = []
gate = Semaphore(0)


def act(amount: int) -> None:
    """One agent, which goes on once both have read."""
    with redis.Redis.from_url(URL) as client:
        if HOW == "atomic":
            client.incrby("balance", amount)
            return
        balance = int(client.get("balance"))
        have_read.append(balance)
        if HOW == "plain":
            if len(have_read) < 2:
                gate.acquire(timeout=TIMEOUT_S)
            gate.release()
        client.set("balance", balance + amount)


redis.Redis.from_url(URL).set("balance", 10_000_100)
if WHO == "threads":
    threads = [threading.Thread(target=act, args=(amount,)) for amount in (50, -20)]
    for thread in threads:
        thread.start()
        if HOW == "in turn":
            thread.join(TIMEOUT_S)
    for thread in threads:
        thread.join(TIMEOUT_S)
elif HOW == "in turn":
    for amount in (50, -20):
        gevent.spawn(act, amount).join(TIMEOUT_S)
else:
    gevent.joinall([gevent.spawn(act, amount) for amount in (50, -20)], timeout=TIMEOUT_S, raise_error=True)
print(int(redis.Redis.from_url(URL).get("balance")) - 10_000_100)
