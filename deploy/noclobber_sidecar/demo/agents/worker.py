"""A worker over SQLAlchemy: looks for a new job, thinks about it, claims it, does it.

Two workers that look at the same moment see the same job and both do it. `--safely skip-locked` looks and claims in
one statement (`FOR UPDATE SKIP LOCKED`), so that each job is seen by one worker only.
"""

import argparse
import random
import time

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, select, update

JOBS = Table(
    "jobs",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("queue", String(40)),
    Column("status", String(40)),
    Column("worker", String(40)),
)


def think(longest_s: float) -> None:
    """Stands for a language model's call: is this job one for me?"""
    time.sleep(random.uniform(0.0, longest_s))


def look_then_claim(engine: Engine, queue: str, worker: str, longest_s: float) -> int | None:
    """Claim the job that was seen as new a moment ago."""
    with engine.begin() as connection:
        new = select(JOBS.c.id).where(JOBS.c.queue == queue, JOBS.c.status == "new").order_by(JOBS.c.id).limit(1)
        job: int | None = connection.execute(new).scalar()
        if job is None:
            return None
        think(longest_s)
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(status="running", worker=worker))
    return job


def claim_at_once(engine: Engine, queue: str, worker: str, longest_s: float) -> int | None:
    """Claim a job that nobody else is looking at."""
    new = select(JOBS.c.id).where(JOBS.c.queue == queue, JOBS.c.status == "new").order_by(JOBS.c.id).limit(1)
    free = new.with_for_update(skip_locked=True).scalar_subquery()
    claim = update(JOBS).where(JOBS.c.id == free).values(status="running", worker=worker).returning(JOBS.c.id)
    with engine.begin() as connection:
        job: int | None = connection.execute(claim).scalar()
    think(longest_s)
    return job


def do(engine: Engine, job: int, worker: str, longest_s: float) -> None:
    """Work on the job, then say that it is done."""
    think(longest_s)
    with engine.begin() as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(status="done", worker=worker))


CLAIMS = {"no": look_then_claim, "skip-locked": claim_at_once}


def main() -> None:
    """Do one job, if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="SQLAlchemy URL")
    parser.add_argument("--queue", required=True)
    parser.add_argument("--name", required=True, help="this worker's name")
    parser.add_argument("--safely", choices=sorted(CLAIMS), default="no")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    engine = create_engine(words.database)
    with engine.connect():
        pass
    time.sleep(max(0.0, words.begin_at - time.time()) + random.uniform(0.0, words.longest_s))
    job = CLAIMS[words.safely](engine, words.queue, words.name, words.longest_s)
    if job is None:
        print("no job for me")
    else:
        do(engine, job, words.name, words.longest_s)
        print(f"did job {job}")
    engine.dispose()


if __name__ == "__main__":
    main()
