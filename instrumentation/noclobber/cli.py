"""The command `noclobber`: finds each part's commands and runs the one that was typed.

Parts register their commands in the entry-point group `noclobber.commands`, so an agent that has only the base
install has only `noclobber run`, and the sidecar's commands appear with their extras. Only the typed command's
module is imported. No traceback reaches a person who typed something wrongly: mistakes in the input are
`CommandError`, printed as one sentence, exit code 2.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Command", "CommandError", "main"]

EXIT_UNUSABLE = 2
"""Unusable input or arguments (contract 4)."""

OVERVIEW = {
    "demo": "see a real race between real agents caught, in one command",
    "run": "run a Python program with its shared state instrumented",
    "up": "the sidecar in one command: receiver, store, analyzer, dashboard",
    "check": "find races in OTLP files; exit code 1 where there are any",
    "report": "findings of OTLP files as one page with pictures",
    "compare": "what two runs found: new, gone, more often",
    "chaos": "run a program again and again, hold its strands at their accesses, find what luck hides",
    "confirm": "bring a finding about, and write the test that holds it down",
    "load": "let many agents do one task at once for a while, and find the races between them",
    "analyze": "the same over what is stored",
    "findings": "list, show or export the findings in the store",
    "alerts": "silences, messages that were given up, and samples",
    "access": "API tokens, and who did what",
    "forget": "delete what the store knows of one resource, run or service",
    "backup": "copy what is stored into a folder",
    "restore": "bring a backup into an empty store",
    "doctor": "what is instrumented, reached and dropped; how far clocks are apart",
    "collector": "the collector alone, over a ClickHouse server",
    "analyzer": "the live analyzer alone, over a ClickHouse server",
    "dashboard": "the dashboard and API alone, over a ClickHouse server",
}
EXTRA_OF = {
    "demo": "demo", "up": "sidecar", "doctor": "sidecar", "collector": "collector", "check": "analyzer",
    "chaos": "analyzer", "confirm": "analyzer", "compare": "analyzer", "load": "analyzer",
    "analyze": "analyzer", "findings": "analyzer", "alerts": "analyzer", "forget": "analyzer", "backup": "analyzer",
    "restore": "analyzer", "analyzer": "analyzer", "access": "dashboard", "report": "dashboard",
    "dashboard": "dashboard",
}  # fmt: skip


class CommandError(Exception):
    """What a person can mend: printed as one sentence, without a traceback.

    Attributes:
        exit_code: what the process exits with; 2 for unusable input or arguments.
    """

    def __init__(self, message: str, exit_code: int = EXIT_UNUSABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Command:
    """One command of one part.

    Attributes:
        name: as typed after `noclobber`.
        summary: one line, for `noclobber --help`.
        configure: adds the command's arguments to its parser.
        run: does the work and returns the exit code. Heavy imports belong in here.
        epilog: examples, shown below the options in the command's own help.
    """

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    epilog: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `noclobber`; returns the exit code.

    Args:
        argv: the words after `noclobber`; the process's own where None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["run"]:  # ours for sure: to look for it would cost a program's start as much as all the rest
            from noclobber.bootstrap.run import COMMAND

            return _perform(COMMAND, words[1:])
        installed = _installed()
        if not words or words[0] in ("-h", "--help", "help"):
            print(_overview(installed))
            return 0
        if words[0] in ("-V", "--version"):
            print(_version())
            return 0
        return _dispatch(words[0], words[1:], installed)
    except CommandError as error:
        print(f"noclobber: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _installed() -> "dict[str, EntryPoint]":
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group="noclobber.commands")}


def _perform(command: Command, words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"noclobber {command.name}",
        description=command.summary[0].upper() + command.summary[1:] + ".",
        epilog=command.epilog or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.configure(parser)
    return command.run(parser.parse_args(words))


def _dispatch(name: str, words: list[str], installed: "dict[str, EntryPoint]") -> int:
    if name not in installed:
        known = ", ".join(sorted(installed))
        raise CommandError(f"there is no command '{name}'. Known: {known}. `noclobber --help` explains them.")
    try:
        return _perform(installed[name].load(), words)
    except ModuleNotFoundError as error:
        extra = EXTRA_OF.get(name)
        missing = (error.name or "").partition(".")[0]
        if extra is None or missing.startswith("noclobber") or missing in sys.stdlib_module_names:
            raise
        raise CommandError(
            f"`noclobber {name}` needs the package '{missing}': pip install 'noclobber[{extra}]'"
        ) from error


def _overview(installed: "dict[str, EntryPoint]") -> str:
    lines = [
        "usage: noclobber COMMAND [OPTIONS]",
        "",
        "Finds work that agents silently lose when they share state: lost updates, stale writes,",
        "dirty reads, double claims, forks. Start with `noclobber demo`.",
        "",
    ]
    order = [name for name in OVERVIEW if name in installed] + sorted(set(installed) - set(OVERVIEW))
    lines += [f"  {name:<10} {OVERVIEW.get(name, '')}" for name in order]
    lines += ["", "`noclobber COMMAND --help` explains one. `noclobber --version` says which this is."]
    return "\n".join(lines)


def _version() -> str:
    from importlib.metadata import version

    from noclobber.contract import CONTRACT_VERSION

    return f"noclobber {version('noclobber')} (contract {CONTRACT_VERSION})"


if __name__ == "__main__":
    from noclobber.cli import main as imported  # commands raise this module's CommandError, not that of `__main__`

    sys.exit(imported())
