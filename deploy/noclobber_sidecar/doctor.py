"""`noclobber doctor`: what is instrumented, what is reached, what is dropped, how far clocks are apart.

It asks from the outside what a person would otherwise find out by guessing: whether this environment's libraries are
hooked, whether the collector that agents here send to answers, why the engine is not running, and what the record
itself says of its holes. Every line stands for one question and carries what to do. It works without a store, without a
sidecar and without an agent; what can't be asked then is said to be unknown, never fine.

Exit code: 0 nothing is wrong, 1 something is, 2 unusable arguments.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from noclobber.cli import Command
from noclobber_sidecar.doctor_lines import Line, State

__all__ = ["COMMAND"]

SIGNS: Final = {State.FINE: "ok  ", State.NOTE: "note", State.PROBLEM: "BAD "}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber doctor`."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="the sidecar's data folder (default: the user's)")
    parser.add_argument("--store", metavar="URL", help="a server's store: http(s)://user@host:8123/db")
    parser.add_argument("--token", default=os.environ.get("NOCLOBBER_TOKEN"), help="bearer token (or NOCLOBBER_TOKEN)")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(words: argparse.Namespace) -> int:
    """Ask everything; 0 where nothing is wrong, 1 where something is."""
    lines = list(_examined(words))
    problems = sum(line.state is State.PROBLEM for line in lines)
    if words.format == "json":
        print(json.dumps({"lines": [line.as_dict() for line in lines], "problems": problems}, ensure_ascii=False))
    else:
        _show(lines, problems)
    return 1 if problems else 0


def _examined(words: argparse.Namespace) -> Iterator[Line]:
    from noclobber.settings import load
    from noclobber_collector.commands import data_folder
    from noclobber_sidecar.doctor_reach import collector, instrumented, sidecar, store_of
    from noclobber_sidecar.doctor_record import record

    settings = load()
    data = data_folder(words.data)
    yield from instrumented(settings)
    yield from collector(settings)
    yield from sidecar(data, asked=words.data is not None)
    with store_of(data, words.store, words.token) as (store, lines):
        yield from lines
        if store is not None:
            yield from record(store)


def _show(lines: Sequence[Line], problems: int) -> None:
    for area in dict.fromkeys(line.area for line in lines):
        print(area)
        for line in (each for each in lines if each.area == area):
            print(f"  {SIGNS[line.state]}  {_printable(line.text)}")
            if line.advice:
                print(f"        {_printable(line.advice)}")
    print(f"\n{problems} problem{'s' * (problems != 1)} found" if problems else "\nnothing is wrong")


def _printable(text: str) -> str:
    """`text` without control characters: names of resources are other people's text, and this is a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


COMMAND = Command(
    name="doctor",
    summary="what is instrumented, reached and dropped; how far clocks are apart",
    configure=configure,
    run=run,
    epilog="exit code: 0 nothing is wrong, 1 something is, 2 unusable arguments",
)
