"""`noclobber backup` and `noclobber restore`: what is stored, into a folder and back."""

import argparse
from pathlib import Path

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.stores import add_store_options, opened

__all__ = ["BACKUP", "RESTORE"]


def configure_backup(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber backup`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="made anew; it must not hold anything")
    add_store_options(parser)


def configure_restore(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber restore`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `noclobber backup` made")
    add_store_options(parser)


def run_backup(words: argparse.Namespace) -> int:
    """Copy what is stored; 0 done, 2 unusable arguments, folder or store."""
    from noclobber_analyzer.clock import SYSTEM
    from noclobber_collector.backup import BackupError, backup

    with opened(words) as store:
        try:
            made = backup(store, words.folder, SYSTEM.now_ns(), _spool(words), _say)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
    print(f"{sum(made.rows.values()):,} rows and {len(made.segments)} waiting segments in {words.folder}")
    return 0


def run_restore(words: argparse.Namespace) -> int:
    """Bring a backup into an empty store; 0 done, 2 unusable arguments, folder or store."""
    from noclobber_collector.backup import BackupError, restore
    from noclobber_collector.commands import data_folder
    from noclobber_collector.lock import holder

    if not words.store:
        data = data_folder(words.data)
        who = holder(data)
        if who is not None:
            raise CommandError(f"process {who.pid} works on {data}: stop `noclobber up` first")
        (data / "store").mkdir(parents=True, exist_ok=True)
    with opened(words) as store:
        try:
            made = restore(store, words.folder, _spool(words, there=False), _say)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
    print(f"{sum(made.rows.values()):,} rows restored, {len(made.segments)} segments put into the spool")
    return 0


def _spool(words: argparse.Namespace, *, there: bool = True) -> Path | None:
    """The spool of the data folder; None for a store elsewhere, unless its collector's folder is named too."""
    from noclobber_collector.commands import data_folder

    if words.store and words.data is None:
        return None
    spool = data_folder(words.data) / "spool"
    return spool if spool.is_dir() or not there else None


def _say(line: str) -> None:
    print(line)


BACKUP = Command(
    name="backup",
    summary="copy what is stored into a folder",
    configure=configure_backup,
    run=run_backup,
    epilog=(
        "Rows of all tables, packed, with checksums; and the segments of the spool that were not loaded yet. Works\n"
        "beside a running `noclobber up`, and over a server. What was acknowledged in the last second may be missing.\n"
        "The key that prints of contents are made with (NOCLOBBER_KEY) is not in it: keep it elsewhere.\n\n"
        "examples:\n"
        "  noclobber backup /backups/2026-05-01\n"
        "  noclobber backup /backups/today --store http://default:secret@clickhouse:8123\n\n"
        "exit code: 0 done, 2 unusable arguments, folder or store"
    ),
)
RESTORE = Command(
    name="restore",
    summary="bring a backup into an empty store",
    configure=configure_restore,
    run=run_restore,
    epilog=(
        "Into a store that holds nothing: the embedded one of a new data folder, with `noclobber up` stopped, or a\n"
        "new database of a server. Whatever a backup was made of, it can be restored into either. Every file is\n"
        "checked before it is loaded, every table counted after it.\n\n"
        "examples:\n"
        "  noclobber restore /backups/2026-05-01 --data /var/lib/noclobber-new\n"
        "  noclobber restore /backups/2026-05-01 --store http://default:secret@clickhouse:8123/restored\n\n"
        "exit code: 0 done, 2 unusable arguments, folder or store"
    ),
)
