"""What a write rests on: its base, how far that is to be trusted, whether the store itself compared it.

Source: contract 2.3 (guarded) and 2 (`base.source`), detection.md 2.4.
"""

from typing import Final

from noclobber.contract import BaseSource, Certainty, Guard, Op, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.order import Answer
from noclobber_analyzer.verdict import Grade

__all__ = ["EXACT", "guarded", "is_overwrite", "made_to_wait", "source_grade", "unseen_before", "what_would_tell"]

EXACT: Final = "what the write replaced: let noclobber ask the store for it (`noclobber run --exact`)"
UNCOMPARED: Final = "a base that was read from the store: what was sent need not be what the store then holds"


def is_overwrite(write: Access) -> bool:
    """Whether a write replaces what is there: mode `overwrite`, or a delete."""
    return write.op is Op.DELETE or (write.op is Op.WRITE and write.mode is WriteMode.OVERWRITE)


def guarded(write: Access) -> bool:
    """Whether the store compared the write's own base before it applied it."""
    if write.guard is Guard.UNIQUE:
        return True
    if write.guard is not Guard.VERSION:
        return False
    return write.expected is None or write.base is None or write.expected == write.base


def source_grade(write: Access, *, recorded: bool) -> Grade:
    """The most that the base's source carries; `recorded`: the store itself says what was replaced."""
    if write.base_source in (BaseSource.EXPLICIT, BaseSource.OBSERVED):
        return Grade()
    if write.base_source is BaseSource.RECALLED:
        return Grade() if recorded else Grade().at_most(Certainty.LIKELY, what_would_tell(write))
    missing = "the read that the value was computed from, within the step or the run of the write"
    return Grade().at_most(Certainty.POSSIBLE, missing)


def unseen_before(other: Access, write: Access, evidence: Evidence) -> bool:
    """Whether nothing shows that the writer's base was got after `other` had taken effect, or that it came later."""
    base = evidence.state(write.resource).base_of(write)
    if base is not None and evidence.took_effect_before(other, base) is not None:
        return False
    return evidence.writes_before(write, other) is None


def what_would_tell(write: Access) -> str:
    """What would lift a verdict on this write from time to versions."""
    return UNCOMPARED if write.overwritten is not None else EXACT


def made_to_wait(victim: Access | None, write: Access, evidence: Evidence) -> bool:
    """Whether the writer waited for the victim in sync order: no race was needed to lose it."""
    return victim is not None and evidence.order.path(victim, write) is Answer.YES
