"""How far clocks are apart by what is stored: the newest accesses of the last hour, as `noclobber doctor` shows it.

The same estimate as for a verdict (`clock_bounds`), over a part that takes a second at most to read.
"""

from typing import Final

from noclobber_analyzer.clock_bounds import ClockBounds, measure_clocks
from noclobber_analyzer.cursor import Store
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.rows import add_spans, read_spans

__all__ = ["NEWEST_MAX", "stored_clocks"]

NEWEST_MAX: Final = 20_000
"""Accesses that are looked at, the newest."""
_LATELY: Final = (
    "op NOT IN ('', 'mark') AND minute + 60 >= (SELECT max(minute) FROM accesses WHERE op NOT IN ('', 'mark'))"
)
_NEWEST: Final = f"SELECT start_ns FROM accesses WHERE {_LATELY} ORDER BY start_ns DESC LIMIT {{most:UInt32}}"  # noqa: S608  constants only
NEWEST: Final = f"{_LATELY} AND start_ns >= (SELECT min(start_ns) FROM ({_NEWEST}))"  # noqa: S608  constants only


def stored_clocks(store: Store) -> ClockBounds:
    """What the newest accesses tell of their processes' clocks."""
    builder = HistoryBuilder()
    add_spans(builder, read_spans(store, NEWEST, {"most": NEWEST_MAX}))
    history = builder.finish(ended=True, whole=False)
    return measure_clocks(history.accesses, history.processes.values(), whole=history.coverage.is_whole)
