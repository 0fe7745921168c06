"""A bank agent over Redis: reads the balance with one tool, thinks, writes it back with another.

Run two of them at once and one's work may be gone, with no error anywhere. `--safely increment` lets the server add
(INCRBY); `--safely watch` writes only if nobody else has written since (WATCH, MULTI, EXEC).
"""

import argparse
import random
import time

import redis


def read_balance(store: redis.Redis, account: str) -> int:
    """Tool: what is on the account."""
    return int(store.get(account) or 0)


def write_balance(store: redis.Redis, account: str, balance: int) -> None:
    """Tool: set what is on the account."""
    store.set(account, balance)


def ask_model(question: str, longest_s: float) -> str:
    """Stands for a language model: answers after a random pause."""
    time.sleep(random.uniform(0.0, longest_s))
    return f"yes: {question}"


def plainly(store: redis.Redis, account: str, amount: int, longest_s: float) -> None:
    """Read, think, write: loses an update whenever somebody writes while this thinks."""
    balance = read_balance(store, account)
    ask_model(f"may {amount:+d} be booked on {balance}?", longest_s)
    write_balance(store, account, balance + amount)
    print(f"read {balance}, wrote {balance + amount}")


def with_increment(store: redis.Redis, account: str, amount: int, longest_s: float) -> None:
    """Read, think, let the server add."""
    balance = read_balance(store, account)
    ask_model(f"may {amount:+d} be booked on {balance}?", longest_s)
    print(f"read {balance}, the server made it {store.incrby(account, amount)}")


def with_watch(store: redis.Redis, account: str, amount: int, longest_s: float) -> None:
    """Read, think, write unless somebody else has written; then once more."""
    with store.pipeline() as pipe:
        while True:
            pipe.watch(account)  # type: ignore[no-untyped-call]  # redis-py has no types here
            balance = int(pipe.get(account) or 0)
            ask_model(f"may {amount:+d} be booked on {balance}?", longest_s)
            pipe.multi()
            pipe.set(account, balance + amount)
            try:
                pipe.execute()
            except redis.WatchError:
                print(f"read {balance}, but somebody was faster: once more")
            else:
                print(f"read {balance}, wrote {balance + amount}")
                return


WAYS = {"no": plainly, "increment": with_increment, "watch": with_watch}


def main() -> None:
    """Book one amount."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True, help="URL of the server")
    parser.add_argument("--account", required=True)
    parser.add_argument("--amount", type=int, required=True)
    parser.add_argument("--safely", choices=sorted(WAYS), default="no")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    store = redis.Redis.from_url(words.redis)
    store.ping()
    time.sleep(max(0.0, words.begin_at - time.time()) + random.uniform(0.0, words.longest_s))
    WAYS[words.safely](store, words.account, words.amount, words.longest_s)


if __name__ == "__main__":
    main()
