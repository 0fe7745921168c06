"""HTTP by hand: many requests on one connection, and bytes that are no HTTP."""

import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class Reply(NamedTuple):
    """An HTTP answer as it came."""

    status: int
    kind: str
    body: bytes


def post(body: bytes, kind: str = PROTOBUF, path: str = "/v1/traces", *more: str) -> bytes:
    """A whole request."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-type: {kind}", f"content-length: {len(body)}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def talk(port: int, data: bytes, timeout_s: float = 30.0, *, half_close: bool = True) -> bytes:
    """Send bytes on a connection of their own and take whatever comes until its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        found = b""
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(1 << 16):
                found += part
        except OSError:  # it was closed meanwhile
            pass
        return found


class Pipe:
    """A connection that sends requests in groups and reads their answers in order."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))
        self._left = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, requests: Sequence[bytes]) -> list[Reply]:
        """Send some requests at once."""
        self._socket.sendall(b"".join(requests))
        return [self._read() for _ in requests]

    def _read(self) -> Reply:
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers["content-length"])
        while len(self._left) < length:
            self._more()
        body, self._left = self._left[:length], self._left[length:]
        return Reply(int(lines[0].split(" ")[1]), headers["content-type"], body)

    def _more(self) -> None:
        part = self._socket.recv(1 << 16)
        if not part:
            raise ConnectionError("closed")
        self._left += part


def statuses(answers: bytes) -> list[int]:
    """The status of each answer in what `talk` took."""
    return [int(line.split(b" ")[1]) for line in _lines(answers) if line.startswith(b"HTTP/1.1 ")]


def _lines(data: bytes) -> Iterable[bytes]:
    return data.replace(b"HTTP/1.1 ", b"\r\nHTTP/1.1 ").split(b"\r\n")


def field(number: int, data: bytes) -> bytes:
    """A field of protobuf that holds bytes."""
    size, head = len(data), bytearray([number << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(head) + bytes([size]) + data
