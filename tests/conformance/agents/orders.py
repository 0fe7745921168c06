"""Two workers of one Pub/Sub subscription count one order in a SQLite file; nothing here knows of noclobber.

Arguments: `pull` or `stream`; how (`plain`: the first one gives the order back after it has counted it, or `safe`: it
acknowledges it); the file. The service's address is in PUBSUB_EMULATOR_HOST.
"""

import sqlite3
import sys
import threading
from typing import Any

from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

KIND, HOW, FILE = sys.argv[1:]
TIMEOUT_S = 20
TOPIC, SUBSCRIPTION = "projects/bank/topics/orders", "projects/bank/subscriptions/counting"
turn = threading.Lock()
times: list[int] = []
settled = threading.Event()


def count() -> bool:
    """Count an order; whether it was the last time that it comes."""
    with sqlite3.connect(FILE, timeout=TIMEOUT_S) as database:
        database.execute("UPDATE totals SET orders = orders + 1 WHERE id = 1")
    database.close()
    times.append(1)
    return HOW == "safe" or len(times) == 2


def handle(message: Any) -> None:
    """One order, by a callback."""
    if count():
        message.ack()
        settled.set()
    else:
        message.nack()


def streaming() -> None:
    """Callbacks, in threads of the library's."""
    with SubscriberClient() as client:
        pulling = client.subscribe(SUBSCRIPTION, handle)
        assert settled.wait(TIMEOUT_S)
        pulling.cancel()
        pulling.result(TIMEOUT_S)


def pulling() -> None:
    """One worker that asks, in a thread."""
    with turn, SubscriberClient() as client:
        for each in client.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages:
            words = {"subscription": SUBSCRIPTION, "ack_ids": [each.ack_id]}
            if count():
                client.acknowledge(**words)
            else:
                client.modify_ack_deadline(**words, ack_deadline_seconds=0)


with sqlite3.connect(FILE) as stage:
    stage.execute("CREATE TABLE totals (id INTEGER PRIMARY KEY, orders INTEGER)")
    stage.execute("INSERT INTO totals VALUES (1, 1000000000)")
stage.close()
publisher = PublisherClient()
publisher.publish(TOPIC, b"an order").result(TIMEOUT_S)
publisher.stop()
publisher.transport.close()
if KIND == "stream":
    streaming()
else:
    workers = [threading.Thread(target=pulling) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT_S)
print(len(times))
