"""Users of Locust that book on accounts in Redis: the plain ones read, think and write, the safe ones let Redis add."""

import os

import gevent
import redis
from locust import constant, task

from noclobber_analyzer.load.locust import AgentUser

STORE = redis.Redis.from_url(os.environ["REDIS_URL"])
SAFE = os.environ.get("HOW") == "safe"


class Booker(AgentUser):
    wait_time = constant(0.01)

    @task(3)
    def book(self) -> None:
        if SAFE:
            STORE.incrby("acct:42", 50)
            return
        balance = int(STORE.get("acct:42"))
        gevent.sleep(0.02)
        STORE.set("acct:42", balance + 50)

    @task
    def look(self) -> None:
        STORE.get("acct:42")
