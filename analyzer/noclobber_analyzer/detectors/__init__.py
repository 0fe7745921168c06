"""The detectors: each kind is one small function named after the literature, over one resource or one history.

A detector proposes candidates with their grade and decides nothing else: precedence, sentence, advice and id come
after it. Cycles of dependencies (`cycles`) come last, since what is explained already is taken out first. To add a
kind: write its function, add it here and to `kinds.KINDS`, and give it a sentence and an advice.
"""

from collections.abc import Callable, Iterator
from typing import Final

from noclobber_analyzer.detectors.blind_overwrite import blind_overwrite
from noclobber_analyzer.detectors.causality import causal_violation
from noclobber_analyzer.detectors.check_then_act import check_then_act
from noclobber_analyzer.detectors.deadlock import deadlock
from noclobber_analyzer.detectors.dirty_read import dirty_read
from noclobber_analyzer.detectors.dirty_write import dirty_write
from noclobber_analyzer.detectors.double_claim import double_claim
from noclobber_analyzer.detectors.duplicates import duplicate_delivery, duplicate_effect
from noclobber_analyzer.detectors.fork import fork
from noclobber_analyzer.detectors.interleaved_writes import interleaved_writes
from noclobber_analyzer.detectors.intermediate_read import half_seen, intermediate_read
from noclobber_analyzer.detectors.lock_violation import foreign_unlock, lock_overlap, stale_token, unguarded
from noclobber_analyzer.detectors.lost_update import lost_update
from noclobber_analyzer.detectors.non_repeatable_read import non_repeatable_read
from noclobber_analyzer.detectors.passing import lost_message, out_of_order, position_fork
from noclobber_analyzer.detectors.phantom_read import phantom_read
from noclobber_analyzer.detectors.reordering import reordered
from noclobber_analyzer.detectors.sessions import monotonic_writes, session_reads
from noclobber_analyzer.detectors.skew_in_part import write_skew_in_part
from noclobber_analyzer.detectors.stale_read import missing_member, stale_read
from noclobber_analyzer.detectors.stale_write import stale_append, stale_basis
from noclobber_analyzer.detectors.unknown_writer import unknown_writer
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.state import State
from noclobber_analyzer.verdict import Candidate

__all__ = ["OF_HISTORY", "OF_STATE"]

OF_STATE: Final[tuple[Callable[[State, Evidence], Iterator[Candidate]], ...]] = (
    dirty_read,
    stale_token,
    unguarded,
    intermediate_read,
    half_seen,
    dirty_write,
    lost_update,
    fork,
    stale_append,
    interleaved_writes,
    session_reads,
    monotonic_writes,
    stale_read,
    non_repeatable_read,
    unknown_writer,
    blind_overwrite,
)
"""Detectors that look at one resource."""

OF_HISTORY: Final[tuple[Callable[[Evidence], Iterator[Candidate]], ...]] = (
    double_claim,
    duplicate_delivery,
    duplicate_effect,
    lock_overlap,
    foreign_unlock,
    deadlock,
    position_fork,
    lost_message,
    out_of_order,
    reordered,
    stale_basis,
    check_then_act,
    missing_member,
    causal_violation,
    phantom_read,
    write_skew_in_part,
)
"""Detectors that look at units and tasks across resources."""
