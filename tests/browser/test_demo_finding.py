"""The demo's own finding in a real browser: what a newcomer sees first, from agents that really raced."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from driving import Dashboard, Visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

COMMAND = [sys.executable, "-m", "noclobber.cli", "demo", "--no-browser"]
OPEN_S = 120
ADDRESS = re.compile(r"The dashboard is open on that finding: (http://[\d.]+:\d+)/finding\?id=(\w+)")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A running `noclobber demo` that has found its race and left the dashboard open."""
    said = tmp_path_factory.mktemp("demo") / "said"
    with said.open("w") as out:
        process = subprocess.Popen(COMMAND, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        found = opened(process, said)
        yield Dashboard(found[1], process, {"finding": found[2]})
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 0, said.read_text()


def opened(process: subprocess.Popen[bytes], said: Path) -> re.Match[str]:
    until = time.monotonic() + OPEN_S
    while time.monotonic() < until and process.poll() is None:
        if found := ADDRESS.search(said.read_text()):
            return found
        time.sleep(0.1)
    raise AssertionError(said.read_text())


@pytest.fixture
def tab(visit: Callable[..., Visit], demo: Dashboard) -> Visit:
    """The finding, opened by the address that the demo printed."""
    made = visit(demo)
    made.open(f"/finding?id={demo.ids['finding']}", diagram=True)
    return made


def boxes(tab: Visit, selector: str) -> list[dict[str, float]]:
    return [box for each in tab.page.locator(selector).all() if (box := each.bounding_box()) is not None]


def meet(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two rectangles overlap by more than a hair."""
    wide = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    high = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    return wide > 1 and high > 1


def test_the_race_is_seen_without_scrolling(tab: Visit) -> None:
    """Both racing writes lie whole inside the first 1280 by 800, of two agents, and an arc joins them."""
    racing = boxes(tab, ".spacetime .box.race")
    assert len(racing) == 2
    for box in racing:
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 1280
        assert 0 <= box["y"] <= box["y"] + box["height"] <= 800
    arc = boxes(tab, ".spacetime .arc path[data-from]")[0]
    upper, lower = sorted(racing, key=lambda box: box["y"])
    assert upper["y"] + upper["height"] - 4 <= arc["y"] <= upper["y"] + upper["height"] + 16
    assert lower["y"] - 16 <= arc["y"] + arc["height"] <= lower["y"] + 4
    assert tab.complaints == []


def test_every_word_can_be_read(tab: Visit) -> None:
    """No two labels of the diagram overlap, and none lies on a box that is not its own."""
    words = boxes(tab, ".spacetime svg text")
    assert len(words) > 8
    assert [pair for pair in combinations(words, 2) if meet(*pair)] == []
    labels, bodies = boxes(tab, ".spacetime .edge-label"), boxes(tab, ".spacetime .box .body")
    assert not [1 for label in labels for body in bodies if meet(label, body)]


def test_it_tells_the_whole_story(tab: Visit, demo: Dashboard) -> None:
    """The sentence, the agents, the fix and what was defended: as the command printed them."""
    page: Any = tab.page
    assert page.locator(".prose h1").first.inner_text().startswith("Lost update on")
    sentence = page.locator(".prose p.lead").first.inner_text()
    for agent in ("deposit-agent", "withdraw-agent"):
        assert agent in sentence
    assert "incrby" in page.locator(".codeblock").first.inner_text()
    answer = page.request.get(f"{demo.url}/api/v1/findings/{demo.ids['finding']}")
    assert json.loads(answer.text())["kind"] == "lost_update"
    tab.open("/")
    assert "done at once by the store" in page.locator(".holds").inner_text()
    assert tab.complaints == []
