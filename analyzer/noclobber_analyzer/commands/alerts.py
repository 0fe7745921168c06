"""`noclobber alerts`: silences, dead letters and samples, from a terminal."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.acting import Task, done, wall_ns
from noclobber_analyzer.commands.moments import moment_ns, moment_text
from noclobber_analyzer.commands.stores import add_store_options

if TYPE_CHECKING:
    from noclobber_analyzer.issues import Transition
    from noclobber_analyzer.tables import Store

__all__ = ["COMMAND"]

TASKS = ("silences", "silence", "unsilence", "dead", "resend", "test", "enable")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber alerts`."""
    parser.add_argument("what", nargs="?", choices=TASKS, default="silences", help="default: silences")
    parser.add_argument("words", nargs="*", metavar="WORD", help="matchers, an id, message ids, or a route's name")
    parser.add_argument("--for", dest="length", metavar="T", help="how long a silence lasts: 30m, 2h, 7d")
    parser.add_argument("--from", dest="start", metavar="T", help="when it begins (default: now): 2026-05-01T09:30")
    parser.add_argument("--comment", default="", help="why; a silence needs one")
    parser.add_argument("--all", action="store_true", help="resend: all dead letters; silences: those over, too")
    parser.add_argument("--as", dest="actor", metavar="NAME", help="who does it (default: your login)")
    add_store_options(parser)


def run(words: argparse.Namespace) -> int:
    """Do what was asked for; 0: done, 2: unusable arguments or store."""
    tasks: dict[str, Task] = {
        "silences": _silences, "silence": _silence, "unsilence": _unsilence, "dead": _dead, "resend": _resend,
        "test": _test, "enable": _enable,
    }  # fmt: skip
    return done(words, tasks)


def _append(store: "Store", rows: Sequence["Transition"]) -> None:
    from noclobber_analyzer.alerts.audit import at_terminal, from_where
    from noclobber_analyzer.tables import append_transitions

    append_transitions(store, [from_where(row, at_terminal()) for row in rows])


def _silences(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.silences import SILENCE_ADDED, SILENCE_ENDED, silences_from
    from noclobber_analyzer.report.text import plain
    from noclobber_analyzer.tables import read_transitions_of

    now_ns = wall_ns()
    every = silences_from(read_transitions_of(store, [SILENCE_ADDED, SILENCE_ENDED]))
    shown = [each for each in every if words.all or each.end_ns > now_ns]
    for each in shown:
        state = "over" if each.end_ns <= now_ns else "active" if each.start_ns <= now_ns else "to come"
        until = f"{moment_text(each.start_ns)} to {moment_text(each.end_ns)} UTC"
        matchers = " ".join(map(str, each.matchers))
        print(f"{each.id}  {state}  {until}  {plain(matchers)}  {plain(each.author)}: {plain(each.comment)}")
    if not shown:
        print("no silences: whatever is found is told")
    return 0


def _silence(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.silences import silence_row

    now_ns = wall_ns()
    ago_ns = moment_ns(words.length, "--for", now_ns)
    if ago_ns is None or ago_ns >= now_ns:
        raise CommandError("for how long? Say --for 2h, or another time such as 30m or 7d")
    start_ns = moment_ns(words.start, "--from", now_ns) if words.start else now_ns
    assert start_ns is not None
    end_ns = start_ns + (now_ns - ago_ns)
    row = silence_row(words.words, start_ns, end_ns, comment=words.comment, actor=words.actor, now_ns=now_ns)
    _append(store, [row])
    print(f"silence {row.issue}: nothing is told of {' '.join(words.words)} until {moment_text(end_ns)} UTC")
    return 0


def _unsilence(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.silences import SILENCE_ADDED, SILENCE_ENDED, end_row, silences_from
    from noclobber_analyzer.tables import read_transitions_of

    every = {each.id: each for each in silences_from(read_transitions_of(store, [SILENCE_ADDED, SILENCE_ENDED]))}
    name = _one(words, "a silence's id")
    if name not in every:
        raise CommandError(f"there is no silence '{name}'; `noclobber alerts silences` lists them")
    _append(store, [end_row(every[name], actor=words.actor, now_ns=wall_ns())])
    print(f"silence {name} is over")
    return 0


def _dead(store: "Store", _words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.dead import dead_letters
    from noclobber_analyzer.report.text import plain

    letters = dead_letters(store)
    for each in letters:
        answer = plain(each.answer.splitlines()[0])[:80] if each.answer else ""
        print(f"{each.id}  {moment_text(each.at_ns)}  {plain(each.endpoint)}  {each.attempt} attempts  "
              f"{each.status}  {answer}".rstrip())  # fmt: skip
    print(f"{len(letters)} given up; `noclobber alerts resend ID` sends one again" if letters else "none was given up")
    return 0


def _resend(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.dead import dead_letters
    from noclobber_analyzer.alerts.route_log import resend_row

    letters = {each.id: each for each in dead_letters(store)}
    names = list(letters) if words.all else words.words
    unknown = [name for name in names if name not in letters]
    if unknown or not (names or words.all):
        raise CommandError(f"'{(unknown or [''])[0]}' is no dead letter; `noclobber alerts dead` lists them")
    chosen = [letters[name] for name in names]
    _append(store, [resend_row(each.endpoint, each.transition, words.actor, wall_ns()) for each in chosen])
    print(f"{len(chosen)} to be sent again by the running sender")
    return 0


def _test(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.route_log import sample_row

    name = _route(store, words)
    _append(store, [sample_row(name, words.actor, wall_ns())])
    print(f"a sample is sent to {name} by the running sender")
    return 0


def _enable(store: "Store", words: argparse.Namespace) -> int:
    from noclobber_analyzer.alerts.route_log import enable_row

    name = _route(store, words)
    _append(store, [enable_row(name, words.actor, wall_ns())])
    print(f"{name} is used again")
    return 0


def _route(store: "Store", words: argparse.Namespace) -> str:
    from noclobber_analyzer.alerts.route_log import ADDED, REMOVED
    from noclobber_analyzer.tables import read_transitions_of

    known = {row.issue: row.kind == ADDED for row in read_transitions_of(store, [ADDED, REMOVED])}
    names = sorted(name for name, is_used in known.items() if is_used)
    name = _one(words, "a route's name")
    if name not in names:
        raise CommandError(f"there is no route '{name}'. Known: {', '.join(names) or 'none'}")
    return name


def _one(words: argparse.Namespace, what: str) -> str:
    if len(words.words) != 1:
        raise CommandError(f"`noclobber alerts {words.what}` takes {what}")
    return str(words.words[0])


COMMAND = Command(
    name="alerts",
    summary="silences, messages that were given up, and samples",
    configure=configure,
    run=run,
    epilog=(
        "Works beside a running `noclobber up`: then it reaches the store through it.\n\n"
        "examples:\n"
        "  noclobber alerts silence kind=lost_update 'resource=redis://*/cache:*' --for 2h --comment 'load test'\n"
        "  noclobber alerts unsilence 3b4f5d0a1c2e4f60\n"
        "  noclobber alerts dead\n"
        "  noclobber alerts resend --all\n"
        "  noclobber alerts test on-call\n\n"
        "exit code: 0 done, 2 unusable arguments or store"
    ),
)
