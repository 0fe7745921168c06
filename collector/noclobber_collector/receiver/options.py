"""The receiver's settings as a person types them, and as a supervisor hands them on to the receiver's process.

Secrets go through the environment: anybody on the host may read a list of processes.
"""

import argparse
import os
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from noclobber.cli import CommandError
from noclobber_collector.receiver.forward import ForwardSettings
from noclobber_collector.receiver.outlets import Endpoint, outlet
from noclobber_collector.receiver.tls import ServerTls, TlsFiles

__all__ = ["add_options", "check", "environment", "forward_of", "tls_of", "words_for_process"]

HEADERS: Final = "NOCLOBBER_FORWARD_HEADERS"
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104  compared, not bound
_VARIABLES: Final = {
    "tls_cert": "NOCLOBBER_TLS_CERT",
    "tls_key": "NOCLOBBER_TLS_KEY",
    "tls_client_ca": "NOCLOBBER_TLS_CLIENT_CA",
    "forward": "NOCLOBBER_FORWARD",
    "forward_ca": "NOCLOBBER_FORWARD_CA",
    "forward_cert": "NOCLOBBER_FORWARD_CERT",
    "forward_key": "NOCLOBBER_FORWARD_KEY",
    "forward_compression": "NOCLOBBER_FORWARD_COMPRESSION",
    "forward_bytes_max": "NOCLOBBER_FORWARD_BYTES_MAX",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of TLS and of passing spans on; each has a variable of the same name."""
    tls = parser.add_argument_group("TLS for OTLP (PEM files; may be replaced while it runs)")
    _file(tls, "tls_cert", "the server's certificate with its chain: OTLP then needs https and grpcs")
    _file(tls, "tls_key", "the key of it")
    _file(tls, "tls_client_ca", "only clients with a certificate of this CA are let in (mTLS)")
    forward = parser.add_argument_group("passing all spans on to another OTLP endpoint")
    forward.add_argument(
        "--forward", metavar="URL", default=_variable("forward"),
        help="http(s)://host:4318 or grpc(s)://host:4317 of a backend that gets every span too",
    )  # fmt: skip
    forward.add_argument(
        "--forward-header", metavar="NAME=VALUE", action="append", default=[],
        help=f"sent with each request, such as a token; repeatable (or {HEADERS}, as OTEL_EXPORTER_OTLP_HEADERS)",
    )  # fmt: skip
    _file(forward, "forward_ca", "trust this CA in place of the system's")
    _file(forward, "forward_cert", "our certificate for the other end (mTLS)")
    _file(forward, "forward_key", "the key of it")
    forward.add_argument(
        "--forward-compression", choices=("gzip", "none"), default=_variable("forward_compression") or "gzip"
    )
    forward.add_argument(
        "--forward-bytes-max", type=int, metavar="BYTES", default=_variable("forward_bytes_max") or 1 << 30,
        help="what may wait on disk while the other end is down; the oldest goes first (default 1 GiB)",
    )  # fmt: skip


def _variable(name: str) -> str | None:
    return os.environ.get(_VARIABLES[name]) or None


def _file(group: "argparse._ArgumentGroup", name: str, text: str) -> None:
    default = _variable(name)
    option = f"--{name.replace('_', '-')}"
    group.add_argument(option, type=Path, metavar="FILE", default=Path(default) if default else None, help=text)


def tls_of(words: argparse.Namespace) -> TlsFiles | None:
    """The files of TLS; None: none were named.

    Raises:
        CommandError: one is missing.
    """
    if words.tls_cert is None and words.tls_key is None and words.tls_client_ca is None:
        return None
    if words.tls_cert is None or words.tls_key is None:
        raise CommandError("TLS needs both --tls-cert and --tls-key")
    return TlsFiles(words.tls_cert.absolute(), words.tls_key.absolute(), _absolute(words.tls_client_ca))


def forward_of(words: argparse.Namespace) -> ForwardSettings | None:
    """Where spans are passed on to; None: nowhere.

    Raises:
        CommandError: it can't be understood, or is this collector itself.
    """
    if words.forward is None:
        return None
    if (words.forward_cert is None) != (words.forward_key is None):
        raise CommandError("--forward-cert and --forward-key belong together")
    endpoint = Endpoint(
        words.forward, _headers(words.forward_header), _absolute(words.forward_ca), _absolute(words.forward_cert),
        _absolute(words.forward_key), compress=words.forward_compression == "gzip",
    )  # fmt: skip
    parts = urlsplit(words.forward)
    if parts.username is not None or parts.password is not None:
        raise CommandError(
            "--forward takes no name and password in its URL, where logs would show them:"
            f" {HEADERS}='authorization=Basic%20...'"
        )
    if parts.hostname in {*LOCAL, words.host} and parts.port in (words.otlp_grpc_port, words.otlp_http_port):
        raise CommandError(f"--forward {words.forward} is this collector itself: spans would go round for ever")
    return ForwardSettings(endpoint, words.forward_bytes_max)


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path is not None else None


def _headers(typed: list[str]) -> dict[str, str]:
    pairs = [pair for pair in os.environ.get(HEADERS, "").split(",") if pair.strip()]
    found = {}
    for pair, decode in [*((each, True) for each in pairs), *((each, False) for each in typed)]:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise CommandError(f"a header to forward with must be NAME=VALUE; {name.strip()!r} has no value")
        value = unquote(value.strip()) if decode else value.strip()
        if not (name + value).isascii() or not (name + value).isprintable():
            raise CommandError(f"the header {name.strip()!r} to forward with has characters that no header may have")
        found[name.strip().lower()] = value
    return found


def check(words: argparse.Namespace) -> None:
    """Find mistakes before anything starts.

    Raises:
        CommandError: says what to do.
    """
    files = tls_of(words)
    if files is not None:
        ServerTls(files)
    forward = forward_of(words)
    if forward is not None:
        try:
            outlet(forward.endpoint).close()
        except ValueError as error:
            raise CommandError(str(error)) from error


def words_for_process(words: argparse.Namespace) -> list[str]:
    """The same settings for `python -m noclobber_collector.receiver`, without the secret ones."""
    found = []
    for name in _VARIABLES:
        value = getattr(words, name)
        if name == "forward":
            continue
        if value is not None:
            found.append(f"--{name.replace('_', '-')}={value.absolute() if isinstance(value, Path) else value}")
    return found


def environment(words: argparse.Namespace) -> dict[str, str]:
    """The secret ones."""
    headers = ",".join(f"{name}={quote(value)}" for name, value in _headers(words.forward_header).items())
    found = {HEADERS: headers, _VARIABLES["forward"]: words.forward or ""}  # its query may hold a key
    return {name: value for name, value in found.items() if value}
