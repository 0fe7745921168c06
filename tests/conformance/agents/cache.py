"""Two agents add to one balance that memcached keeps; nothing here knows of noclobber.

Arguments: how (`plain`, `unanswered`: with the library's default of not waiting for answers, or `safe`), and the port.
"""

import sys
import threading
from collections.abc import Callable

from pymemcache.client.base import Client, PooledClient
from pymemcache.serde import pickle_serde

HOW, PORT = sys.argv[1], int(sys.argv[2])
TIMEOUT_S = 20


def plainly(client: Client, amount: int, wait: Callable[[], object]) -> None:
    """Read, think, write."""
    account = client.get("acct:1")
    wait()
    client.set("acct:1", {**account, "balance": account["balance"] + amount})
    client.get("greeting")  # an agent goes on, and so does its connection


def safely(client: Client, amount: int, wait: Callable[[], object]) -> None:
    """The same, but the write insists on what was read."""
    while True:
        account, token = client.gets("acct:1")
        wait()
        if client.cas("acct:1", {**account, "balance": account["balance"] + amount}, token):
            return


def act(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread; it meets the other one between its first read and its first write."""
    met: list[int] = []

    def wait() -> None:
        if not met:
            met.append(read.wait(TIMEOUT_S))

    make = Client if HOW == "safe" else PooledClient
    client = make(("127.0.0.1", PORT), serde=pickle_serde, default_noreply=HOW == "unanswered", timeout=TIMEOUT_S)
    (safely if HOW == "safe" else plainly)(client, amount, wait)
    client.close()


with_answers = Client(("127.0.0.1", PORT), serde=pickle_serde, default_noreply=False)
with_answers.set("acct:1", {"balance": 100, "owner": "ann"})
with_answers.set("greeting", "hello to everybody")
barrier = threading.Barrier(2)
threads = [threading.Thread(target=act, args=(amount, barrier)) for amount in (50, -20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(TIMEOUT_S)
print(with_answers.get("acct:1")["balance"])
