"""Tasks of a Celery worker that share a balance; nothing here knows of noclobber.

Arguments: the story (`balance`: two tasks at once; `again`: one that is delivered twice), how (`plain` or `safe`), the
pool, and the store's URL, which is broker and result backend, too.
"""

import sys
import threading
import time

import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker

STORY, HOW, POOL, URL = sys.argv[1:]
TIMEOUT_S = 40
app = Celery("jobs", broker=URL, backend=URL, broker_connection_retry_on_startup=True)
app.conf.update(
    task_acks_late=STORY == "again",
    broker_transport_options={"visibility_timeout": 1, "polling_interval": 0.1} if STORY == "again" else {},
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
)
store = redis.Redis.from_url(URL)
both = threading.Barrier(2)
again = threading.Event()


@app.task(name="jobs.add")
def add(amount: int) -> int:
    """Add to the balance, which the other task does at the same time."""
    if HOW == "safe":
        both.wait(TIMEOUT_S)
        return store.incrby("balance", amount)
    balance = int(store.get("balance"))
    both.wait(TIMEOUT_S)
    store.set("balance", balance + amount)
    return balance + amount


@app.task(name="jobs.count", bind=True)
def count(self, amount: int) -> None:
    """Count an order; its first run takes longer than the broker waits."""
    if self.request.delivery_info["redelivered"]:
        again.set()
    assert again.wait(TIMEOUT_S)
    if HOW == "plain" or store.set(f"counted:{self.request.id}", "this order was counted", nx=True):
        store.incrby("balance", amount)


store.flushall()
store.set("balance", 10000100)
with start_worker(app, pool=POOL, concurrency=2, perform_ping_check=False, loglevel="CRITICAL"):
    if STORY == "balance":
        for result in [add.delay(amount) for amount in (50, -20)]:
            result.get(timeout=TIMEOUT_S)
    else:
        order = count.delay(50)
        deadline = time.monotonic() + TIMEOUT_S
        with app.connection() as connection:  # what any worker does now and then: hand out again what waits too long
            while not again.wait(0.1):
                assert time.monotonic() < deadline
                connection.default_channel.qos.restore_visible(interval=1)
        order.get(timeout=TIMEOUT_S)
print(int(store.get("balance")))
store.close()
