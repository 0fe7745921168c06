"""The demo's agents for `noclobber load`: the same code, many of them at once, on servers of their own.

The agents' programs know nothing of noclobber and take their words from a command line, so their functions are taken
out of the files that they stand in.
"""

import contextlib
import os
import runpy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from noclobber_sidecar.demo import servers
from noclobber_sidecar.demo.stage import AGENTS

__all__ = ["account", "account_safely", "langgraph", "queue", "queue_safely"]

THINKS_S: Final = 0.02
"""Longest pause of an agent; in a demo it thinks longer, so that people can follow."""
ACCOUNTS: Final = 4
JOBS: Final = 50
"""New jobs that are put into the queue whenever it is empty."""

Task = Callable[[int], None]


@contextlib.contextmanager
def account() -> Iterator[Task]:
    """Agents book on a few accounts in Redis: read, think, write."""
    with _booking("no") as task:
        yield task


@contextlib.contextmanager
def account_safely() -> Iterator[Task]:
    """The same, and the server adds."""
    with _booking("increment") as task:
        yield task


@contextlib.contextmanager
def _booking(how: str) -> Iterator[Task]:
    import redis

    program = _program("account.py")
    with _quiet(), _folder() as folder, servers.redis_compatible(folder) as url:
        store = redis.Redis.from_url(url)
        for number in range(ACCOUNTS):
            store.set(f"acct:{number}", 10_000_100)

        def task(number: int) -> None:
            program["WAYS"][how](store, f"acct:{number % ACCOUNTS}", -20 if number % 3 else 50, THINKS_S)

        yield task
        store.close()


@contextlib.contextmanager
def queue() -> Iterator[Task]:
    """Workers look for a new job in a table of PostgreSQL, think, and claim it."""
    with _working("no") as task:
        yield task


@contextlib.contextmanager
def queue_safely() -> Iterator[Task]:
    """The same with SKIP LOCKED."""
    with _working("skip-locked") as task:
        yield task


@contextlib.contextmanager
def _working(how: str) -> Iterator[Task]:
    from sqlalchemy import create_engine, insert

    program = _program("worker.py")
    jobs = program["JOBS"]
    with _folder() as folder, servers.postgres(folder) as url:
        engine = create_engine(url, pool_size=20, max_overflow=20)
        jobs.metadata.create_all(engine)

        def refill() -> None:
            with engine.begin() as connection:
                connection.execute(insert(jobs), [{"queue": "load", "status": "new"} for _ in range(JOBS)])

        def task(number: int) -> None:
            name = f"worker-{number}"
            job = program["CLAIMS"][how](engine, "load", name, THINKS_S)
            if job is None:
                refill()
            else:
                program["do"](engine, job, name, THINKS_S)

        refill()
        yield task
        engine.dispose()


@contextlib.contextmanager
def langgraph() -> Iterator[Task]:
    """Each agent runs a LangGraph graph whose parallel nodes book on one key of a store that all share."""
    program = _program("graph_store.py")
    graph = program["graph_over"](program["InMemoryStore"]())

    def task(number: int) -> None:
        graph.invoke({"account": f"acct:{number % ACCOUNTS}", "longest_s": THINKS_S, "locks": None})

    yield task


def _program(name: str) -> dict[str, Any]:
    return runpy.run_path(str(AGENTS / name))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Agents say what they do, which is too much to read here."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="noclobber-load-", ignore_cleanup_errors=True) as name:
        yield Path(name)
