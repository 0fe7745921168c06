"""`noclobber load` as it is typed: agents of files and of the demo, in threads and in tasks, and mistakes."""

import json
from pathlib import Path

import pytest

from noclobber.cli import CommandError, _perform
from noclobber_analyzer.commands.load import COMMAND
from noclobber_analyzer.load import drivers
from noclobber_analyzer.load.drivers import Work, drive
from noclobber_analyzer.load.scenario import Scenario, scenario

AGENTS = """
import asyncio, atexit, contextlib, pathlib, threading, time
import noclobber

box = noclobber.tracked({}, name="box")
box["n"] = 10_000_100
done, counting = [0], threading.Lock()
atexit.register(lambda: pathlib.Path("ended").write_text(f"{done[0]} {box['n'] - 10_000_100}"))

async def agent():
    n = box["n"]
    await asyncio.sleep(0.002)
    box["n"] = n + 1
    done[0] += 1

def plainly(number):
    n = box["n"]
    time.sleep(0.002)
    box["n"] = n + 1
    with counting:
        done[0] += 1

@contextlib.contextmanager
def each_its_own():
    def task(number):
        box[f"n{number}"] = box.get(f"n{number}", 0) + 1
        if box[f"n{number}"] == 3:
            raise ValueError("the third time")
    yield task

def two(one, other):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with agents, in which one stands."""
    (tmp_path / "crowd.py").write_text(AGENTS)
    (tmp_path / "silent.py").write_text("def agent():\n  pass")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tasks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many lost updates are found as were lost, and no more; the exit code and the object say so."""
    assert _perform(COMMAND, ["crowd.py", "--agents", "4", "--for", "0.5s", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    done, counted = map(int, (folder / "ended").read_text().split())
    (kind,) = told["kinds"]
    assert (kind["kind"], kind["certainty"], kind["count"]) == ("lost_update", "certain", done - counted)
    assert kind["count"] == told["failing"] == told["summary"]["findings"]["lost_update"] > 0
    assert (told["tasks"], told["driver"], told["agents"], told["failed"]) == (done, "asyncio", 4, 0)
    assert told["summary"]["coverage"]["lost_spans"] == 0


@pytest.mark.long
@pytest.mark.parametrize("driver", drivers.DRIVERS)
def test_plain_functions(driver: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same with functions that block, in a pool of threads, or in threads beside an event loop."""
    assert _perform(COMMAND, ["crowd.py:plainly", "--agents", "4", "--for", "1s", "--driver", driver, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    done, counted = map(int, (folder / "ended").read_text().split())
    sure = sum(kind["count"] for kind in told["kinds"] if kind["certainty"] == "certain")
    assert 0 < sure < done
    assert counted < done
    assert told["driver"] == driver


@pytest.mark.long
def test_agents_that_share_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found; what failed is counted, and the rest goes on."""
    words = ["crowd.py:each_its_own", "--agents", "3", "--for", "1s", "--spans", str(folder / "spans.jsonl")]
    assert _perform(COMMAND, words) == 0
    printed = capsys.readouterr().out
    assert "3 failed (3 ValueError)" in printed
    assert "the first task that failed: ValueError: the third time" in printed
    assert "nothing found" in printed
    assert (folder / "spans.jsonl").exists()
    with pytest.raises(CommandError, match="is there already"):
        _perform(COMMAND, words)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("account", "lost_update"),
        ("account-safely", None),
        ("langgraph", "lost_update"),
        ("queue", "double_claim"),
        ("queue-safely", None),
    ],
)
def test_scenarios_of_the_demo(name: str, kind: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo's agents, many of them: their race is found many times, and their safe twins are left alone."""
    assert _perform(COMMAND, [name, "--agents", "8", "--for", "3s", "--json"]) == (0 if kind is None else 1)
    told = json.loads(capsys.readouterr().out)
    sure = {each["kind"] for each in told["kinds"] if each["certainty"] != "possible"}
    assert sure == (set() if kind is None else {kind})
    assert told["failed"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["crowd.py", "--for", "soon"], "is a time such as 30s"),
        (["crowd.py", "--agents", "0"], "--agents is a number from 1"),
        (["crowd.py", "--accesses-max", "0"], "--accesses-max is a number"),
    ],
)
def test_mistakes(words: list[str], said: str, folder: Path) -> None:
    """One sentence, exit code 2."""
    with pytest.raises(CommandError, match=said) as raised:
        _perform(COMMAND, words)
    assert raised.value.exit_code == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("silent.py", "no access was captured"),
        ("crowd.py:none", "has no function 'none'"),
        ("crowd.py:two", "takes 2 arguments"),
        ("nowhere.py", "there is no file"),
        ("no.module:agent", "there is no module"),
        ("nothing", "there is no scenario 'nothing'"),
    ],
)
def test_scenarios_that_are_none(name: str, said: str, folder: Path) -> None:
    """One sentence, exit code 2."""
    with pytest.raises(CommandError, match=said) as raised:
        _perform(COMMAND, [name, "--for", "0.5s"])
    assert raised.value.exit_code == 2


def test_what_a_scenario_brings_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator function starts and ends what its agents need, with or without the decorator."""
    (folder / "shop.py").write_text(
        "log = []\ndef agent():\n  log.append('on')\n  yield log.append\n  log.append('off')"
    )
    with scenario("shop.py") as found:
        found.task(7)
    import sys

    assert sys.modules["shop"].log == ["on", 7, "off"]
    monkeypatch.delitem(sys.modules, "shop")
    monkeypatch.setattr(sys, "path", sys.path[1:])


def test_an_agent_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for for ever; the others' work counts."""
    import asyncio

    monkeypatch.setattr(drivers, "GRACE_S", 0.05)
    work = Work(0.05)

    async def task(number: int) -> None:
        await asyncio.sleep(100 if number == 1 else 0)

    drive(Scenario(task, is_async=True), 2, "asyncio", work)
    assert (work.unfinished, work.failed) == (1, 0)
    assert work.done > 0
