"""Two agents, each a process, add a note to a page in a cache of HTTP responses; nothing here knows of noclobber.

Arguments: how (`plain`; `locked`: under a lock file), where the cache is (`sqlite` or `filesystem`), and the folder.
"""

import contextlib
import multiprocessing
import sys

import filelock
import requests
import requests_cache

HOW, WHERE, FOLDER = sys.argv[1:]
TIMEOUT_S = 20
KEY = "the page"


def page(text: str) -> requests.Response:
    """A response as a server would give it."""
    made = requests.Response()
    made.status_code, made._content, made.url = 200, text.encode(), "http://127.0.0.1/page"
    made.request = requests.Request("GET", made.url).prepare()
    made.raw = requests_cache.CachedHTTPResponse(body=text.encode())
    return made


def session() -> requests_cache.CachedSession:
    """A session on the shared cache."""
    return requests_cache.CachedSession(f"{FOLDER}/pages", backend=WHERE)


def act(note: str, read: object) -> None:
    """One agent; the unsafe one meets the other one between its read and its write."""
    with session() as mine, contextlib.ExitStack() as stack:
        if HOW == "locked":
            stack.enter_context(filelock.FileLock(f"{FOLDER}/page.lock", timeout=TIMEOUT_S))
        text = mine.cache.get_response(KEY).text
        if HOW == "plain":
            read.wait(TIMEOUT_S)
        mine.cache.save_response(page(f"{text}, {note}"), KEY)


if __name__ == "__main__":
    with session() as first:
        first.cache.save_response(page("notes of everybody"), KEY)
    read = multiprocessing.Barrier(2)
    agents = [multiprocessing.Process(target=act, args=(note, read)) for note in ("from the planner", "from the buyer")]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
    with session() as last:
        print(last.cache.get_response(KEY).text.count("from"))
