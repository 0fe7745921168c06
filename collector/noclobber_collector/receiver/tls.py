"""TLS for both protocols, from files that may be replaced while the receiver runs.

A new certificate (as certbot or cert-manager put it there) is used from the next connection on, at most a second
later; files that can't be used are told of once, and the old ones stay. With a client CA only clients with a
certificate of it are let in (mTLS): they are refused in the handshake, before any request.
"""

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from noclobber.cli import CommandError

__all__ = ["ServerTls", "TlsFiles"]

log = logging.getLogger("noclobber.receiver")
LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's certificate with its chain, its key, and the CA of clients (None: any client)."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class ServerTls:
    """What the files say now.

    Args:
        files: PEM files.
        clock: seconds, ascending.

    Raises:
        CommandError: they can't be used.
    """

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._clock = files, clock
        self._context: ssl.SSLContext | None = None
        self._pems: tuple[bytes, bytes, bytes | None] = (b"", b"", None)
        self._seen: tuple[tuple[int, int], ...] = ()
        self._looked_at = clock()
        try:
            self._seen = self._stamp()
            self._context = self._load()
        except (OSError, ValueError) as error:
            raise CommandError(f"the certificate {files.cert} with its key can't be used: {error}") from error

    def context(self) -> ssl.SSLContext:
        """For a connection that begins now."""
        self._look()
        assert self._context is not None
        return self._context

    def grpc_credentials(self) -> Any:
        """The same for gRPC, which asks again for each connection."""
        return grpc.dynamic_ssl_server_credentials(
            self._grpc_configuration(), self._grpc_configuration, self._files.client_ca is not None
        )

    def _grpc_configuration(self) -> Any:
        self._look()
        key, cert, ca = self._pems
        return grpc.ssl_server_certificate_configuration([(key, cert)], ca)

    def _look(self) -> None:
        if self._clock() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = self._clock()
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                self._context = self._load()
                log.info("the certificate %s was replaced", self._files.cert)
        except (OSError, ValueError) as error:
            log.error("the new certificate %s can't be used, the old one stays: %s", self._files.cert, error)  # noqa: TRY400

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        paths = [self._files.cert, self._files.key, *([self._files.client_ca] if self._files.client_ca else [])]
        return tuple((found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in paths))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._files.cert, self._files.key)
        if self._files.client_ca is not None:
            context.load_verify_locations(self._files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        ca = self._files.client_ca.read_bytes() if self._files.client_ca is not None else None
        self._pems = (self._files.key.read_bytes(), self._files.cert.read_bytes(), ca)
        return context
