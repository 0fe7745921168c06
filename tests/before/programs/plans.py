"""genlayer-studio#1532 and langgraph#8115: workers read a JSON state from a row, add to it, and write the row back.

Argument: URL of a database for SQLAlchemy. Mended: a version column in the condition of the UPDATE.
"""

import json
import sys
import threading
import time

import sqlalchemy as sa

HOW = "plain"
(URL,) = sys.argv[1:]
engine = sa.create_engine(URL)
table = sa.Table(
    "plans", sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("state", sa.Text), sa.Column("version", sa.Integer),
)  # fmt: skip


def worker(name: str) -> None:
    """Add one item."""
    while True:
        with engine.begin() as connection:
            row = connection.execute(sa.select(table.c.state, table.c.version).where(table.c.id == 7)).one()
        state = json.dumps([*json.loads(row.state), name])
        change = sa.update(table).where(table.c.id == 7)
        if HOW == "mended":
            change = change.where(table.c.version == row.version).values(state=state, version=row.version + 1)
        else:
            change = change.values(state=state)
        with engine.begin() as connection:
            if connection.execute(change).rowcount:
                return


table.metadata.drop_all(engine)
table.metadata.create_all(engine)
with engine.begin() as setup:
    setup.execute(table.insert().values(id=7, state="[]", version=1))
threads = [threading.Thread(target=worker, args=(name,), name=name) for name in ("W1", "W2")]
for thread in threads:
    thread.start()
    time.sleep(0.03)
for thread in threads:
    thread.join()
