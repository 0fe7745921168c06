"""What can be measured of live analysis and of the alerts: a declared table, and how its values are come by.

Some are what the workers counted, some what the store tells of the last minutes: how far each process is complete,
holes, keys, findings. Asking the store is bounded to what arrived lately, and done anew twice a minute at most, however
often somebody scrapes. `noclobber analyzer` tells this table, an engine also that of its loader.

Source: alerts-and-safety.md, section 12 of the design.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from noclobber.contract import FRONTIER_END
from noclobber_collector.errors import StoreError
from noclobber_collector.metrics import Metric, Values
from noclobber_collector.store import Store

__all__ = ["ANALYZER", "Record", "of_analyzer", "of_sender"]

WINDOW_S: Final = 300
"""What arrived within so long is looked at for holes, frontiers and keys."""
SETTLED_S: Final = 30
"""What may still come: holes of so late are none yet."""
ASK_EVERY_S: Final = 30.0

ANALYZER: Final = (
    Metric("noclobber_analyzer_lag_seconds", "gauge", "seconds",
           "How far live analysis is behind what is loaded", "analyzer"),
    Metric("noclobber_analyzer_accesses_total", "counter", "accesses", "Accesses taken, each once", "analyzer"),
    Metric("noclobber_analyzer_kept_accesses", "gauge", "accesses", "Accesses kept in memory to judge by", "analyzer"),
    Metric("noclobber_analyzer_evicted_accesses_total", "counter", "accesses",
           "Accesses that fell out of memory for want of room", "analyzer"),
    Metric("noclobber_analyzer_late_unchecked_total", "counter", "accesses",
           "Accesses that came too late to be judged", "analyzer"),
    Metric("noclobber_analyzer_dirty_resources", "gauge", "resources", "Resources that wait to be judged", "analyzer"),
    Metric("noclobber_analyzer_waiting_resources", "gauge", "resources",
           "Resources whose verdict waits for the frontier of a process", "analyzer"),
    Metric("noclobber_analyzer_step_seconds", "gauge", "seconds", "How long the last step took", "analyzer"),
    Metric("noclobber_analyzer_revisions_total", "counter", "revisions", "Revisions of findings written", "analyzer"),
    Metric("noclobber_analyzer_failed_total", "counter", "resources", "Resources whose judgement failed: report it",
           "analyzer"),
    Metric("noclobber_silent_processes", "gauge", "processes",
           "Processes that sent no mark for 10 s and did not end in order", "analyzer"),
    Metric("noclobber_frontier_lag_seconds", "gauge", "seconds",
           "Age of what a process has vouched for last; of those that are not ended", "store", "process"),
    Metric("noclobber_seq_holes", "gauge", "accesses",
           "Accesses of the last minutes that were numbered and never arrived", "store"),
    Metric("noclobber_key_ids", "gauge", "keys",
           "Keys of fingerprints in use; prints of more than one do not compare", "store"),
    Metric("noclobber_findings", "gauge", "findings", "Findings that stand", "store", "kind"),
    Metric("noclobber_delivery_attempts_total", "counter", "attempts", "Attempts to deliver alerts", "sender",
           "endpoint"),
    Metric("noclobber_deliveries_total", "counter", "alerts", "Alerts delivered", "sender", "endpoint"),
    Metric("noclobber_deliveries_pending", "gauge", "alerts", "Alerts that wait to be delivered", "sender", "endpoint"),
)  # fmt: skip
"""What live analysis and the sender of alerts tell, and what the store tells of the last minutes."""

FRONTIERS: Final = (
    "SELECT process, max(ifNull(frontier_ns, 0)) AS frontier FROM accesses WHERE op = 'mark' "
    "AND segment >= {since:UInt64} GROUP BY process HAVING frontier < {ended:UInt64} ORDER BY frontier LIMIT 200"
)
HOLES: Final = (
    "SELECT sum(top - low + 1 - seen) FROM (SELECT max(seq) AS top, min(seq) AS low, uniqExact(seq) AS seen "
    "FROM accesses WHERE op NOT IN ('', 'mark') AND strand != '' AND segment >= {since:UInt64} "
    "AND segment < {until:UInt64} GROUP BY process, strand)"
)
KEYS: Final = "SELECT uniqExact(key_id) FROM accesses WHERE op = 'mark' AND key_id != '' AND segment >= {since:UInt64}"
FINDINGS: Final = (
    "SELECT kind, count() FROM (SELECT argMax(kind, revision) AS kind, argMax(status, revision) AS status "
    "FROM findings GROUP BY id) WHERE status = 'open' GROUP BY kind"
)


class Record:
    """What the store tells, as of half a minute ago at most; while it does not answer, nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._asked_at = -ASK_EVERY_S
        self._values: Values = {}

    def values(self) -> Values:
        """By the names of the table."""
        with self._lock:
            if time.monotonic() - self._asked_at >= ASK_EVERY_S:
                self._asked_at = time.monotonic()
                try:
                    self._values = self._ask()
                except StoreError:
                    self._values = {}
            return self._values

    def _ask(self) -> Values:
        now_s = time.time()
        since, until = (int((now_s - back_s) * 1_000) << 16 for back_s in (WINDOW_S, SETTLED_S))
        frontiers = self._store.rows(FRONTIERS, {"since": since, "ended": FRONTIER_END})
        ((holes,),) = self._store.rows(HOLES, {"since": since, "until": until})
        ((keys,),) = self._store.rows(KEYS, {"since": since})
        return {
            "noclobber_frontier_lag_seconds": {
                process: max(0.0, now_s - int(frontier) / 1e9) for process, frontier in frontiers
            },
            "noclobber_seq_holes": float(holes or 0),
            "noclobber_key_ids": float(keys),
            "noclobber_findings": {kind: float(count) for kind, count in self._store.rows(FINDINGS)},
        }


def of_analyzer(stats: Mapping[str, Any]) -> Values:
    """What live analysis tells of itself (`LiveAnalyzer.stats`)."""
    own = {
        "lag_seconds": "behind_seconds", "accesses_total": "accesses", "kept_accesses": "kept_accesses",
        "evicted_accesses_total": "evicted_accesses", "late_unchecked_total": "late_unchecked",
        "dirty_resources": "dirty_resources", "waiting_resources": "waiting_resources",
        "step_seconds": "step_seconds", "revisions_total": "written", "failed_total": "failed",
    }  # fmt: skip
    values: dict[str, float] = {f"noclobber_analyzer_{name}": float(stats[word]) for name, word in own.items()}
    return {**values, "noclobber_silent_processes": float(len(stats["silent_processes"]))}


def of_sender(health: Mapping[str, Any]) -> Values:
    """What the sender tells of its endpoints (`Sender.health`)."""
    return {
        "noclobber_delivery_attempts_total": {name: float(lane["attempts"]) for name, lane in health.items()},
        "noclobber_deliveries_total": {name: float(lane["delivered"]) for name, lane in health.items()},
        "noclobber_deliveries_pending": {name: float(lane["pending"]) for name, lane in health.items()},
    }
