"""`noclobber findings`: list, show or export what was found, from the store."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError
from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.commands.moments import moment_ns
from noclobber_analyzer.commands.output import table_lines
from noclobber_analyzer.commands.stores import add_store_options, opened

if TYPE_CHECKING:
    from noclobber_analyzer.archive import Wanted
    from noclobber_analyzer.tables import Store

__all__ = ["COMMAND"]

LIMIT = 50
PREFIX_MIN = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber findings`."""
    parser.add_argument("what", nargs="?", choices=("list", "show", "export"), default="list", help="default: list")
    parser.add_argument("id", nargs="?", metavar="ID", help="of the finding to show; its first letters are enough")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text (default); json: one a line")
    parser.add_argument("--kinds", metavar="KIND,KIND", help="only these kinds, such as lost_update,fork")
    parser.add_argument(
        "--min-certainty", choices=[str(c) for c in Certainty], metavar="C", help="certain, likely, ..."
    )
    parser.add_argument("--min-severity", choices=[str(s) for s in Severity], metavar="S", help="critical, high")
    parser.add_argument("--resource", metavar="TEXT", help="only resources that contain this")
    parser.add_argument("--agent", metavar="NAME", help="only findings that this agent takes part in")
    parser.add_argument("--issue", metavar="ISSUE", help="only findings of this issue")
    parser.add_argument("--since", metavar="T", help="only what happened from then on: 2h, 7d, 2026-05-01")
    parser.add_argument(
        "--status", choices=("open", "retracted", "all"), default="open", help="open (default), retracted, all"
    )
    parser.add_argument("--latent", action="store_true", help="those that luck kept apart, the narrowest escape first")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"so many at most (default {LIMIT})")
    add_store_options(parser)


def run(words: argparse.Namespace) -> int:
    """Print what was asked for; 0: done, 2: unusable arguments or store, or no such finding."""
    if (words.what == "show") != (words.id is not None):
        raise CommandError("`noclobber findings show` takes the id of one finding; the others take none")
    if words.limit < 1:
        raise CommandError(f"--limit takes a number from 1 on, not {words.limit}")
    wanted = _wanted(words)
    task: Callable[[Store, argparse.Namespace, Wanted], int] = {"list": _list, "show": _show, "export": _export}[
        words.what
    ]
    with opened(words) as store:
        return task(store, words, wanted)


def _wanted(words: argparse.Namespace) -> "Wanted":
    from noclobber_analyzer.archive import Wanted
    from noclobber_analyzer.clock import SYSTEM

    names = [name.strip() for name in (words.kinds or "").split(",") if name.strip()]
    known = {str(kind) for kind in Kind}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise CommandError(f"there is no kind '{wrong[0]}'. Known: {', '.join(sorted(known))}")
    return Wanted(
        kinds=tuple(Kind(name) for name in names),
        certainty=Certainty(words.min_certainty or Certainty.POSSIBLE),
        severity=Severity(words.min_severity or Severity.LOW),
        resource=words.resource or "",
        agent=words.agent or "",
        issue=words.issue or "",
        since_ns=moment_ns(words.since, "--since", SYSTEM.now_ns()) or 0,
        status="" if words.status == "all" else words.status,
        latent=words.latent,
    )


def _list(store: "Store", words: argparse.Namespace, wanted: "Wanted") -> int:
    from noclobber_analyzer.archive import find, total

    found = find(store, wanted, words.limit)
    if words.format == "json":
        for finding in found:
            print(finding.to_json())
        return 0
    for line in table_lines(found):
        print(line)
    matching = total(store, wanted) if len(found) == words.limit else len(found)
    if matching > len(found):
        print(f"{len(found)} of {matching} findings; --limit {matching} shows all, `noclobber findings export` too")
    elif found:
        print(f"{matching} findings; `noclobber findings show ID` explains one")
    else:
        print("no findings" if wanted.is_everything else "no findings fit; fewer filters, or --status all, show more")
    return 0


def _show(store: "Store", words: argparse.Namespace, _: "Wanted") -> int:
    from noclobber_analyzer.archive import by_prefix
    from noclobber_analyzer.report.text import finding_lines

    prefix = words.id.strip().lower()
    if len(prefix) < PREFIX_MIN:
        raise CommandError(f"'{words.id}' is too short for an id: give {PREFIX_MIN} letters of it at least")
    found = by_prefix(store, prefix)
    if not found:
        raise CommandError(f"there is no finding '{words.id}'; `noclobber findings list --status all` shows all")
    if len(found) > 1:
        raise CommandError(f"several findings begin with '{words.id}': {_some([each.id for each in found])}")
    finding = found[0]
    if words.format == "json":
        print(finding.to_json())
        return 0
    for line in finding_lines(finding):
        print(line)
    print(f"    issue {finding.issue}, revision {finding.revision}, {finding.status}")
    return 0


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def _export(store: "Store", _words: argparse.Namespace, wanted: "Wanted") -> int:
    from noclobber_analyzer.archive import each

    for finding in each(store, wanted):
        print(finding.to_json())
    return 0


COMMAND = Command(
    name="findings",
    summary="list, show or export what was found",
    configure=configure,
    run=run,
    epilog=(
        "Works beside a running `noclobber up`: then it reaches the store through it.\n\n"
        "examples:\n"
        "  noclobber findings\n"
        "  noclobber findings list --min-certainty certain --since 1d --resource acct:\n"
        "  noclobber findings show 3b4f5d\n"
        "  noclobber findings export --status all > findings.jsonl\n\n"
        "exit code: 0 done, 2 unusable arguments or store, or no such finding"
    ),
)
