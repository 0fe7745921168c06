"""flask-session#71: two requests of one session read it, and each saves it whole at its end.

Argument: URL of a Redis. Mended: what requests add lies beside the session, in a list of the server's.
"""

import sys
import threading
import time

import redis
from flask import Flask, session
from flask_session import Session

HOW = "plain"
(URL,) = sys.argv[1:]
app = Flask("shop")
store = redis.Redis.from_url(URL)
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=store, SESSION_KEY_PREFIX="session:", SESSION_PERMANENT=False)
Session(app)


@app.post("/basket/<item>")
def add(item: str) -> str:
    """Put an item into the basket of whoever asks."""
    if HOW == "mended":
        store.rpush(f"basket:{session.sid}", item)
    else:
        session["basket"] = [*session.get("basket", []), item]
    return "added"


def request(cookie: str, item: str) -> None:
    """One request of the same browser."""
    client = app.test_client()
    client.set_cookie("session", cookie)
    assert client.post(f"/basket/{item}").status_code == 200


@app.post("/hello")
def hello() -> str:
    """A session begins."""
    session["name"] = "somebody from somewhere"
    return "hello"


browser = app.test_client()
browser.post("/hello")
mark = browser.get_cookie("session").value
threads = [threading.Thread(target=request, args=(mark, item), name=f"GET-{item}") for item in ("foo", "bar")]
for thread in threads:
    thread.start()
    time.sleep(0.03)
for thread in threads:
    thread.join()
store.close()
