"""How far an analyzer is, so that a new process goes on where the old one was.

The checkpoint is written after the findings: whatever a crash interrupts is done again, and doing it again changes
nothing. It holds the cursor and where the kept history began; that history is read again from the store, so that no
state can disagree with it.

Source: analysis.md 9 (order of writing).
"""

import logging
from typing import Final

import msgspec

from noclobber_analyzer.cursor import Cursor
from noclobber_analyzer.tables import Store

__all__ = ["Checkpoint", "earlier", "read_checkpoint", "write_checkpoint"]

FORM: Final = 1
log = logging.getLogger("noclobber.analyzer")


class Checkpoint(msgspec.Struct):
    """How far an analyzer is.

    Attributes:
        cursor: what it has read.
        kept_from_ns: when the oldest segment of its kept history was opened.
        cut: processes of which accesses had fallen out of it. gone_ns: the latest return of these, by process.
        form: of this record; another one is not read.
    """

    cursor: Cursor
    kept_from_ns: int = 0
    cut: list[str] = []
    gone_ns: dict[str, int] = {}
    form: int = FORM


def read_checkpoint(store: Store, analyzer: str) -> Checkpoint | None:
    """The newest checkpoint; None: there is none, or none that this version can read."""
    sql = "SELECT body FROM cursors WHERE analyzer = {name:String} ORDER BY at_ns DESC LIMIT 1"
    rows = store.rows(sql, {"name": analyzer})
    if not rows:
        return None
    try:
        checkpoint = msgspec.json.decode(rows[0][0], type=Checkpoint)
    except msgspec.DecodeError as error:
        log.warning("the checkpoint of analyzer %s can't be read (%s): reading everything again", analyzer, error)
        return None
    return checkpoint if checkpoint.form == FORM else None


def write_checkpoint(store: Store, analyzer: str, checkpoint: Checkpoint, now_ns: int) -> None:
    """Write a checkpoint; the older ones fall out by themselves."""
    body = msgspec.json.encode(checkpoint).decode()
    store.insert("cursors", ("analyzer", "at_ns", "body"), [(analyzer, now_ns, body)])


def earlier(one: Checkpoint, other: Checkpoint) -> Checkpoint:
    """Where to go on so that nothing is left out after either of two checkpoints; what both have read is read again."""
    last = {
        name: min(number, other.cursor.last[name])
        for name, number in one.cursor.last.items()
        if name in other.cursor.last
    }
    both = {tuple(note) for note in other.cursor.recent}
    recent = [note for note in one.cursor.recent if tuple(note) in both]
    return Checkpoint(
        Cursor(last, min(one.cursor.noted_ns, other.cursor.noted_ns), recent),
        min(one.kept_from_ns, other.kept_from_ns),
        sorted({*one.cut, *other.cut}),
    )
