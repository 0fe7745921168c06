"""What was acknowledged, compared with what the store holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from load import Load

Rows = Callable[[str], Sequence[tuple[Any, ...]]]
NUMBER = "reinterpretAsUInt64(reverse(substring(trace_id, 9)))"
"""The number of a span that `made` made: its trace id."""
STORED = f"SELECT {NUMBER} AS number, count() FROM accesses WHERE strand LIKE 'client-%' GROUP BY number"
VISIBLE = "SELECT count() FROM (SELECT 1 FROM accesses WHERE strand LIKE 'client-%' LIMIT 1 BY trace_id, span_id)"
FINDINGS = "SELECT id FROM findings GROUP BY id HAVING argMax(status, revision) = 'open' ORDER BY id"
REVISIONS = "SELECT max(n) FROM (SELECT count() AS n FROM findings GROUP BY id, revision)"


@dataclass(frozen=True, slots=True)
class Ledger:
    """One comparison.

    Attributes:
        acknowledged: how many spans were. sent_again: how many had to be sent more than once.
        lost: acknowledged, and not in the store. doubled: stored more often than they were sent.
        visible_twice: seen more than once by those who read (`LIMIT 1 BY trace_id, span_id`).
        unknown: stored, and never sent.
    """

    acknowledged: int
    sent_again: int
    lost: int
    doubled: int
    visible_twice: int
    unknown: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or invented."""
        return not (self.lost or self.doubled or self.visible_twice or self.unknown)


def compare(rows: Rows, load: Load) -> Ledger:
    """Compare what a load knows with what a store holds."""
    stored = {int(number): int(count) for number, count in rows(STORED)}
    ((visible,),) = rows(VISIBLE)
    return Ledger(
        acknowledged=len(load.acknowledged),
        sent_again=sum(count > 1 for count in load.sent.values()),
        lost=len(load.acknowledged - stored.keys()),
        doubled=sum(count > load.sent[number] > 0 for number, count in stored.items()),
        visible_twice=int(visible) - len(stored),
        unknown=len(stored.keys() - load.sent.keys()),
    )


def open_findings(rows: Rows) -> list[str]:
    """Ids of the findings that stand, ascending."""
    return [row[0] for row in rows(FINDINGS)]


def is_written_once(rows: Rows) -> bool:
    """Whether each revision of each finding is there once."""
    return [tuple(row) for row in rows(REVISIONS)] in ([(1,)], [(0,)])
