"""A program: connections that hold on to a port, and how long each slow one lived; JSON at its end.

    python crowd.py PORT IDLE HEADS BODIES SECONDS

Idle ones send nothing, the others begin a request and then send a byte each half second. It prints a line once all are
open, and another when all have ended or its time is over: how long each slow one lived, and how many are left.
"""

import contextlib
import json
import selectors
import socket
import sys
import time

BODY = "content-type: application/x-protobuf\r\ncontent-length: 900000\r\n\r\n"
HALF_HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-slow: "
HALF_BODY = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\n{BODY}".encode()


class Crowd:
    """The connections.

    Attributes:
        lived_s: of each slow one that was closed.
    """

    def __init__(self, port: int, firsts: list[bytes]) -> None:
        self.lived_s: list[float] = []
        self._port, self._firsts = port, firsts
        self.open: dict[socket.socket, tuple[float, bool]] = {}
        self._selector = selectors.DefaultSelector()
        self._fed_at = time.monotonic()

    def join(self) -> None:
        """Open all."""
        for first in self._firsts:
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
                connection.sendall(first)
                connection.setblocking(False)
                self.open[connection] = (time.monotonic(), bool(first))
                self._selector.register(connection, selectors.EVENT_READ)
            self.turn(0)

    def turn(self, timeout_s: float) -> None:
        """Notice what was closed, and feed the slow ones."""
        for key, _ in self._selector.select(timeout_s):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                ended = not connection.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                self._selector.unregister(connection)
                begun, slow = self.open.pop(connection)
                connection.close()
                if slow:
                    self.lived_s.append(time.monotonic() - begun)
        if time.monotonic() - self._fed_at > 0.5:
            self._fed_at = time.monotonic()
            for connection, (_, slow) in self.open.items():
                if slow:
                    with contextlib.suppress(OSError):
                        connection.send(b"x")


def main() -> None:
    """Join, say so, hold on."""
    port, idle, heads, bodies, seconds = map(int, sys.argv[1:])
    crowd = Crowd(port, [b""] * idle + [HALF_HEAD] * heads + [HALF_BODY] * bodies)
    crowd.join()
    print("open", flush=True)
    deadline = time.monotonic() + seconds
    while crowd.open and time.monotonic() < deadline:
        crowd.turn(0.1)
    print(json.dumps({"lived_s": crowd.lived_s, "left": len(crowd.open)}), flush=True)


if __name__ == "__main__":
    main()
