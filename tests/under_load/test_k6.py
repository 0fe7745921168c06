"""The recipe for k6, run on node with a stand-in for k6's own modules, against the real API over a real store."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import uvicorn
from assembled import application

from noclobber_dashboard.settings import DashboardSettings
from noclobber_sidecar.sockets import free_port

RECIPE = Path(__file__).parents[2] / "deploy" / "k6" / "agents.js"
STAND_IN = Path(__file__).parent / "k6_stand_in.mjs"
TIMEOUT_S = 60
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]


@pytest.fixture(scope="module")
def api(real_store: Any) -> Iterator[tuple[str, str]]:
    """The API's address, and the trace id of an access that a sure finding speaks of."""
    sample.fill(real_store)
    port = free_port("127.0.0.1", 0)
    app = application(real_store, DashboardSettings())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{port}"
    try:
        yield address, _a_trace(address)
    finally:
        server.should_exit = True
        thread.join(20)


def _a_trace(address: str) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{address}/api/v1/findings?certainty=certain") as told,
        ):
            return str(json.loads(told.read())["findings"][0]["accesses"][0]["trace_id"])
        time.sleep(0.05)
    raise AssertionError("the API did not answer")


def play(folder: Path, address: str, prefix: str) -> dict[str, Any]:
    """What the recipe asks, counts and says."""
    script = folder / "agents.mjs"
    script.write_text(re.sub(r"from 'k6[/a-z]*'", f"from {STAND_IN.as_uri()!r}", RECIPE.read_text()))
    environment = {
        **os.environ, "AGENTS_URL": f"{address}/live", "NOCLOBBER_API": f"{address}/api/v1", "TRACE_PREFIX": prefix,
    }  # fmt: skip
    done = subprocess.run(
        ["node", str(STAND_IN), script.as_uri()],
        env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_findings_of_this_test_are_counted(api: tuple[str, str], tmp_path: Path) -> None:
    """Of the findings that the API has, those whose trace ids begin with this test's digits fail the threshold."""
    address, trace_id = api
    told = play(tmp_path, address, trace_id[:8])
    assert told["counted"]["noclobber_races"] >= 1
    assert told["thresholds"]["noclobber_races"] == ["count==0"]
    assert ["noclobber's API answered", True] in told["checks"]
    assert any("(certain)" in line for line in told["said"])


def test_others_are_not(api: tuple[str, str], tmp_path: Path) -> None:
    """Nothing of others' is counted; each request carries a valid trace context of this test."""
    told = play(tmp_path, api[0], "0badcafe")
    assert told["counted"]["noclobber_races"] == 0
    assert told["said"] == []
    (traceparent,) = {each["headers"]["traceparent"] for each in told["asked"] if each["method"] == "POST"}
    assert re.fullmatch(r"00-0badcafe[0-9a-f]{24}-[0-9a-f]{15}1-01", traceparent)


def test_an_api_that_is_away(tmp_path: Path) -> None:
    """A check fails, which the other threshold is about: no answer never looks like no races."""
    told = play(tmp_path, f"http://127.0.0.1:{free_port('127.0.0.1', 0)}", "0badcafe")
    assert ["noclobber's API answered", False] in told["checks"]
    assert told["thresholds"]["checks"] == ["rate==1"]
