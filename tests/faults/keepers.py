"""Two agents race on notes that hold secrets; nothing here knows of noclobber. Words: the folder, the file of notes."""

import json
import sys
import threading
from pathlib import Path

import diskcache

WHERE, NOTES = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
TIMEOUT_S = 60
met = threading.Barrier(2)


def keep(mark: str) -> None:
    """Read each note, meet the other agent, write it back: one of the two is lost."""
    with diskcache.Cache(WHERE) as cache:
        for number, secret in enumerate(NOTES):
            note = cache[f"note:{number}"]
            met.wait(TIMEOUT_S)
            cache[f"note:{number}"] = {**note, "secret": secret, mark: secret}
            met.wait(TIMEOUT_S)


if __name__ == "__main__":
    with diskcache.Cache(WHERE) as cache:
        for number, secret in enumerate(NOTES):
            cache[f"note:{number}"] = {"secret": secret}
    agents = [threading.Thread(target=keep, args=(mark,), name=mark) for mark in ("left", "right")]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
    print(len(NOTES))
