"""Two agents move one vector of a FAISS index; nothing here knows of noclobber.

Arguments: how (`plain` or `locked`), and a file to lock.
"""

import contextlib
import sys
import threading

import faiss
import numpy as np
from filelock import FileLock

HOW, WHERE = sys.argv[1:]
TIMEOUT_S = 20
ID = np.array([7], dtype="int64")
index = faiss.IndexIDMap2(faiss.IndexFlatL2(3))
index.add_with_ids(np.array([[1.5, 2.5, 3.5]], dtype="float32"), ID)
read, turns = threading.Barrier(2), threading.Lock()


def act(step: float) -> None:
    """One agent; the unsafe one meets the other one between reading and writing. The index is not thread-safe."""
    with FileLock(WHERE, timeout=TIMEOUT_S) if HOW == "locked" else contextlib.nullcontext():
        with turns:
            vector = index.reconstruct(7)
        if HOW == "plain":
            read.wait(TIMEOUT_S)
        with turns:
            index.remove_ids(ID)
            index.add_with_ids((vector + step)[None, :], ID)


agents = [threading.Thread(target=act, args=(step,)) for step in (0.5, -0.25)]
for agent in agents:
    agent.start()
for agent in agents:
    agent.join(TIMEOUT_S)
print(float(index.reconstruct(7)[0]))
