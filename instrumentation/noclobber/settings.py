"""What a user may set: flags first, then `NOCLOBBER_*` variables, then a TOML file, then OpenTelemetry's own.

`noclobber run` turns its flags into variables, so an agent's process reads only the environment and, where
`NOCLOBBER_CONFIG` names one, a TOML file with a table `[noclobber]` of the same names in lower case.

Nothing here raises inside an agent: a value that can't be understood is reported once and its default is used.
"""

import logging
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

__all__ = ["DEFAULT_ENDPOINT", "Settings", "load"]

log = logging.getLogger("noclobber")
DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
DEFAULT_GRPC_ENDPOINT: Final = "http://127.0.0.1:4317"
TRACES_PATH: Final = "/v1/traces"
TRUE: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How one process is instrumented.

    Attributes:
        disabled: install nothing.
        endpoint: where OTLP goes: the full URL for HTTP, `http(s)://host:port` for gRPC.
        protocol: `http/protobuf` or `grpc`. headers: sent with each request. gzip: compress requests.
        timeout_s: for one request. file: OTLP/JSON lines are written there as well (`send` False: instead).
        agent: name of the process's agent. service: `service.name`. resource_attributes: further ones.
        exact: URI patterns of resources that may be asked for what a write replaces; `*` is all.
        key: text of the fingerprint key. spool: folder for what could not be sent.
        spool_bytes_max: limit of that folder. ring_max: calls that wait for the drain.
        flush_interval_s: pause between drains.
        shutdown_timeout_s: longest wait at the process's end (`NOCLOBBER_SHUTDOWN_TIMEOUT_S`).
        cpu_budget: share of one processor above which recording switches itself off; 0: none.
        include: URI patterns of resources to record (empty: all). exclude: not to record.
        integrations: names to switch on (None: all), `without`: names to switch off.
        http_hosts: hosts whose HTTP requests are told the strand (`name`, `name:port`, with `*` and `?`).
        watch_files: paths of local files to record, with `*` and `?`; a folder is all below it.
        tables: `[[resource]]` declarations as they stand in the TOML file.
    """

    disabled: bool = False
    endpoint: str = DEFAULT_ENDPOINT + TRACES_PATH
    protocol: str = "http/protobuf"
    headers: Mapping[str, str] = field(default_factory=dict)
    gzip: bool = False
    timeout_s: float = 10.0
    file: Path | None = None
    send: bool = True
    agent: str | None = None
    service: str = "python"
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    exact: tuple[str, ...] = ()
    key: str | None = None
    spool: Path | None = None
    spool_bytes_max: int = 512 << 20
    ring_max: int = 65536
    flush_interval_s: float = 0.2
    shutdown_timeout_s: float = 1.5
    cpu_budget: float = 0.3
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    integrations: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    http_hosts: tuple[str, ...] = ()
    watch_files: tuple[str, ...] = ()
    tables: tuple[Mapping[str, Any], ...] = ()


def load(environment: Mapping[str, str] | None = None, program: str | None = None) -> Settings:
    """The settings of this process.

    Args:
        environment: variables; the process's own where None.
        program: path of the running script, for the service's name.
    """
    env = os.environ if environment is None else environment
    file = _file(env)
    table = file.get("noclobber", {})
    if not isinstance(table, dict):
        log.warning("noclobber: [noclobber] in the configuration is no table; leaving it out")
        table = {}

    def text(name: str) -> str | None:
        value = env.get(f"NOCLOBBER_{name}") or table.get(name.lower())
        if isinstance(value, list):
            return ",".join(map(str, value))
        return None if value is None else str(value)

    protocol = text("PROTOCOL") or _otel(env, "PROTOCOL") or "http/protobuf"
    extra = _pairs(env.get("OTEL_RESOURCE_ATTRIBUTES"))
    written = text("FILE")
    return Settings(
        disabled=_true(text("DISABLED")),
        endpoint=_endpoint(text("ENDPOINT"), env, protocol),
        protocol=protocol,
        headers=_headers(env, text("TOKEN")),
        gzip=(text("COMPRESSION") or _otel(env, "COMPRESSION") or "none") == "gzip",
        timeout_s=_number("timeout", text("TIMEOUT") or _otel(env, "TIMEOUT"), 10.0),
        file=Path(written) if written else None,
        send=not _true(text("FILE_ONLY")),
        agent=text("AGENT"),
        service=env.get("OTEL_SERVICE_NAME") or extra.get("service.name") or text("AGENT") or _script(program),
        resource_attributes={name: value for name, value in extra.items() if name != "service.name"},
        exact=("*",) if _true(text("EXACT")) else _words(text("EXACT")),
        key=text("KEY"),
        spool=_spool(text("SPOOL"), env),
        spool_bytes_max=int(_number("spool_bytes_max", text("SPOOL_BYTES_MAX"), 512 << 20)),
        ring_max=int(_number("ring_max", text("RING_MAX"), 65536)),
        flush_interval_s=_number("flush_interval_ms", text("FLUSH_INTERVAL_MS"), 200.0) / 1000,
        shutdown_timeout_s=_number("shutdown_timeout_s", text("SHUTDOWN_TIMEOUT_S"), 1.5),
        cpu_budget=_number("cpu_budget", text("CPU_BUDGET"), 0.3),
        include=_words(text("INCLUDE")),
        exclude=_words(text("EXCLUDE")),
        integrations=frozenset(_words(text("INTEGRATIONS"))) or None,
        without=frozenset((*_words(text("WITHOUT")), *_words(env.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")))),
        http_hosts=_words(text("HTTP_HOSTS")),
        watch_files=_words(text("WATCH_FILES")),
        tables=_tables(file.get("resource", [])),
    )


def _file(env: Mapping[str, str]) -> dict[str, Any]:
    name = env.get("NOCLOBBER_CONFIG")
    if not name:
        return {}
    try:
        return tomllib.loads(Path(name).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        log.warning("noclobber can't read its configuration %s: %s", name, error)
        return {}


def _otel(env: Mapping[str, str], name: str) -> str | None:
    return env.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or env.get(f"OTEL_EXPORTER_OTLP_{name}")


def _endpoint(own: str | None, env: Mapping[str, str], protocol: str) -> str:
    exact = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = own or exact or env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if base is not None and not _is_reachable(base, protocol):
        log.warning("noclobber: %r is no endpoint such as %s; using that", base, DEFAULT_ENDPOINT)
        base = None
    if protocol == "grpc":
        return (base or DEFAULT_GRPC_ENDPOINT).rstrip("/")
    if base is None:
        return DEFAULT_ENDPOINT + TRACES_PATH
    if base == exact and own is None:
        return base
    return base if urlsplit(base).path.endswith(TRACES_PATH) else base.rstrip("/") + TRACES_PATH


def _is_reachable(endpoint: str, protocol: str) -> bool:
    """Whether `endpoint` names a host, and a port that can be one."""
    try:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and (parts.scheme in ("http", "https") or (protocol == "grpc" and not parts.scheme))


def _headers(env: Mapping[str, str], token: str | None) -> dict[str, str]:
    headers = _pairs(_otel(env, "HEADERS"))
    if token:
        headers["authorization"] = f"Bearer {token}"
    return headers


def _pairs(text: str | None) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in (text or "").split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in TRUE


def _number(name: str, text: str | None, default: float) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        log.warning("noclobber: %s is not a number: %r; using %s", name, text, default)
        return default


def _script(program: str | None) -> str:
    path = program or (sys.argv[0] if sys.argv else "")
    return Path(path).stem.replace("__main__", "") or "python"


def _spool(own: str | None, env: Mapping[str, str]) -> Path | None:
    if own:
        return Path(own)
    try:
        base = Path(env["XDG_STATE_HOME"]) if env.get("XDG_STATE_HOME") else Path.home() / ".local" / "state"
    except RuntimeError:  # a user without a home
        return None
    return base / "noclobber" / "spool"


def _tables(found: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(found, list):
        log.warning("noclobber: write [[resource]] in the configuration, with two brackets; leaving it out")
        return ()
    return tuple(each for each in found if isinstance(each, dict))
