"""Can what is shown be trusted? What arrived, what was lost, who is silent, whose clock and key are whose."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from noclobber.contract import FRONTIER_END
from noclobber_dashboard.components.prose import Cell, Column, Node, Shape, Since, Table, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, empty_box
from noclobber_dashboard.lacks import lacks, state_of
from noclobber_dashboard.pages.tables import tile
from noclobber_dashboard.parts import Part
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import ClockRecord, CoverageRecord, DeliveryRecord, ProcessRecord
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import clock_time, duration, plural, window

__all__ = ["PART", "render"]

REFRESH_S: Final = 5
SHOWN_MAX: Final = 200
DELIVERIES_READ: Final = 40


def render() -> None:
    """Show the health of the recording, which keeps itself fresh."""
    prose([Node("h1", children=("Health",))], key="health-title")
    served().parts.show("health")


def _parts(queries: Queries, _asked: Mapping[str, str]) -> Sequence[Shape]:
    processes = queries.processes()
    if not processes:
        title = f"No process has reported in the {window(queries.window_min())}"
        return [empty_box(title, "Start an agent with its shared state recorded:", RUN_SNIPPET)]
    now_ns = time.time_ns()
    shown: list[Shape] = [
        _tiles(queries, processes),
        Node("div", children=_verdicts(processes, lacks(queries, now_ns))),
        Node("div", children=_table(processes, now_ns)),
        Node("div", children=tuple(_coverage(queries.coverage()))),
        Node("div", children=tuple(_clocks(queries))),
        Node("div", children=tuple(_deliveries(queries))),
    ]
    return [Node("div", "stack-of", shown)]


def _tiles(queries: Queries, processes: Sequence[ProcessRecord]) -> Node:
    lost = sum(record.holes for record in processes)
    dropped = sum(record.dropped for record in processes)
    newest_ns = max((int(row["at_ns"]) for row in queries.cursors()), default=0)
    return Node("div", "tiles", (
        tile("Accesses", f"{queries.totals().get('accesses', 0):,}", window(queries.window_min())),
        tile("Accesses", f"{sum(queries.rates(30)):,}", "last 30 min"),
        tile("Never arrived", f"{lost:,}", "holes in the numbers that agents give their accesses", alarm=lost > 0),
        tile("Dropped by agents", f"{dropped:,}", "their buffers were full", alarm=dropped > 0),
        tile("Analyzer", Since(newest_ns) if newest_ns else "none yet",
             "its newest checkpoint; it writes one when something has arrived"),
    ))  # fmt: skip


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


def _table(processes: Sequence[ProcessRecord], now_ns: int) -> list[Node | Table]:
    columns = (
        Column("process"),
        Column("state", says="live: it says each second how far all it did has arrived; silent: it stopped doing so"),
        Column("agents"), Column("host (pid)"),
        Column("received", "num", "accesses that arrived, retries counted again"),
        Column("announced", "num", "accesses that it says it made"),
        Column("holes", "num", "sequence numbers that never arrived"), Column("dropped", "num"),
        Column("complete up to", says="everything before has arrived"), Column("clock"), Column("key id"),
        Column("process id"),
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            record.service or record.process[:12], state_of(record, now_ns), ", ".join(record.agents),
            f"{record.host} ({record.pid})", record.received, record.announced, record.holes, record.dropped,
            _frontier(record), record.clock[:12], ", ".join(record.keys), record.process,
        ]
        for record in processes[:SHOWN_MAX]
    ]  # fmt: skip
    title = Node("h2", children=("Processes",))
    return [title, Table(columns, rows, "processes"), *_more(len(processes))]


def _more(count: int) -> list[Node]:
    return [Node("p", "quiet small", (f"and {count - SHOWN_MAX:,} more",))] if count > SHOWN_MAX else []


def _frontier(record: ProcessRecord) -> Cell:
    if record.frontier_ns >= FRONTIER_END:
        return "the end"
    return Since(record.frontier_ns) if record.frontier_ns else "unknown"


def _coverage(rows: Sequence[CoverageRecord]) -> Iterator[Node | Table]:
    """What can be proved of each agent through each library, since a race that is not recorded is not found."""
    if not rows:
        return
    columns = (
        Column("agent"), Column("library"), Column("systems"), Column("accesses", "num"),
        Column("versions known", "share", "how many reads and writes carry a version"),
        Column("base known", "share", "how many writes say what they were computed from"),
        Column("replaced known", "share",
               "how many writes say what they really replaced: only these can be certain by themselves"),
        Column("guarded", "num", "writes that the store itself would refuse on a stale base"),
        Column("unanswered", "num", "calls that ended without an answer"),
        Column("partial", "num", "calls that were captured only in part"),
    )  # fmt: skip
    cells: list[list[Cell]] = [
        [
            row.agent, row.library or "unknown", ", ".join(row.systems), row.accesses,
            _share(row.known, row.versioned), _share(row.based, row.writes), _share(row.replaced, row.writes),
            row.guarded, row.unknown, row.partial,
        ]
        for row in rows[:SHOWN_MAX]
    ]  # fmt: skip
    yield Node("h2", children=("Coverage by agent and library",))
    yield Node("p", "quiet small", ("The more of this is known, the surer a finding can be.",))
    yield Table(columns, cells, "coverage by agent and library")
    yield from _more(len(rows))


def _share(part: int, whole: int) -> int | None:
    return 100 * part // whole if whole else None


def _clocks(queries: Queries) -> Iterator[Node | Table]:
    """How far each clock is off, as far as marks tell, and how far they are apart by what messages and reads prove."""
    rows: Sequence[ClockRecord] = queries.clocks()
    if not rows:
        return
    columns = (
        Column("clock"), Column("host"), Column("services"), Column("processes", "num"), Column("bound by its marks"),
    )  # fmt: skip
    cells: list[list[Cell]] = [
        [row.clock[:12] or "not named", row.host, ", ".join(row.services), row.processes, _bound(row.least_ms)]
        for row in rows[:SHOWN_MAX]
    ]
    yield Node("h2", children=("Clocks",))
    yield Table(columns, cells, "clocks")
    if len(rows) > 1:
        lines = queries.clock_bounds() or ["Nothing recorded bounds how far these clocks are apart."]
        yield Node("ul", children=[Node("li", "small", (line,)) for line in lines])


def _bound(least_ms: int) -> str:
    """A mark arrives after it was made: one from the future is proof, a late one is a bound."""
    length = duration(abs(least_ms) * 1_000_000)
    return f"ahead of this machine by {length} at least" if least_ms < 0 else f"behind by {length} at most"


def _deliveries(queries: Queries) -> Iterator[Node | Table]:
    rows = _attempts(queries.deliveries(DELIVERIES_READ))
    if not rows:
        return
    columns = (
        Column("when"), Column("endpoint"), Column("attempt", "num"), Column("outcome"), Column("took"),
        Column("answer"), Column("message"),
    )  # fmt: skip
    cells: list[list[Cell]] = [
        [
            Since(row.at_ns), row.endpoint, row.attempt, _outcome(row),
            f"{row.elapsed_ms:.0f} ms" if row.phase == "done" else "", row.answer[:200], row.id,
        ]
        for row in rows
    ]  # fmt: skip
    yield Node("h2", children=("Latest webhook attempts",))
    yield Table(columns, cells, "webhook attempts")


def _attempts(rows: Sequence[DeliveryRecord]) -> list[DeliveryRecord]:
    """One row for each attempt: its end where it is known, else its beginning."""
    ended = {(row.id, row.attempt) for row in rows if row.phase == "done"}
    return [row for row in rows if row.phase == "done" or (row.id, row.attempt) not in ended]


def _outcome(row: DeliveryRecord) -> str:
    if row.phase != "done":
        return "under way"
    answered = {0: "no answer", -1: "blocked"}.get(row.status, str(row.status))
    return f"delivered ({answered})" if row.ok else f"given up ({answered})" if row.final else f"failed ({answered})"


PART: Final = Part("health", REFRESH_S, _parts)
