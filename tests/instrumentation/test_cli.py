"""The command `noclobber`: help, versions, mistakes; no traceback reaches a person."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from noclobber import cli
from noclobber.cli import Command, CommandError, main


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Each installed command with a line about it."""
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        told = capsys.readouterr().out
        assert "usage: noclobber COMMAND" in told
        assert "run        run a Python program with its shared state instrumented" in told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Package and contract."""
    assert main(["--version"]) == 0
    assert "(contract 1)" in capsys.readouterr().out


def test_an_unknown_command_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one sentence."""
    assert main(["rnu"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("noclobber: there is no command 'rnu'. Known: ")
    assert "run" in told


def test_an_unknown_option_is_argparses_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with the command's usage."""
    with pytest.raises(SystemExit) as raised:
        main(["run", "--nonsense"])
    assert raised.value.code == 2
    assert "usage: noclobber run" in capsys.readouterr().err


def test_help_of_a_command_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own options and how people use it."""
    with pytest.raises(SystemExit) as raised:
        main(["run", "--help"])
    assert raised.value.code == 0
    told = capsys.readouterr().out
    assert ("--exact" in told, "examples:" in told) == (True, True)


def installed(monkeypatch: pytest.MonkeyPatch, name: str, place: str) -> None:
    entry = EntryPoint(name, place, "noclobber.commands")
    monkeypatch.setattr(cli, "_installed", lambda: {name: entry})


def test_a_missing_extra_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to install stands in the message."""
    installed(monkeypatch, "dashboard", "no_such_package.module:COMMAND")
    assert main(["dashboard"]) == 2
    told = capsys.readouterr().err
    assert (
        told
        == "noclobber: `noclobber dashboard` needs the package 'no_such_package': pip install 'noclobber[dashboard]'\n"
    )


def _fails(error: BaseException) -> Command:
    def run(words: object) -> int:
        raise error

    return Command("findings", "fail", lambda parser: None, run)


@pytest.mark.parametrize(
    ("error", "code"), [(CommandError("so"), 2), (CommandError("so", exit_code=1), 1), (KeyboardInterrupt(), 130)]
)
def test_how_a_command_ends(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    """A mistake has its exit code, an interrupt 130."""
    monkeypatch.setattr(EntryPoint, "load", lambda self: _fails(error))
    installed(monkeypatch, "findings", "x:y")
    assert main(["findings"]) == code


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`noclobber --help | head -0` ends quietly."""
    command = f"{sys.executable} -m noclobber --help | head -c 0; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
