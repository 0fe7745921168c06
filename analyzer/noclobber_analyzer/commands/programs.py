"""Options of the commands that run a program themselves, and the program."""

import argparse
from pathlib import Path

from noclobber.cli import CommandError
from noclobber.contract import Certainty, Severity

__all__ = ["add_program_options", "command_of", "environment_of"]


def add_program_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how the program runs and what counts as found."""
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="longest time of one run (default 60)")
    parser.add_argument("--exact", nargs="?", const="*", metavar="PATTERNS", help="as `noclobber run --exact`")
    parser.add_argument("--config", metavar="TOML", help="settings and declarations of resources")
    parser.add_argument("--fail-on", choices=[str(each) for each in Severity], default="low", metavar="SEVERITY")
    parser.add_argument("--min-certainty", choices=[str(each) for each in Certainty], default="likely", metavar="C")
    parser.add_argument("--kinds", metavar="KIND,KIND", help="only these kinds, such as lost_update,fork")
    parser.add_argument("--latent", action="store_true", help="also conflicts that luck alone kept apart")
    parser.add_argument("command", nargs="+", help="the program, after --")


def command_of(words: argparse.Namespace) -> list[str]:
    """The program's words.

    Raises:
        CommandError: none, or a time that is none.
    """
    if words.timeout <= 0:
        raise CommandError("--timeout is a number of seconds above 0")
    return [*words.command]


def environment_of(words: argparse.Namespace) -> dict[str, str]:
    """What the options mean for the program's environment."""
    chosen = {
        "NOCLOBBER_EXACT": words.exact,
        "NOCLOBBER_CONFIG": words.config and str(Path(words.config).absolute()),
    }
    return {name: value for name, value in chosen.items() if value}
