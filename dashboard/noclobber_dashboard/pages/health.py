"""Can what is shown be trusted? What arrived, what was lost, who is silent, whose clock and key are whose."""

import time
from collections.abc import Sequence
from typing import Final

import streamlit as st

from noclobber.contract import FRONTIER_END
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.lacks import lacks, state_of
from noclobber_dashboard.pages.boundary import guarded
from noclobber_dashboard.pages.tables import ROW_HEIGHT
from noclobber_dashboard.records import ClockRecord, CoverageRecord, DeliveryRecord, ProcessRecord
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, clock_time, duration, plural, window

__all__ = ["render"]

REFRESH_S: Final = 5
SHOWN_MAX: Final = 200
DELIVERIES_READ: Final = 40
TABLE_HEIGHT_MAX: Final = 360


def render() -> None:
    """Show the health of the recording; it refreshes by itself."""
    prose([Node("h1", children=("Health",))], key="health-title")
    _live()


@st.fragment(run_every=REFRESH_S)
def _live() -> None:
    guarded(_parts)()


def _parts() -> None:
    queries = served().queries
    processes, totals = queries.processes(), queries.totals()
    if not processes:
        lately = window(queries.window_min())
        nothing_here(
            f"No process has reported in the {lately}", "Start an agent with its shared state recorded:", RUN_SNIPPET
        )
        return
    now_ns = time.time_ns()
    lost = sum(record.holes for record in processes)
    dropped = sum(record.dropped for record in processes)
    recent = sum(queries.rates(30))
    tiles = st.columns(5, gap="small")
    tiles[0].metric(
        f"Accesses, {window(queries.window_min())}", f"{totals.get('accesses', 0):,}", border=True, height="stretch"
    )
    tiles[1].metric("Last 30 min", f"{recent:,}", border=True, height="stretch")
    tiles[2].metric("Holes", f"{lost:,}", border=True, height="stretch", help="sequence numbers that never arrived")
    tiles[3].metric("Dropped by agents", f"{dropped:,}", border=True, height="stretch")
    tiles[4].metric("Analyzer's word", _analyzer(now_ns), border=True, height="stretch",
                    help="age of its newest checkpoint; it writes one when something has arrived")  # fmt: skip
    prose(_verdicts(processes, lacks(queries, now_ns)), key="health-verdicts")
    _table(processes, now_ns)
    _coverage(queries.coverage())
    _clocks(queries.clocks())
    _deliveries()


def _analyzer(now_ns: int) -> str:
    newest = max((int(row["at_ns"]) for row in served().queries.cursors()), default=0)
    return age(newest, now_ns) if newest else "none"


def _verdicts(processes: Sequence[ProcessRecord], lacking: Sequence[str]) -> list[Node]:
    clocks = {record.clock for record in processes if record.clock}
    found = [_warning(words) for words in lacking]
    unmarked = sum(record.frontier_ns == 0 for record in processes)
    if unmarked:
        words = (
            f"{plural(unmarked, 'process')} never said how far all spans have arrived: whether any are missing there "
            "is not known."
        )
        found.append(Node("p", "quiet small", (words,)))
    if not found:
        found.append(Node("p", "fine", ("Capture is complete: no holes, no drops, no silent process.",)))
    if behind := _furthest_behind(processes):
        found.append(Node("p", "quiet small", (behind,)))
    if len(clocks) > 1:
        words = (
            f"{len(clocks)} clocks: times of different machines order accesses only by more than a measured bound, and "
            "then a finding is likely at most and names it. The bounds stand below."
        )
        found.append(Node("p", "quiet small", (words,)))
    return found


def _furthest_behind(processes: Sequence[ProcessRecord]) -> str:
    """Up to when verdicts that rest on an absence can be given, and on whom they wait."""
    open_ended = [record for record in processes if 0 < record.frontier_ns < FRONTIER_END]
    if not open_ended:
        return ""
    last = min(open_ended, key=lambda record: (record.frontier_ns, record.process))
    who = last.service or last.process[:12]
    return f"All spans are there up to {clock_time(last.frontier_ns)} UTC; {who} (pid {last.pid}) is furthest behind."


def _warning(words: str) -> Node:
    return Node("p", "warning", (words,))


def _table(processes: Sequence[ProcessRecord], now_ns: int) -> None:
    shown = processes[:SHOWN_MAX]
    st.dataframe(
        [
            {
                "process": record.service or record.process[:12],
                "state": state_of(record, now_ns),
                "agents": list(record.agents),
                "host": f"{record.host} ({record.pid})",
                "received": record.received,
                "announced": record.announced,
                "holes": record.holes,
                "dropped": record.dropped,
                "complete up to": _frontier(record, now_ns),
                "clock": record.clock[:12],
                "key id": ", ".join(record.keys),
                "process id": record.process,
            }
            for record in shown
        ],
        hide_index=True,
        column_config={"agents": st.column_config.ListColumn("agents", width="medium")},
        alt="processes",
    )
    if len(processes) > SHOWN_MAX:
        prose([Node("p", "quiet small", (f"and {len(processes) - SHOWN_MAX:,} more",))], key="health-more")


def _frontier(record: ProcessRecord, now_ns: int) -> str:
    if record.frontier_ns >= FRONTIER_END:
        return "the end"
    return f"{duration(max(0, now_ns - record.frontier_ns))} ago" if record.frontier_ns else "unknown"


def _coverage(rows: Sequence[CoverageRecord]) -> None:
    """What can be proved of each agent through each library, since a race that is not recorded is not found."""
    if not rows:
        return
    prose([Node("h2", children=("Coverage by agent and library",))], key="health-coverage")
    shares = ("versions known", "base known", "replaced known")
    told = (
        "how many reads and writes carry a version", "how many writes say what they were computed from",
        "how many writes say what they really replaced: only these can be certain by themselves",
    )  # fmt: skip
    st.dataframe(
        [
            {
                "agent": row.agent, "library": row.library or "unknown", "systems": list(row.systems),
                "accesses": row.accesses, shares[0]: _share(row.known, row.versioned),
                shares[1]: _share(row.based, row.writes), shares[2]: _share(row.replaced, row.writes),
                "guarded": row.guarded, "unanswered": row.unknown, "partial": row.partial,
            }
            for row in rows[:SHOWN_MAX]
        ],
        hide_index=True,
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (min(len(rows), SHOWN_MAX) + 1) + 3),
        column_config={
            "systems": st.column_config.ListColumn("systems", width=110),
            **{
                name: st.column_config.ProgressColumn(name, help=help_, min_value=0, max_value=100, format="%d %%",
                                                      width=125)
                for name, help_ in zip(shares, told, strict=True)
            },
        },
        alt="coverage by agent and library",
    )  # fmt: skip
    if len(rows) > SHOWN_MAX:
        prose([Node("p", "quiet small", (f"and {len(rows) - SHOWN_MAX:,} more",))], key="health-coverage-more")


def _share(part: int, whole: int) -> int | None:
    return 100 * part // whole if whole else None


def _clocks(rows: Sequence[ClockRecord]) -> None:
    """How far each clock is off, as far as marks tell, and how far they are apart by what messages and reads prove."""
    if not rows:
        return
    prose([Node("h2", children=("Clocks",))], key="health-clocks")
    st.dataframe(
        [
            {
                "clock": row.clock[:12] or "not named", "host": row.host, "services": list(row.services),
                "processes": row.processes, "bound": _bound(row.least_ms),
            }
            for row in rows[:SHOWN_MAX]
        ],
        hide_index=True,
        column_config={"bound": st.column_config.TextColumn("bound by its marks", width="large")},
        alt="clocks",
    )  # fmt: skip
    if len(rows) > 1:
        lines = served().queries.clock_bounds() or ["Nothing recorded bounds how far these clocks are apart."]
        prose([Node("ul", children=[Node("li", "small", (line,)) for line in lines])], key="health-bounds")


def _bound(least_ms: int) -> str:
    """A mark arrives after it was made: one from the future is proof, a late one is a bound."""
    length = duration(abs(least_ms) * 1_000_000)
    return f"ahead of this machine by {length} at least" if least_ms < 0 else f"behind by {length} at most"


def _deliveries() -> None:
    rows = _attempts(served().queries.deliveries(DELIVERIES_READ))
    if not rows:
        return
    prose([Node("h2", children=("Latest webhook attempts",))], key="health-deliveries")
    st.dataframe(
        [
            {
                "when": age(row.at_ns),
                "endpoint": row.endpoint,
                "attempt": row.attempt,
                "outcome": _outcome(row),
                "took": f"{row.elapsed_ms:.0f} ms" if row.phase == "done" else "",
                "answer": row.answer[:200],
                "message": row.id,
            }
            for row in rows
        ],
        hide_index=True,
        alt="webhook attempts",
    )


def _attempts(rows: Sequence[DeliveryRecord]) -> list[DeliveryRecord]:
    """One row for each attempt: its end where it is known, else its beginning."""
    ended = {(row.id, row.attempt) for row in rows if row.phase == "done"}
    return [row for row in rows if row.phase == "done" or (row.id, row.attempt) not in ended]


def _outcome(row: DeliveryRecord) -> str:
    if row.phase != "done":
        return "under way"
    answered = {0: "no answer", -1: "blocked"}.get(row.status, str(row.status))
    return f"delivered ({answered})" if row.ok else f"given up ({answered})" if row.final else f"failed ({answered})"
