"""Which addresses the sidecar listens on, bound before anything else starts.

The supervisor binds each socket once and hands it to the child that serves it. A child that is started again gets
the same socket, so a client that connects meanwhile waits a moment instead of being refused, and no other program
can take the port in between.
"""

import errno
import socket
import time

from noclobber.cli import CommandError

__all__ = ["bind", "free_port", "in_url"]

BACKLOG = 1024
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def bind(host: str, port: int, purpose: str, wait_s: float = 0.0) -> socket.socket:
    """A listening TCP socket that children inherit.

    Args:
        host: address to listen on.
        port: port; 0 takes any free one.
        purpose: what it serves, for the message when it is taken.
        wait_s: how long to wait where it is taken, by a process that is ending.

    Raises:
        CommandError: the address is taken or can't be used; says which option changes it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(listener, (host, port), time.monotonic() + wait_s)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        option = f"--{purpose.replace(' ', '-')}-port"
        reason = getattr(error, "strerror", None) or error
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        advice = f"Something else uses it: choose another with {option}." if taken else f"Check --host and {option}."
        raise CommandError(f"can't listen on {host}:{port} for {purpose}: {reason}. {advice}") from error
    listener.set_inheritable(True)
    return listener


def _bind(listener: socket.socket, address: tuple[str, int], deadline: float) -> None:
    while True:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
        else:
            return


def in_url(host: str) -> str:
    """An address as it stands in a URL; what listens everywhere is reached on this machine's own."""
    host = WILDCARDS.get(host, host)
    return f"[{host}]" if ":" in host else host


def free_port(host: str, preferred: int) -> int:
    """`preferred` where nobody listens on it, else any free port."""
    for candidate in (preferred, 0):
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, candidate))
        except OSError:
            continue
        else:
            return int(probe.getsockname()[1])
        finally:
            probe.close()
    raise CommandError(f"there is no free port on {host}")
