"""celery#3270: a task takes longer than the broker waits for its acknowledgement, so another worker gets it, too.

Argument: URL of a Redis, broker and store. Mended: what a task has done is told once for each task.
"""

import sys
import time

import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker

HOW = "plain"
(URL,) = sys.argv[1:]
VISIBLE_S, TIMEOUT_S = 0.02, 20
app = Celery("jobs", broker=URL, broker_connection_retry_on_startup=True)
app.conf.update(
    task_acks_late=True,
    broker_transport_options={"visibility_timeout": VISIBLE_S, "polling_interval": 0.02},
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
)
store = redis.Redis.from_url(URL)


@app.task(name="jobs.count", bind=True)
def count(self, amount: int) -> None:
    """Count an order."""
    if HOW == "plain" or store.set(f"counted:{self.request.id}", "this order was counted", nx=True):
        store.incrby("orders", amount)


store.flushdb()
with start_worker(app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="CRITICAL"):
    count.delay(50)
    deadline = time.monotonic() + TIMEOUT_S
    with app.connection() as connection:
        queue = connection.default_channel
        time.sleep(0.03)  # luck: the task is done by now
        queue.qos.restore_visible(interval=1)  # what any worker does now and then
        while queue.client.zcard("unacked_index") or queue.client.llen("celery"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
store.close()
