"""What the guide tells to type works: its programs run, its commands are parsed by the program's own parsers.

Programs (`python`, `js`) that begin with a file's name are saved under it and `sh` blocks are run, page by page, in an
empty folder; every other line that begins with `noclobber` is given to that command's parser, because it names servers
that are not there.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest
from guide_blocks import PAGES, Block, blocks

from noclobber.declarations import declaration_from
from noclobber.pacing.plan import plan_of
from noclobber_dashboard.login import login_from

TABLES: Final = {"resource", "alert", "inhibit", "login"}
TIMEOUT_S: Final = 60
BLOCKS: Final = [block for page in PAGES for block in blocks(page)]
SHOWN: Final = {"", "console", "sh"}


def typed() -> list[tuple[str, str]]:
    """Each command line of noclobber that a page shows, by page."""
    found = []
    for block in BLOCKS:
        if block.kind in SHOWN:
            for line in block.text.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|\|", line.removeprefix("$ ").split("  #")[0]):
                    command = re.sub(r"^(\w+=\S+ +)+", "", part.strip())
                    if command.startswith("noclobber "):
                        found.append((block.page.stem, command))
    return found


@pytest.mark.parametrize(("page", "line"), typed(), ids=lambda text: text[:60])
def test_a_command_is_one(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options exist, and take what they are given."""
    del page
    monkeypatch.setenv("COLUMNS", "200")
    _, name, *words = shlex.split(line.replace("...", "X"))
    (entry,) = (each for each in entry_points(group="noclobber.commands") if each.name == name)
    parser = argparse.ArgumentParser(exit_on_error=False)
    entry.load().configure(parser)
    parser.parse_args(words)


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if block.kind == "sh"}), ids=lambda p: p.stem)
def test_what_is_to_be_run_runs(page: Path, tmp_path: Path) -> None:
    """The page's programs and scripts, in order, as somebody would who follows it."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, words in (("noclobber", "-m noclobber.cli"), ("python", "")):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (bin_folder / name).chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    environ = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "NOCLOBBER_SPOOL": str(tmp_path / "spool")}
    for block in (block for block in BLOCKS if block.page == page):
        if block.file is not None:
            (folder / block.file).write_text(block.text)
        elif block.kind == "sh":
            if block.text.startswith("node ") and shutil.which("node") is None:
                pytest.skip("there is no node on this machine")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=environ, capture_output=True, text=True,
                timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


def test_the_quick_start_catches_its_race(tmp_path: Path) -> None:
    """What its page promises is what `check` prints: two writers, the line of each, what was lost, the way out."""
    (program,) = (block.text for block in BLOCKS if block.page.stem == "quickstart" and block.kind == "python")
    (tmp_path / "bank.py").write_text(program)
    run = [sys.executable, "-m", "noclobber.cli"]
    agents = [*run, "run", "--file", "run.jsonl", "--file-only", "--", sys.executable, "bank.py"]
    subprocess.run(agents, cwd=tmp_path, check=True, timeout=TIMEOUT_S, capture_output=True)
    check = subprocess.run([*run, "check", "run.jsonl"], cwd=tmp_path, check=False, text=True, capture_output=True)
    assert check.returncode == 1
    assert "lost update" in check.stdout.lower()
    assert re.search(r"bank\.py:\d+", check.stdout)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "toml"], ids=lambda b: b.page.stem)
def test_settings_are_settings(block: Block) -> None:
    """Each example of a configuration file, or of a plan of chaos, is one that the program reads."""
    tables = tomllib.loads(block.text)
    if tables.keys() & {"hold", "lose", "again"}:
        assert plan_of(tables)
    else:
        assert set(tables) <= TABLES
        assert [declaration_from(each) for each in tables.get("resource", [])] or tables.keys() != {"resource"}
        assert login_from(tables.get("login"), {"NOCLOBBER_OIDC_SECRET": "a secret"}) or "login" not in tables
