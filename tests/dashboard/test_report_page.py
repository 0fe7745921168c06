"""The page of a file: it holds what `check` finds, its own policy fits it, and no name gets out of its place."""

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest
from hostile import HOSTILE
from racing import race

from noclobber.cli import main
from noclobber_dashboard.report_page import scripts


def page_of(folder: Path, *names: str) -> str:
    """The page of races on things of these names."""
    file, page = folder / "run.jsonl", folder / "races.html"
    file.write_text(race(*names))
    assert main(["report", "-o", str(page), str(file)]) == 1
    return page.read_text("utf-8")


def drawn(page: str) -> list[dict[str, object]]:
    """The data of each finding."""
    return [json.loads(each) for each in re.findall(r'<script type="application/json">(.*?)</script>', page)]


def test_it_holds_what_check_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same ids, each with its sentence and a picture in which the pair races."""
    page = page_of(tmp_path, "plan", "stock")
    assert "2 of 2 findings" in capsys.readouterr().err
    main(["check", "--format", "json", str(tmp_path / "run.jsonl")])
    *found, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shown = drawn(page)
    assert {each["id"] for each in shown} == {each["id"] for each in found}
    for each in shown:
        assert each["diagram"]["race"] is not None  # type: ignore[index]
        assert len(each["diagram"]["events"]) >= 4  # type: ignore[index]  # two reads, two writes


def test_its_policy_allows_what_it_is_and_nothing_else(tmp_path: Path) -> None:
    """Hashes of the one style and the one script; no address at all."""
    page = page_of(tmp_path, "plan")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    parts = dict(part.strip().split(" ", 1) for part in unescape(policy).split(";"))
    for name, pattern in (
        ("style-src", "<style>(.*?)</style>"),
        ("script-src", '<script type="module">(.*?)</script>'),
    ):
        (text,) = re.findall(pattern, page, re.DOTALL)
        assert parts[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert parts["default-src"] == "'none'"
    assert "</" not in scripts()


def test_no_name_gets_out_of_its_place(tmp_path: Path) -> None:
    """Whatever a thing is called, the file has as many elements as before."""
    plain, hostile = page_of(tmp_path, "plan"), page_of(tmp_path, *HOSTILE)
    count = len(drawn(hostile))
    assert count > 50
    each = 4  # a section and its data: two elements, each with its end
    assert hostile.count("<") - plain.count("<") == (count - 1) * each


def test_nothing_found_is_said(tmp_path: Path) -> None:
    """A page without findings says what was looked at, and is no failure."""
    file, page = tmp_path / "run.jsonl", tmp_path / "races.html"
    file.write_text(race("plan", lost=False))
    assert main(["report", "-o", str(page), "--title", "A <calm> night", str(file)]) == 0
    text = page.read_text("utf-8")
    assert "0 findings" in text
    assert "<title>A &lt;calm&gt; night</title>" in text


def test_what_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, and the exit code of unusable arguments."""
    (tmp_path / "run.jsonl").write_text(race("plan"))
    assert main(["report", "-o", str(tmp_path / "no" / "races.html"), str(tmp_path / "run.jsonl")]) == 2
    assert "cannot be written" in capsys.readouterr().err
