"""Clients that hang up while several of their requests are under way: nothing is written about them, nobody waits."""

import socket
import struct
from pathlib import Path

import pytest
from made import accesses
from processes import Receiver
from wire import post

SMALL = accesses(3).SerializeToString()
LARGE = accesses(1_500).SerializeToString()
TIMES = 60
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: the connection ends by a reset."""


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(post(LARGE) + post(SMALL) * 3, id="one that takes long, and more"),
        pytest.param(post(SMALL) * 4, id="several"),
        pytest.param(post(SMALL) * 2 + post(SMALL)[:-7], id="and a half"),
        pytest.param(post(LARGE) + b"no HTTP\r\n\r\n", id="and what is no HTTP"),
    ],
)
def test_who_hangs_up_in_the_middle(tmp_path: Path, sent: bytes) -> None:
    """By a reset or by an end; the receiver answers others as before."""
    with Receiver(tmp_path) as receiver:
        for number in range(TIMES):
            with socket.create_connection(("127.0.0.1", receiver.http_port)) as raw:
                if number % 2:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                raw.sendall(sent)
        assert receiver.send(SMALL).status == 200
        assert "Traceback" not in receiver.output, receiver.output
        assert receiver.metrics()["failed_total"] == 0
