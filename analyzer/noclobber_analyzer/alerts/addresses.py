"""Which addresses a webhook may reach: public ones, and the networks that a route's owner allows.

A URL that somebody typed must not make the sidecar talk to the machine's own services, to the cloud's metadata
address or to the inner network. A name is resolved once, **every** address that it has is checked, and the
connection goes to an address that was checked, so a name that changes its answer in between gains nothing. Addresses
that carry another one inside (IPv4-mapped, NAT64, 6to4, Teredo, ISATAP) are judged by what they carry as well, since
Python's `is_global` calls some of them public. There are no proxies and no unix sockets here.

Source: OWASP, Server-Side Request Forgery Prevention; design alerts-and-safety.md 6.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Sequence

import httpcore

from noclobber_analyzer.alerts.routes import Network

__all__ = [
    "Address",
    "BlockedAddressError",
    "Deadline",
    "GuardedBackend",
    "checked_addresses",
    "is_allowed",
    "resolve",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Seconds = Callable[[], float]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER_PUBLIC = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("fec0::/10"),
    ipaddress.ip_network("3fff::/20"),
    ipaddress.ip_network("::/96"),
)


class BlockedAddressError(httpcore.ConnectError):
    """The endpoint's name leads to an address that webhooks may not reach."""


class Deadline:
    """When an attempt has to be over, whatever its peer does: each wait gets what is left.

    Args:
        seconds: from now.
        monotonic: a clock of seconds that never goes back.
    """

    def __init__(self, seconds: float, monotonic: Seconds) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    def left(self, timeout: float | None = None) -> float:
        """Seconds left, at most `timeout`.

        Raises:
            httpcore.ReadTimeout: none are.
        """
        left = self._end - self._monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the attempt took too long")
        return left if timeout is None else min(left, timeout)


def is_allowed(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Whether a webhook may connect to an address: it is public in every reading of it, or allowed by name."""
    plain = _mapped(address)
    if any(one.version == network.version and one in network for one in {address, plain} for network in allow):
        return True
    return all(_is_public(reading) for reading in _readings(plain))


def _mapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _readings(address: Address) -> list[Address]:
    """An address and the IPv4 addresses that it leads to; one of NAT64 is nothing but the one inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    sixtofour = [] if address.sixtofour is None else [address.sixtofour]
    isatap = [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)] if _is_isatap(address) else []
    return [address, *sixtofour, *(address.teredo or ()), *isatap]


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """Whether its lower half is an IPv4 address of RFC 5214."""
    return (int(address) >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE)


def _is_public(address: Address) -> bool:
    return (
        address.is_global and not address.is_multicast and not address.is_reserved and not _in(address, _NEVER_PUBLIC)
    )


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def resolve(host: str, port: int, timeout_s: float) -> list[Address]:
    """All addresses of a name, in the resolver's order.

    The resolver has no timeout of its own, so it runs in a thread that is left behind when time is up.

    Raises:
        httpcore.ConnectTimeout: no answer in time.
        httpcore.ConnectError: there is no such name.
    """
    found: list[str] = []
    failure: list[Exception] = []

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(str(info[4][0]).partition("%")[0] for info in infos)
        except (OSError, UnicodeError) as error:
            failure.append(error)

    thread = threading.Thread(target=look_up, name="noclobber-resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time")
    if not found:
        raise httpcore.ConnectError(f"the name {host} has no address: {failure[0] if failure else 'none given'}")
    return [ipaddress.ip_address(text) for text in dict.fromkeys(found)]


def checked_addresses(host: str, port: int, allow: Sequence[Network], timeout_s: float) -> list[Address]:
    """All addresses of a name, where every one of them is allowed.

    Raises:
        BlockedAddressError: one is not; none is to be tried then.
        httpcore.ConnectTimeout: no answer in time.
        httpcore.ConnectError: there is no such name.
    """
    addresses = resolve(host, port, timeout_s)
    for address in addresses:
        if not is_allowed(address, allow):
            raise BlockedAddressError(f"{host} leads to {address}, which alerts may not reach unless it is allowed")
    return addresses


class GuardedBackend(httpcore.NetworkBackend):
    """httpcore's network, which connects to checked addresses only and ends at a deadline.

    Args:
        allow: networks that are allowed although not public.
        deadline: of the attempt that this backend serves.
    """

    def __init__(self, allow: Sequence[Network], deadline: Deadline) -> None:
        self._allow = allow
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        """A connection to the first checked address that answers.

        Raises:
            BlockedAddressError: one address of the name is not allowed; none is tried then.
        """
        addresses = checked_addresses(host, port, self._allow, self._deadline.left(timeout))
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                left = self._deadline.left(timeout)
                stream = self._network.connect_tcp(str(address), port, left, local_address, socket_options)
                return _TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every wait ends at the attempt's deadline, so that a peer that drips bytes gains no time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)  # type: ignore[arg-type]  # httpcore wants an SSLContext and gives us one

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
