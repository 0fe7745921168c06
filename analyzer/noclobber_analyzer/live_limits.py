"""What bounds a live analysis, and what it counts."""

from dataclasses import dataclass
from typing import Final

from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.cursor import BATCH_ROWS_MAX
from noclobber_analyzer.live_latent import EVERY_NS

__all__ = ["KEPT_NS", "Limits", "Totals"]

KEPT_NS: Final = 3_600 * SECOND_NS
"""How long before the newest segment the kept history begins."""
ACCESSES_MAX: Final = 200_000
"""Accesses kept at most; each takes 1 to 2 kB."""
RESOURCES_MAX: Final = 10_000
"""Dirty resources judged in one step."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a live analysis.

    Attributes:
        kept_ns, accesses_max: the kept history, by age of segments and by number.
        batch_rows_max: rows read in one step. resources_max: resources judged in one step.
        whole_max: kept accesses up to which every judgement sees all of them.
        latent_every_ns: least time between two looks for what luck kept apart; 0: it does not look.
    """

    kept_ns: int = KEPT_NS
    accesses_max: int = ACCESSES_MAX
    batch_rows_max: int = BATCH_ROWS_MAX
    resources_max: int = RESOURCES_MAX
    whole_max: int = 4_000
    latent_every_ns: int = EVERY_NS


@dataclass(slots=True)
class Totals:
    """Counted since the start.

    Attributes:
        rows: read. accesses: taken, each once. unreadable: rows that lack what every access must have.
        late: accesses that came behind their process's frontier. late_unchecked: those that came when what they would
            be judged by had fallen out of the kept history; so do those that are sent again then. Not judged.
        judgements: evaluations made. written: revisions of findings; retracted: those of them that take one back.
        contradicted: certain findings that were not found again: bugs.
        failed: resources whose judgement raised an error.
        quiet: resources that were touched and needed no judgement.
    """

    rows: int = 0
    accesses: int = 0
    unreadable: int = 0
    late: int = 0
    late_unchecked: int = 0
    judgements: int = 0
    written: int = 0
    retracted: int = 0
    contradicted: int = 0
    failed: int = 0
    quiet: int = 0
