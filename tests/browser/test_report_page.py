"""The page of a file in a browser: drawn, quiet, and it asks nobody for anything."""

from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE
from racing import race

from noclobber.cli import main

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_a_file(scheme: str, chromium: Any, tmp_path: Path) -> None:
    """Each race is drawn, the racing pair in view without scrolling; nothing of a name runs, nothing is fetched."""
    (tmp_path / "run.jsonl").write_text(race("plan", *HOSTILE[:12]))
    assert main(["report", "-o", str(tmp_path / "races.html"), str(tmp_path / "run.jsonl")]) == 1
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "races.html").as_uri())
    diagrams = page.locator(".spacetime[data-drawn]")
    diagrams.last.wait_for()
    assert diagrams.count() == 13
    racing = page.locator("section").first.locator(".box .frame")
    assert racing.count() == 2
    for place in (racing.nth(number).bounding_box() for number in range(2)):
        assert place["y"] + place["height"] < 800
    page.screenshot(path=tmp_path / "races.png")
    assert (said, len(asked)) == ([], 1)
    context.close()
