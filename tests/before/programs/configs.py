"""claude-code#28922: two sessions read their common configuration, change a key each, and write the file anew.

Argument: path of a JSON file. Mended: from the reading to the renaming under a lock.
"""

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

import filelock

HOW = "plain"
PATH = Path(sys.argv[1])


def set_key(key: str, value: int) -> None:
    """Change one key."""
    with filelock.FileLock(f"{PATH}.lock", timeout=10) if HOW == "mended" else contextlib.nullcontext():
        configuration = json.loads(PATH.read_text())
        configuration[key] = value
        with PATH.open("w") as file:  # which empties it
            json.dump(configuration, file)


PATH.write_text(json.dumps({"user": "somebody from somewhere"}))
threads = [threading.Thread(target=set_key, args=(key, 1), name=f"session-{key}") for key in ("startups", "tips")]
for thread in threads:
    thread.start()
    time.sleep(0.02)
for thread in threads:
    thread.join()
