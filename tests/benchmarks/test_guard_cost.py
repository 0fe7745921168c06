"""What a guard costs on Redis: CPU of a GET and a SET, guarded, beside a guard, and without one, in one process."""

import time
from pathlib import Path
from statistics import median

import pytest
import redis

import noclobber
from noclobber_sidecar.demo.servers import redis_compatible

pytestmark = pytest.mark.benchmark
PAIRS = 1000
ROUNDS = 5


def cost_us(client: redis.Redis, key: str) -> float:
    """CPU of one pair."""
    began = time.process_time()
    for _ in range(PAIRS):
        client.get(key)
        client.set(key, 5)
    return (time.process_time() - began) / PAIRS * 1e6


def test_guard_cost(tmp_path: Path) -> None:
    """A guarded pair makes three round trips more; a pair beside a guard is looked at, and nothing more."""
    beside, guarded = [], []
    with redis_compatible(tmp_path) as url, redis.Redis.from_url(url) as client:
        client.mset({"acct:1": 1, "other": 1})
        for _ in range(ROUNDS):
            plain = cost_us(client, "other")
            with noclobber.guarded("redis://*/acct:*"):
                beside.append(cost_us(client, "other") / plain)
                guarded.append(cost_us(client, "acct:1") / plain)
            print(f"plain {plain:.0f} us a pair; beside a guard x{beside[-1]:.2f}, guarded x{guarded[-1]:.2f}")
        assert client.get("acct:1") == b"5"
    assert median(beside) < 2.5
    assert median(guarded) < 8
