"""librefang#5961: two schedulers select a pending task and mark it as theirs, both of them the same one.

Argument: path of a SQLite database. Mended: chosen and claimed inside one write transaction.
"""

import sqlite3
import sys
import threading
import time

HOW = "plain"
(PATH,) = sys.argv[1:]


def connected() -> sqlite3.Connection:
    """A connection that is in no transaction unless it says so."""
    connection = sqlite3.connect(PATH, timeout=10, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")  # a slow disk would stretch a write into the other's look
    return connection


def scheduler(name: str) -> None:
    """Take one task."""
    connection = connected()
    if HOW == "mended":
        connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute("SELECT id FROM tasks WHERE state = 'pending' ORDER BY id").fetchall()
    if rows:
        connection.execute("UPDATE tasks SET state = ? WHERE id = ?", (f"claimed by {name}", rows[0][0]))
    if HOW == "mended":
        connection.execute("COMMIT")
    connection.close()


first = connected()
first.execute("DROP TABLE IF EXISTS tasks")
first.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, state TEXT)")
first.executemany("INSERT INTO tasks VALUES (?, 'pending')", [(1,), (2,)])
first.close()
threads = [threading.Thread(target=scheduler, args=(name,), name=name) for name in ("S1", "S2")]
for thread in threads:
    thread.start()
    time.sleep(0.03)
for thread in threads:
    thread.join()
