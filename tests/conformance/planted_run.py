"""A program that plants a secret in libraries, run under `noclobber run`; its spans, its spool and its log searched."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planted import found_in

from noclobber_sidecar.sockets import free_port

__all__ = ["AGENT", "ONLY_ORDER", "SECRET", "planted"]

AGENT = Path(__file__).parent / "agents" / "planting.py"
TIMEOUT_S = 100
SECRET = "sk-Planted+Secret/0123456789=="
ONLY_ORDER = frozenset({"httpx", "requests", "aiohttp", "aiohttp-web", "starlette"})
"""They record nothing of their own, and must not leak what passes them either."""
SCOPES = {
    "django": "sqlite3", "python-dynamodb-lock": "python_dynamodb_lock", "aiosqlite": "sqlite3", "faststream": "redis",
}  # fmt: skip
"""Under which name spans are sent, where it is not the integration's."""


def planted(names: tuple[str, ...], places: dict[str, str], folder: Path) -> None:
    """Run the program, which tells a file and a collector that is not there; search file, spool and log."""
    (folder / "files").mkdir()
    spans, spool = folder / "spans.jsonl", folder / "spool"
    environment = {
        **os.environ, **places, "PLANTED": SECRET, "FOLDER": str(folder / "files"), "NOCLOBBER_RERAISE": "1",
        "NOCLOBBER_WATCH_FILES": str(folder / "files" / "*.txt"), "NOCLOBBER_SPOOL": str(spool),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port('127.0.0.1', 0)}",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-m", "noclobber.cli", "run", "--file", str(spans), "--", sys.executable, str(AGENT), *names],
        capture_output=True, timeout=TIMEOUT_S, check=False, env=environment,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    assert ran.stdout.decode().split() == list(names)
    spooled = [each for each in spool.rglob("*") if each.is_file()]
    assert spooled
    for each in (spans, *spooled):
        assert found_in(each.name.encode() + each.read_bytes(), SECRET) == []
    assert b"can't hand its spans" in ran.stderr
    assert found_in(ran.stderr, SECRET) == []
    assert {SCOPES.get(name, name) for name in names if name not in ONLY_ORDER} <= set(_scopes(spans))


def _scopes(file: Path) -> Iterator[str]:
    for line in file.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                told: dict[str, Any] = scope["scope"]
                yield told["name"].removeprefix("noclobber.")
