"""What is hooked here, and what answers: libraries, the collector, supervisor, engine, spool, store.

Whether a library is hooked is not guessed from its version: a Python of this environment is started as
`noclobber run` starts one, imports the library and tells. Nothing is sent meanwhile.
"""

import contextlib
import functools
import json
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from noclobber.bootstrap.registry import INTEGRATIONS
from noclobber.settings import Settings
from noclobber_collector.errors import StoreBusyError, StoreError, StoreUnreachableError
from noclobber_collector.lock import ENGINE, SUPERVISOR, holder
from noclobber_collector.migrate import migrations
from noclobber_collector.reach import reached_store
from noclobber_collector.segments import CLOSED, OPEN, REFUSED, closed_segments, size_of
from noclobber_collector.store import Store
from noclobber_sidecar.doctor_lines import Line, fine, note, problem

__all__ = ["collector", "instrumented", "sidecar", "store_of"]

TIMEOUT_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 60.0
BACKLOG_S: Final = 60.0
"""A closed segment that waits longer is a loader that does not load."""
LOADER_SEEN_S: Final = 30.0
"""A loader tells of itself each second."""
COUNTERS: Final = {
    "noclobber_receiver_refused_total": "requests refused for want of room",
    "noclobber_receiver_malformed_total": "requests that were no OTLP",
    "noclobber_receiver_unauthorized_total": "requests without the right token",
    "noclobber_spool_repaired_bytes_total": "bytes of torn tails, never acknowledged, were cut off",
    "noclobber_spool_damaged_spans_total": "spans lost because their bytes had changed on disk before a crash's repair",
    "noclobber_loader_reloaded_spans_total": "spans that the store had lost were loaded again",
    "noclobber_loader_refused_spans_total": "spans that the store will never take",
    "noclobber_loader_damaged_spans_total": "spans lost because their bytes had changed on disk",
}
DISTRIBUTIONS: Final = {
    "agent-framework": "agent-framework-core",
    "agent-framework-workflows": "agent-framework-core",
    "autogen": "autogen-core",
    "google-adk": "google-adk",
    "google-cloud-pubsub": "google-cloud-pubsub",
    "llama-index-workflows": "llama-index-workflows",
    "mem0": "mem0ai",
    "openai-agents": "openai-agents",
    "pydantic-ai": "pydantic-ai-slim",
    "pydantic-ai-conversations": "pydantic-ai-slim",
}
"""Integrations whose module's name is shared, or is not that of their distribution."""
_PROBE: Final = """
import importlib, json, sys
from noclobber.bootstrap.registry import INTEGRATIONS, installed
from noclobber.stores.wrapping import LEFT_ALONE
reasons = {}
for name in sys.argv[1:]:
    module, triggers = INTEGRATIONS[name]
    try:
        importlib.import_module(triggers[0])
        importlib.import_module(module)
        reasons[name] = "" if name in installed() else "its hooks were not installed"
        if name in LEFT_ALONE:
            reasons[name] = f"this version is not known, and left alone: {LEFT_ALONE[name]}"
    except Exception as error:
        reasons[name] = f"{type(error).__name__}: {error}"
print(json.dumps(reasons))
"""


# -- this environment ----------------------------------------------------------------------------------------------


def instrumented(settings: Settings) -> Iterator[Line]:
    """Which of the libraries that noclobber knows are here, and whether they are really hooked."""
    area = "instrumented"
    if settings.disabled:
        yield problem(area, "NOCLOBBER_DISABLED switches everything off", "unset it where agents are to be watched")
        return
    found = {name: _version(name, triggers[0]) for name, (_, triggers) in INTEGRATIONS.items()}
    off = {name for name in INTEGRATIONS if _is_off(name, settings)}
    asked = [name for name, known in found.items() if known and name not in off]
    reasons = _reasons(asked) if asked else {}
    for name, known in found.items():
        if known is None:
            yield note(area, f"{name}: not installed in this environment ({sys.prefix})")
        elif name in off:
            yield note(area, f"{name} {known}: switched off", "see NOCLOBBER_WITHOUT and NOCLOBBER_INTEGRATIONS")
        elif reasons[name]:
            yield problem(area, f"{name} {known}: not hooked: {reasons[name]}",
                          "is this version supported, and noclobber installed for the agent's Python?")  # fmt: skip
        else:
            yield fine(area, f"{name} {known}: hooked under `noclobber run`")


def _version(name: str, module: str) -> str | None:
    """Version of the library that an integration hooks: of its distribution, whose name may not be its package's."""
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return f"of Python {platform.python_version()}"
    try:
        return version(DISTRIBUTIONS.get(name, package))
    except PackageNotFoundError:  # the package may have another name than its module
        named = None if name in DISTRIBUTIONS else _packages().get(package)
        return version(named[0]) if named else None


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    """Package names by module: reads what every installed package says of itself."""
    return packages_distributions()


def _is_off(name: str, settings: Settings) -> bool:
    return name in settings.without or (settings.integrations is not None and name not in settings.integrations)


def _reasons(names: Sequence[str]) -> dict[str, str]:
    """For each integration why it is not hooked where its library is imported; empty: it is."""
    words = [sys.executable, "-m", "noclobber.cli", "run", "--", sys.executable, "-c", _PROBE, *names]
    quiet = {"NOCLOBBER_FILE_ONLY": "1", "NOCLOBBER_FILE": os.devnull}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_S, env={**os.environ, **quiet}
        )
        told: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, OSError) as error:
        return dict.fromkeys(names, str(error))
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return dict.fromkeys(names, f"a Python under `noclobber run` failed: {last[0]}")
    return told


# -- where agents send ---------------------------------------------------------------------------------------------


def collector(settings: Settings) -> Iterator[Line]:
    """Whether the endpoint that agents of this environment send to takes spans."""
    area = "reached"
    if not settings.send:
        yield note(area, f"agents here send nothing: they write to {settings.file}")
        return
    parts = urlsplit(settings.endpoint)
    if settings.protocol == "grpc":
        yield _connects(parts.hostname or "", parts.port or 4317)
        return
    base = f"{parts.scheme}://{parts.netloc}"
    status, answer = _ask(settings.endpoint, b"", dict(settings.headers))
    if status == 200:
        yield fine(area, f"the collector at {settings.endpoint} takes spans")
    elif status == 401:
        yield problem(area, f"the collector at {settings.endpoint} refuses our token", "set the same NOCLOBBER_TOKEN")
    elif status:
        yield problem(area, f"{settings.endpoint} answers {status}: {answer[:200]}", "is it an OTLP/HTTP endpoint?")
    else:
        yield problem(
            area, f"the collector at {settings.endpoint} is not reached: {answer}",
            "start `noclobber up`, or set NOCLOBBER_ENDPOINT",
        )  # fmt: skip
        return
    yield from _counters(base)
    waiting = list(settings.spool.glob("*")) if settings.spool and settings.spool.is_dir() else []
    if waiting:
        yield note("dropped", f"{len(waiting)} exports of agents that ended wait in {settings.spool}",
                   "the next agent of this user sends them")  # fmt: skip


def _connects(host: str, port: int) -> Line:
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S):
            return fine("reached", f"something listens for OTLP/gRPC at {host}:{port}")
    except OSError as error:
        return problem("reached", f"the collector at {host}:{port} (gRPC) is not reached: {error}",
                       "start `noclobber up`, or set NOCLOBBER_ENDPOINT")  # fmt: skip


def _counters(base: str) -> Iterator[Line]:
    """What noclobber's receiver counted; another collector has no such page."""
    status, text = _ask(f"{base}/metrics")
    if status != 200 or "noclobber_receiver_spans_total" not in text:
        return
    values = {name: float(value) for name, value in (
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )}  # fmt: skip
    for name, meaning in COUNTERS.items():
        count = int(values.get(name, 0))
        if count:
            yield note("dropped", f"{count} {meaning} since the receiver started")
    status, reason = _ask(f"{base}/ready")
    if status == 503:
        yield problem("reached", f"the collector takes no spans now: {reason.strip()}", "until then agents keep them")
    seen_s = values.get("noclobber_loader_seen_seconds")
    if seen_s is not None and seen_s > LOADER_SEEN_S:
        yield problem("dropped", f"nobody loads what the collector takes: its loader was last seen {seen_s:.0f} s ago",
                      "does the engine run? The spool keeps what arrives")  # fmt: skip


def _ask(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and text; status 0 where nobody answers, and why."""
    named = {"content-type": "application/x-protobuf", **(headers or {})}
    request = urllib.request.Request(url, data, named)  # noqa: S310  the user's own endpoint
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  as above
            return answer.status, answer.read(1 << 20).decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(2_000).decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, str(getattr(error, "reason", error))


# -- the sidecar on this machine -----------------------------------------------------------------------------------


def sidecar(data: Path, *, asked: bool) -> Iterator[Line]:
    """Whether a sidecar runs on the data folder, why its engine does not, and what waits in the spool.

    Args:
        data: the folder.
        asked: the person named it; else having no sidecar on this machine is no problem.
    """
    area = "reached"
    if not data.is_dir():
        found = problem if asked else note
        yield found(area, f"no sidecar has run on this machine: there is no data folder {data}", "start `noclobber up`")
        return
    supervisor, engine = holder(data, SUPERVISOR), holder(data, ENGINE)
    if supervisor is None and engine is None:
        yield note(area, f"no sidecar runs on {data}", "start `noclobber up`")
    elif engine is None:
        reason = _reason(data)
        yield problem(area, f"the engine is not running: {reason}", "what arrives is kept in the spool meanwhile")
    else:
        yield fine(area, f"the engine runs: process {engine.pid}, {engine.address or 'without an API'}")
    yield from _spool(data / "spool")


def _reason(data: Path) -> str:
    with contextlib.suppress(OSError):
        return (data / "engine.reason").read_text().strip()
    return "it is starting, or ended unexpectedly; `noclobber up` prints why"


def _spool(folder: Path) -> Iterator[Line]:
    if not folder.is_dir():
        return
    waiting = closed_segments(folder)
    spans, size = sum(each.spans for each in waiting), sum(size_of(each.path) for each in waiting)
    age_s = time.time() - (waiting[0].number >> 16) / 1000 if waiting else 0.0
    told = f"{spans} spans ({size / 1e6:.1f} MB) in {len(waiting)} segments wait to be loaded"
    if age_s > BACKLOG_S:
        yield problem("dropped", f"{told}, the oldest for {age_s:.0f} s", "does the engine run, and its store answer?")
    else:
        yield fine("dropped", told)
    refused = list(folder.glob(f"*{REFUSED}"))
    if refused:
        yield problem("dropped", f"{len(refused)} segments that the store could not read lie in {folder}",
                      f"report them: rename {REFUSED} to {CLOSED} to have them tried again")  # fmt: skip
    left = [path for path in folder.glob(f"*{OPEN}") if time.time() - path.stat().st_mtime > BACKLOG_S]
    if left:
        yield note("dropped", f"{len(left)} segments were left open by a crash", "the next receiver closes them")


@contextlib.contextmanager
def store_of(data: Path, url: str | None, token: str | None) -> Iterator[tuple[Store | None, list[Line]]]:
    """The store, if it can be reached, and what there is to say of that."""
    area = "store"
    if url is None and not (data / "store").is_dir():
        yield None, [note(area, "there is no store yet, so nothing can be said of what was recorded")]
        return
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(reached_store(data, url, token))
            lines = [_schema(store)]
        except StoreBusyError as error:
            yield None, [problem(area, str(error), "end that process, or ask again when it answers")]
        except StoreUnreachableError as error:
            yield None, [problem(area, str(error), "is the server up, and the URL right?")]
        except StoreError as error:
            yield None, [problem(area, str(error), "nothing can be said of what was recorded")]
        else:
            yield store, lines


def _schema(store: Store) -> Line:
    theirs = {int(number) for (number,) in store.rows("SELECT DISTINCT number FROM schema_migrations")}
    ours = set(migrations())
    if theirs == ours:
        return fine("store", f"{store.name} is reached, schema {max(ours)}")
    return problem("store", f"{store.name} has schema {max(theirs, default=0)}, this noclobber {max(ours)}",
                   "use one version of noclobber for all parts")  # fmt: skip
