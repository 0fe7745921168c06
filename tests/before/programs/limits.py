"""multica#2637: two claims count what runs, find none, and each starts another task: one more than the agent may have.

Argument: where a PostgreSQL is. Mended: whoever claims holds the agent's row from the count to the claim.
"""

import sys
import threading
import time

import psycopg

HOW = "plain"
(URL,) = sys.argv[1:]
MOST, RUNNING = 1, "it is running"


def claim(task: int) -> None:
    """Start a task, if the agent may have one more."""
    with psycopg.connect(URL) as connection:
        if HOW == "mended":
            connection.execute("SELECT name FROM agents WHERE id = 7 FOR UPDATE")
        tasks = connection.execute("SELECT id, state FROM tasks WHERE agent = 7").fetchall()
        if sum(state == RUNNING for _, state in tasks) < MOST:
            connection.execute("UPDATE tasks SET state = %s WHERE id = %s", (RUNNING, task))


with psycopg.connect(URL) as first:
    first.execute("DROP TABLE IF EXISTS tasks, agents")
    first.execute("CREATE TABLE agents (id int PRIMARY KEY, name text)")
    first.execute("CREATE TABLE tasks (id int PRIMARY KEY, agent int, state text)")
    first.execute("INSERT INTO agents (id, name) VALUES (7, 'planner')")
    for number in (1, 2):
        first.execute("INSERT INTO tasks (id, agent, state) VALUES (%s, 7, %s)", (number, "it waits for somebody"))
threads = [threading.Thread(target=claim, args=(number,), name=f"C{number}") for number in (1, 2)]
for thread in threads:
    thread.start()
    time.sleep(0.05)
for thread in threads:
    thread.join()
