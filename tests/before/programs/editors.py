"""claude-code#43138: agents rewrite a file from the copy that they read before they thought.

Argument: a file. Mended: under a lock file.
"""

import contextlib
import sys
import threading
import time
from pathlib import Path

import filelock

HOW = "plain"
PATH = Path(sys.argv[1])


def edit(line: str) -> None:
    """Read the file, add a line, write it whole."""
    with filelock.FileLock(f"{PATH}.lock", timeout=10) if HOW == "mended" else contextlib.nullcontext():
        text = PATH.read_text()
        PATH.write_text(text + line + "\n")


PATH.write_text("begin\n")
threads = [threading.Thread(target=edit, args=(name,), name=name) for name in ("agent-15", "agent-16")]
for thread in threads:
    thread.start()
    time.sleep(0.02)
for thread in threads:
    thread.join()
