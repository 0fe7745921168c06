"""Two agents that add to one balance; nothing here knows of noclobber.

Arguments: who keeps it (`kazoo` or `etcd3gw`), how (`plain`, `safe` or `locked`), the server's host and port.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

KIND, HOW, HOST, PORT = sys.argv[1:]
TIMEOUT_S = 20


def with_kazoo() -> tuple[Callable[[], tuple[bytes, object]], Callable[[bytes, object], bool], AbstractContextManager]:
    """How the balance is read, how it is written (or refused), and what it may be locked by."""
    from kazoo.client import KazooClient
    from kazoo.exceptions import BadVersionError

    client = KazooClient(f"{HOST}:{PORT}")
    client.start(TIMEOUT_S)
    if not client.exists("/balance"):
        client.create("/balance", b"10000100")

    def read() -> tuple[bytes, object]:
        value, stat = client.get("/balance")
        return value, stat.version

    def write(value: bytes, version: object) -> bool:
        try:
            client.set("/balance", value, version if HOW == "safe" else -1)
        except BadVersionError:
            return False
        return True

    return read, write, client.Lock("/balance-lock")


def with_etcd() -> tuple[Callable[[], tuple[bytes, object]], Callable[[bytes, object], bool], AbstractContextManager]:
    """The same with etcd, whose transaction compares."""
    import base64

    from etcd3gw.client import Etcd3Client

    client = Etcd3Client(HOST, int(PORT))
    client.create("balance", b"10000100")
    key = base64.b64encode(b"balance").decode()

    def read() -> tuple[bytes, object]:
        ((value, told),) = client.get("balance", metadata=True)
        return value, told["mod_revision"]

    def write(value: bytes, version: object) -> bool:
        if HOW != "safe":
            return client.put("balance", value)
        done = client.transaction(
            {
                "compare": [{"key": key, "result": "EQUAL", "target": "MOD", "mod_revision": version}],
                "success": [{"request_put": {"key": key, "value": base64.b64encode(value).decode()}}],
                "failure": [],
            }
        )
        return bool(done.get("succeeded"))

    return read, write, nullcontext()


def add(amount: int, barrier: threading.Barrier) -> None:
    """One agent, in a thread; it meets the other one between its first read and its first write."""
    with lock if HOW == "locked" else nullcontext():
        met = HOW == "locked"
        while True:
            value, version = read()
            if not met:
                barrier.wait(TIMEOUT_S)
                met = True
            if write(str(int(value) + amount).encode(), version):
                return


read, write, lock = with_kazoo() if KIND == "kazoo" else with_etcd()
gate = threading.Barrier(2)
threads = [threading.Thread(target=add, args=(amount, gate)) for amount in (50, -20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(TIMEOUT_S)
print(read()[0].decode())
