"""`noclobber access`: API tokens, and the audit log, from a terminal."""

# ruff: noqa: T201  a command's output

import argparse
import json
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.acting import done, wall_ns
from noclobber_analyzer.commands.moments import moment_ns, moment_text
from noclobber_analyzer.commands.stores import add_store_options

if TYPE_CHECKING:
    from noclobber_analyzer.tables import Store

__all__ = ["ACCESS"]

TASKS = ("tokens", "make", "revoke", "audit")
LIMIT = 50


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=TASKS, default="tokens", help="default: tokens")
    parser.add_argument("word", nargs="?", metavar="WORD", help="make: the token's name; revoke: its id")
    parser.add_argument("--scope", action="append", default=[], metavar="S", help="read (default), operate, store")
    parser.add_argument("--for", dest="length", metavar="T", help="how long a token is taken: 12h, 30d (default: ever)")
    parser.add_argument("--as", dest="actor", metavar="NAME", help="who does it (default: your login)")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"audit: entries (default {LIMIT})")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="audit: text, or JSON, one a line")
    add_store_options(parser)


def _run(words: argparse.Namespace) -> int:
    if (words.what in ("make", "revoke")) != (words.word is not None):
        raise CommandError("`make` takes a name, `revoke` an id, the others nothing")
    return done(words, {"tokens": _tokens, "make": _make, "revoke": _revoke, "audit": _audit})


def _tokens(store: "Store", _words: argparse.Namespace) -> int:
    from noclobber_analyzer.report.text import plain
    from noclobber_dashboard.tokens import read_tokens

    every, now_ns = read_tokens(store), wall_ns()
    for each in every:
        ended = "revoked" if each.revoked_ns else "" if each.is_valid(now_ns) else "over"
        until = f"until {moment_text(each.until_ns)}" if each.until_ns else "for ever"
        scopes = ",".join(sorted(each.scopes))
        print(f"{each.id}  {plain(each.name)}  {scopes}  {ended or until}  "
              f"made {moment_text(each.made_ns)} by {plain(each.author)}")  # fmt: skip
    if not every:
        print("no API tokens; `noclobber access make NAME --scope read` makes one")
    return 0


def _make(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.audit import at_terminal, from_where
    from noclobber_analyzer.tables import append_transitions
    from noclobber_dashboard.identity import scopes_from
    from noclobber_dashboard.tokens import make_token

    now_ns = wall_ns()
    ago_ns = moment_ns(words.length, "--for", now_ns)
    until_ns = 0 if ago_ns is None else now_ns + (now_ns - ago_ns)
    if ago_ns is not None and until_ns <= now_ns:
        raise CommandError("--for says how long the token is taken: 12h, 30d")
    text, row = make_token(
        words.word, scopes_from(words.scope or ["read"]), actor=words.actor, now_ns=now_ns, until_ns=until_ns
    )
    append_transitions(store, [from_where(row, at_terminal())])
    print(text)
    return 0


def _revoke(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.audit import at_terminal, from_where
    from noclobber_analyzer.tables import append_transitions
    from noclobber_dashboard.tokens import read_tokens, revoke_row

    token = next((each for each in read_tokens(store) if each.id == words.word), None)
    if token is None:
        raise CommandError(f"there is no token '{words.word}'; `noclobber access tokens` lists them")
    if not token.revoked_ns:
        row = revoke_row(token, actor=words.actor, now_ns=wall_ns())
        append_transitions(store, [from_where(row, at_terminal())])
    print(f"token {token.id} ({token.name}) is revoked")
    return 0


def _audit(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.audit import every_act
    from noclobber_analyzer.report.text import plain

    if words.limit < 1:
        raise CommandError(f"--limit takes a number from 1 on, not {words.limit}")
    for act in islice(every_act(store), words.limit):
        if words.format == "json":
            print(json.dumps(asdict(act)))
            continue
        cells = (moment_text(act.at_ns), act.who, act.what, act.about, act.origin or "-", act.why)
        print("  ".join(plain(cell) for cell in cells).rstrip())
    return 0


ACCESS = Command(
    name="access",
    summary="API tokens, and who did what",
    configure=_configure,
    run=_run,
    epilog=(
        "A token is shown once; the store keeps its hash. Whoever shows it as `Authorization: Bearer` may do what its\n"
        "scopes say: read (pages and API), operate (issues, silences, routes), store (what commands beside a sidecar\n"
        "need). Works beside a running `noclobber up`: then it reaches the store through it.\n\n"
        "examples:\n"
        "  noclobber access make grafana --scope read --for 90d\n"
        "  noclobber access tokens\n"
        "  noclobber access revoke 3b4f5d0a1c2e\n"
        "  noclobber access audit --limit 200\n\n"
        "exit code: 0 done, 2 unusable arguments or store"
    ),
)
