"""`noclobber forget`: delete what the store knows of one resource, run or service."""

import argparse
import sys

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.stores import add_store_options, opened

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber forget`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--resource", metavar="URI", help="as findings show it; with a * at its end all that begin so")
    what.add_argument("--run", metavar="RUN", help="one run of an agent: a conversation, a thread, a job")
    what.add_argument("--service", metavar="NAME", help="all that processes of this service.name sent")
    parser.add_argument("--yes", action="store_true", help="do it; without this it only says what there is")
    add_store_options(parser)


def run(words: argparse.Namespace) -> int:
    """Say what there is, and with --yes delete it; 0 done, 1 the bytes are not gone yet, 2 unusable."""
    from noclobber_analyzer.clock import SYSTEM
    from noclobber_analyzer.forget import Target, forget, known_of

    target = Target(words.resource or "", words.run or "", words.service or "")
    if not any((target.resource.removesuffix("*"), target.run, target.service)):
        raise CommandError("that would be everything: name a resource, a run or a service")
    with opened(words) as store:
        if not words.yes:
            known = known_of(store, target)
            print(f"{known.accesses:,} accesses, {known.findings:,} findings, {known.entries:,} entries of the log")
            print("Nothing was deleted: say --yes to forget them.")
            return 0
        done = forget(store, target, SYSTEM.now_ns())
    print(f"forgotten: {done.accesses:,} accesses, {done.findings:,} findings, {done.entries:,} entries of the log")
    if not done.gone:
        print("noclobber: deleted; the old files leave the disk within the next minutes", file=sys.stderr)
    return 0 if done.gone else 1


COMMAND = Command(
    name="forget",
    summary="delete what the store knows of one resource, run or service",
    configure=configure,
    run=run,
    epilog=(
        "Deletes the accesses, takes back the findings that rest on them, empties what the log of issues kept of\n"
        "them, and rewrites the files, so that the bytes leave the disk. Works beside a running `noclobber up`.\n"
        "Let the agents come to rest before: the spool keeps what it has loaded for five minutes, live analysis its\n"
        "window of some minutes. Backups and alerts that were sent keep what they have. After a run or a service was\n"
        "forgotten, `analyze` over that time may name an unknown writer where its accesses stood.\n\n"
        "examples:\n"
        "  noclobber forget --resource redis://cache:6379/0/user:42          what is there?\n"
        "  noclobber forget --resource 'redis://cache:6379/0/user:42*' --yes\n"
        "  noclobber forget --run thread-8c1f --yes\n"
        "  noclobber forget --service billing --store http://default:secret@clickhouse:8123 --yes\n\n"
        "exit code: 0 done, 1 deleted but the old files are not gone yet, 2 unusable arguments or store"
    ),
)
