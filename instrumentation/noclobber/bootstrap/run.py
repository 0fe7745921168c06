"""`noclobber run`: a Python program with its shared state instrumented, without a line in it.

It replaces itself by the program, with a boot folder first in `PYTHONPATH`; Python loads the `sitecustomize` in there
before the program begins. Signals, exit codes, standard streams and the process id are the program's own. Child
processes of the program inherit the instrumentation.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from noclobber.cli import Command, CommandError

__all__ = ["COMMAND"]

BOOT: Final = str(Path(__file__).parent / "boot")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber run`."""
    parser.usage = "noclobber run [OPTIONS] -- COMMAND [ARGUMENT ...]"
    parser.add_argument("--agent", metavar="NAME", help="name of the agent that this program is")
    parser.add_argument(
        "--exact",
        nargs="?",
        const="*",
        metavar="PATTERNS",
        help="ask the store what a write replaces, so that findings can be certain; comma-separated URI patterns",
    )
    parser.add_argument("--endpoint", metavar="URL", help="where the collector listens (default http://127.0.0.1:4318)")
    parser.add_argument("--token", help="the collector's token (better: NOCLOBBER_TOKEN)")
    parser.add_argument("--file", metavar="PATH", help="write the spans to this file too, as OTLP/JSON lines")
    parser.add_argument("--file-only", action="store_true", help="write them to the file and send them nowhere")
    parser.add_argument("--config", metavar="TOML", help="configuration and declarations of resources")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the program, after --")


def run(words: argparse.Namespace) -> int:
    """Become the program; returns only where it can't be started."""
    command = words.command[1:] if words.command[:1] == ["--"] else words.command
    if not command:
        raise CommandError("which program? `noclobber run -- python agent.py`")
    if words.file_only and not words.file:
        raise CommandError("--file-only needs --file PATH")
    if words.config and not Path(words.config).is_file():
        raise CommandError(f"there is no configuration file {words.config}")
    if command[0].endswith(".py") and not os.access(command[0], os.X_OK):
        command = [sys.executable, *command]
    program = shutil.which(command[0])
    if program is None:
        raise CommandError(f"there is no program '{command[0]}'")
    environment = {**os.environ, **_settings(words), "PYTHONPATH": _path(os.environ.get("PYTHONPATH"))}
    script = next((word for word in command if word.endswith(".py")), None)
    environment["NOCLOBBER_PROGRAM"] = script or Path(command[0]).name
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, command, environment)  # noqa: S606  it becomes what the user typed
    except OSError as error:
        raise CommandError(f"can't run '{command[0]}': {error.strerror}") from error


def _settings(words: argparse.Namespace) -> dict[str, str]:
    chosen = {
        "NOCLOBBER_AGENT": words.agent,
        "NOCLOBBER_EXACT": words.exact,
        "NOCLOBBER_ENDPOINT": words.endpoint,
        "NOCLOBBER_TOKEN": words.token,
        "NOCLOBBER_FILE": words.file and str(Path(words.file).absolute()),
        "NOCLOBBER_FILE_ONLY": "1" if words.file_only else None,
        "NOCLOBBER_CONFIG": words.config and str(Path(words.config).absolute()),
    }
    return {name: value for name, value in chosen.items() if value}


def _path(before: str | None) -> str:
    return os.pathsep.join((BOOT, before)) if before else BOOT


COMMAND = Command(
    name="run",
    summary="run a Python program with its shared state instrumented",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber run -- python agent.py\n"
        "  noclobber run --agent planner --exact -- python -m agents.planner\n"
        "  noclobber run --file run.jsonl --file-only -- python agent.py && noclobber check run.jsonl"
    ),
)
