"""`noclobber compare`: what two runs found: new, gone, more often."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noclobber.cli import Command, CommandError

if TYPE_CHECKING:
    from noclobber_analyzer.finding import Finding

__all__ = ["COMMAND"]

ORDER: Final = ("new", "more often", "less often", "as before", "gone")
FAILING: Final = {"new": {"new"}, "more": {"new", "more often"}, "never": set[str]()}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber compare`."""
    parser.add_argument("before", type=Path, help="findings of the earlier run, as `check --format json` prints them")
    parser.add_argument("after", type=Path, help="findings of the later run")
    parser.add_argument(
        "--fail-on", choices=sorted(FAILING), default="new", help="exit 1 on new ones (default), also on more, never"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text (default), one for machines")


def run(words: argparse.Namespace) -> int:
    """Compare; 0: nothing that fails, 1: something, 2: unusable input."""
    from noclobber_analyzer.report.text import plain

    before, after = _read(words.before), _read(words.after)
    counts, others = _counted(before), _counted(after)
    shown = {**_shown(before), **_shown(after)}
    rows = sorted(
        ((_change(counts[key], others[key]), key) for key in shown), key=lambda row: (ORDER.index(row[0]), row[1])
    )
    for change, key in rows:
        finding = shown[key]
        if words.format == "json":
            told = {"change": change, "likeness": key, "before": counts[key], "after": others[key]}
            print(json.dumps({**told, "finding": json.loads(finding.to_json())}, ensure_ascii=False))
        else:
            what = f"{finding.kind} on {finding.resource}, {', '.join(finding.agents)}"
            print(f"{change:<10}  {counts[key]:>5} -> {others[key]:<5}  {plain(what)}  (id {finding.id[:12]})")
    if not rows and words.format == "text":
        print("neither run found anything")
    return 1 if any(change in FAILING[words.fail_on] for change, _ in rows) else 0


def _change(before: int, after: int) -> str:
    if not before:
        return "new"
    if not after:
        return "gone"
    return "as before" if before == after else "more often" if after > before else "less often"


def _read(path: Path) -> "list[Finding]":
    from noclobber_analyzer.report.json_lines import read_json_lines

    try:
        return read_json_lines(path)
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"{path} is no output of `check --format json`: {error}") from error


def _counted(findings: "Iterable[Finding]") -> Counter[str]:
    from noclobber_analyzer.likeness import likeness

    return Counter(map(likeness, findings))


def _shown(findings: "Iterable[Finding]") -> "dict[str, Finding]":
    """One finding for each bug: the first."""
    from noclobber_analyzer.likeness import likeness

    shown: dict[str, Finding] = {}
    for finding in findings:
        shown.setdefault(likeness(finding), finding)
    return shown


COMMAND = Command(
    name="compare",
    summary="what two runs found: new, gone, more often",
    configure=configure,
    run=run,
    epilog=(
        "Findings are known again by kind, resource without ports, ids and numbers, and place in the code without its\n"
        "line: two runs of one program compare whatever ids they had.\n\n"
        "examples:\n"
        "  noclobber check --format json monday.jsonl > monday.json\n"
        "  noclobber check --format json today.jsonl > today.json\n"
        "  noclobber compare monday.json today.json\n\n"
        "exit code: 0 nothing new, 1 something new, 2 unusable input"
    ),
)
