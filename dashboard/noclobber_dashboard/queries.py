"""What pages and API ask of the store, typed and bounded.

Every read has a maximum of rows and of seconds, so that a page can slow the engine but not stop it; what counts
accesses looks back over a window that is the shorter the more there are. Reads for pages go through one cache that
all visitors share (`cached.py`): ten open tabs ask the store as often as one, and hardly at all while nothing is
written (`store_version.py`). The API reads through, since its
callers page and filter. The SQL itself stands in `statements`; what an issue's log means is said by
`noclobber_analyzer.issues`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from noclobber_analyzer.alerts.audit import ACTORS_OF_OURS, Act, act_of
from noclobber_analyzer.alerts.route_log import RESEND
from noclobber_analyzer.alerts.silences import SILENCE_ADDED, SILENCE_ENDED, silence_record, silences_from
from noclobber_analyzer.issues import Transition
from noclobber_analyzer.stored_clocks import stored_clocks
from noclobber_dashboard.cached import Cached
from noclobber_dashboard.endpoints import DeadLetter, Endpoint, endpoints
from noclobber_dashboard.escapes import EscapeRecord, ranked
from noclobber_dashboard.issue_queries import IssueQueries, transition_of
from noclobber_dashboard.reading import PAGE_MAX, SNAPSHOT_MAX, Reader
from noclobber_dashboard.records import (
    AccessRecord,
    AgentHead,
    ClockRecord,
    CoverageRecord,
    DefendedCount,
    DeliveryRecord,
    FindingHead,
    ProcessRecord,
    ResourceCount,
    ResourceHead,
)
from noclobber_dashboard.statements import (
    ACCESSES,
    ACTS,
    ADDRESSES,
    AGENTS,
    BODIES,
    CLOCKS,
    COUNT,
    COVERAGE,
    CURRENT_FILTERED,
    CURRENT_IN_STATE,
    CURSORS,
    DEAD_LETTERS,
    DEFENDED_BY_REASON,
    DEFENDED_BY_RESOURCE,
    DELIVERIES,
    FINDINGS_BY_HOUR,
    FINDINGS_BY_RESOURCE,
    FINDINGS_COUNTED,
    HAS_DEFENDED,
    HOLES,
    NAMING,
    NEWEST,
    OF_KINDS,
    ONE_FINDING,
    ORPHANS,
    OUTCOMES,
    PROCESSES,
    RATES,
    RECENT,
    RESOURCES,
    ROUTE_LOG,
    STORAGE,
    SURROUNDINGS,
    TOTALS,
    WORST,
)  # fmt: skip
from noclobber_dashboard.store_version import store_version

__all__ = ["DAY_MIN", "PAGE_MAX", "SNAPSHOT_MAX", "WINDOWS_MIN", "FindingFilter", "Queries", "Reader"]

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
SNAPSHOT_TTL_S: Final = 2.0
BOUNDS_TTL_S: Final = 60.0
BOUNDS_MAX: Final = 20
"""Pairs of clocks that are told of."""
WINDOWS_MIN: Final = (24 * 60, 60, 10)
"""How far back accesses are counted, minutes: the longest of these with at most `WINDOW_ROWS_MAX` rows."""
WINDOW_ROWS_MAX: Final = 3_000_000
DAY_MIN: Final = WINDOWS_MIN[0]
LIVE_WINDOWS_S: Final = (10, 60, 900)
"""How far back the stream of accesses reaches, seconds: the shortest of these in which there is any."""
ROUTE_ROWS_MAX: Final = 5_000
"""Most rows about routes that are read, the newest ones."""
SLICE_READ_MAX: Final = 4_000
"""Most accesses read to cut one diagram from."""


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings to list; an empty field asks for all.

    Attributes:
        states: of their issues; a finding that was taken back is retracted, whatever its issue is.
        text: part of a resource, agent, kind or id, upper and lower case alike.
        since_ns, until_ns: bounds of `last_ns`, both inclusive; 0: none.
        latent: those that luck kept apart, and no others; False: only manifest ones.
        after: `(last_ns, id)` of the last row of the page before; None: the first page.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    certainties: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    issue: str = ""
    resource: str = ""
    agent: str = ""
    text: str = ""
    since_ns: int = 0
    until_ns: int = 0
    after: tuple[int, str] | None = None
    latent: bool = False


class Queries(IssueQueries):
    """Typed answers to the dashboard's questions, each bounded.

    Thread safe as far as the store is.

    Args:
        store: where to ask.
    """

    def __init__(self, store: Reader, now_ns: Callable[[], int] = time.time_ns) -> None:
        super().__init__(store, now_ns, Cached(ttl_s=SNAPSHOT_TTL_S, version=lambda: store_version(store)))

    # -- what pages show: shared between visitors ---------------------------------------------------------------

    def recent_findings(self) -> Sequence[FindingHead]:
        """The newest current manifest findings, newest first, `SNAPSHOT_MAX` at most; without their bodies."""
        return self._cached.get(("findings",), lambda: self.findings(FindingFilter(), SNAPSHOT_MAX))

    def searched(self, wanted: FindingFilter) -> Sequence[FindingHead]:
        """The newest findings that fit, `SNAPSHOT_MAX` at most, of all that are stored; without their bodies."""
        return self._cached.get(("searched", wanted), lambda: self.findings(wanted, SNAPSHOT_MAX))

    def counted(self) -> Mapping[str, int]:
        """`findings` and `critical`: how many manifest findings hold, of all that are stored."""
        return self._cached.get(("counted",), lambda: _numbers(self._ask(FINDINGS_COUNTED)))

    def findings_by_hour(self, since_ns: int) -> Mapping[tuple[int, str], int]:
        """How many findings hold, by the hour of their end (since 1970) and by severity."""
        return self._cached.get(
            ("counted", "hour", since_ns),
            lambda: {
                (int(row["hour"]), str(row["severity"])): int(row["count"])
                for row in self._ask(FINDINGS_BY_HOUR, since=since_ns)
            },
        )

    def worst(self, limit: int) -> Sequence[FindingHead]:
        """Findings that hold, of all that are stored: the gravest first, of equals the newest; without their bodies."""
        return self._cached.get(
            ("counted", "worst", limit), lambda: [FindingHead.from_row(row) for row in self._ask(WORST, limit=limit)]
        )

    def findings_by_resource(self) -> Mapping[str, ResourceCount]:
        """What holds on each resource, of all that is stored, most first; `SNAPSHOT_MAX` resources at most."""
        return self._cached.get(
            ("counted", "resource"),
            lambda: {
                str(row["resource"]): ResourceCount.from_row(row)
                for row in self._ask(FINDINGS_BY_RESOURCE, limit=SNAPSHOT_MAX)
            },
        )

    def latent(self) -> Sequence[EscapeRecord]:
        """The newest open latent findings, `SNAPSHOT_MAX` at most, the narrowest escape first."""
        wanted = FindingFilter(statuses=("open",), latent=True)
        return self._cached.get(("latent",), lambda: self.escapes(wanted))

    def resources(self) -> Sequence[ResourceHead]:
        """Resources that were touched, those that several strands write first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(("resources",), lambda: self.found_resources(SNAPSHOT_MAX))

    def agents(self) -> Sequence[AgentHead]:
        """Agents that did anything, those that write most first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("agents",),
            lambda: [
                AgentHead.from_row(row)
                for row in self._ask(AGENTS, limit=SNAPSHOT_MAX, minute_from=self._minute_from())
            ],
        )

    def stream(self, limit: int, text: str = "", ops: Sequence[str] = ()) -> tuple[int, Sequence[AccessRecord]]:
        """The latest accesses, newest first, and how many seconds back they were looked for.

        Args:
            limit: most accesses.
            text: part of a resource, agent or strand, upper and lower case alike.
            ops: operations; empty: all.
        """
        return self._cached.get(("stream", limit, text, tuple(ops)), lambda: self._stream(limit, text, ops))

    def processes(self) -> Sequence[ProcessRecord]:
        """Every process that sent spans lately: frontier, drops, holes in its sequence numbers; latest first."""
        return self._cached.get(("processes",), self._processes)

    def coverage(self) -> Sequence[CoverageRecord]:
        """What accesses can prove, by agent and library, most accesses first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("coverage",),
            lambda: [
                CoverageRecord.from_row(row)
                for row in self._ask(COVERAGE, limit=SNAPSHOT_MAX, minute_from=self._minute_from())
            ],
        )

    def clocks(self) -> Sequence[ClockRecord]:
        """Every clock by which marks were made lately, the furthest ahead first."""
        return self._cached.get(
            ("clocks",),
            lambda: [
                ClockRecord.from_row(row)
                for row in self._ask(CLOCKS, limit=SNAPSHOT_MAX, minute_from=self._minute_from())
            ],
        )

    def clock_bounds(self) -> Sequence[str]:
        """How far clocks are apart by what the newest accesses prove, as sentences; read once a minute at most."""
        return self._cached.get(("clock", "bounds"), lambda: _bounds(self._store), least_s=BOUNDS_TTL_S)

    def orphans(self) -> Mapping[str, int]:
        """By process, its strands whose parents never arrived."""
        return self._cached.get(("orphans",), self._orphans)

    def addresses(self) -> Sequence[Mapping[str, Any]]:
        """`authority` and `address`: which addresses answered under each server's name."""
        return self._cached.get(
            ("addresses",), lambda: self._ask(ADDRESSES, limit=SNAPSHOT_MAX, minute_from=self._minute_from())
        )

    def totals(self) -> Mapping[str, int]:
        """`accesses`, `foreign_spans`, `marks`, `partial`, `last_ns` over the window."""
        return self._cached.get(("totals",), lambda: _numbers(self._ask(TOTALS, minute_from=self._minute_from())))

    def rates(self, minutes: int) -> Sequence[int]:
        """Accesses in each of the last minutes, oldest first."""

        def compute() -> list[int]:
            now = self._now_ns() // MINUTE_NS
            rows = self._ask(RATES, minute_from=now - minutes + 1)
            spans = {int(row["minute"]): int(row["spans"]) for row in rows}
            return [spans.get(minute, 0) for minute in range(now - minutes + 1, now + 1)]

        return self._cached.get(("rates", minutes), compute)

    def cursors(self) -> Sequence[Mapping[str, Any]]:
        """`analyzer`, `at_ns`, `body` of each analyzer's newest checkpoint."""
        return self._cached.get(("cursors",), lambda: self._ask(CURSORS))

    def defended(self) -> Sequence[DefendedCount] | None:
        """How many accesses of the last day were defended, by reason, most first; None: this store cannot say."""
        return self._cached.get(("defended",), lambda: self._defended(DEFENDED_BY_REASON))

    def defended_by_resource(self) -> Sequence[DefendedCount] | None:
        """The same by resource and reason, `SNAPSHOT_MAX` rows at most; None: this store cannot say."""
        return self._cached.get(
            ("defended", "resource"), lambda: self._defended(DEFENDED_BY_RESOURCE, limit=SNAPSHOT_MAX)
        )

    def endpoints(self) -> Sequence[Endpoint]:
        """The alert routes in use, with what became of their messages."""
        return self._cached.get(("endpoints",), lambda: endpoints(self._route_log(), self._ask(OUTCOMES)))

    def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Messages that were given up, the newest first."""

        def compute() -> list[DeadLetter]:
            asked_ns = {row.finding: row.at_ns for row in reversed(self._route_log()) if row.kind == RESEND}
            return [DeadLetter.from_row(row, asked_ns) for row in self._ask(DEAD_LETTERS, limit=limit)]

        return self._cached.get(("dead", limit), compute)

    def forget_endpoints(self) -> None:
        """Read routes and dead letters anew: somebody asked something of one."""
        self._cached.forget(("endpoints",))

    def storage(self) -> Sequence[Mapping[str, Any]]:
        """`name`, `rows`, `bytes` on disk and `days` kept (0: for ever) of each table."""
        return self._cached.get(("storage",), lambda: self._ask(STORAGE))

    def window_min(self) -> int:
        """How many minutes back accesses are counted."""

        def compute() -> int:
            now = self._now_ns() // MINUTE_NS
            for minutes in WINDOWS_MIN[:-1]:
                if _numbers(self._ask(COUNT, minute_from=now - minutes))["rows"] <= WINDOW_ROWS_MAX:
                    return minutes
            return WINDOWS_MIN[-1]

        return self._cached.get(("window",), compute)

    def ping(self) -> None:
        """Ask the store for nothing.

        Raises:
            StoreError: it does not answer.
        """
        self._cached.get(("ping",), lambda: self._ask("SELECT 1"))

    # -- what the API and single pages ask -----------------------------------------------------------------------

    def finding(self, finding_id: str) -> FindingHead | None:
        """The newest revision of one finding, None where there is none."""
        rows = self._ask(ONE_FINDING, id=finding_id)
        return FindingHead.from_row(rows[0]) if rows else None

    def findings(self, wanted: FindingFilter, limit: int) -> list[FindingHead]:
        """Current findings that fit, by `last_ns` descending, then id; without their bodies."""
        after_ns, after_id = wanted.after or (0, "")
        stated = {"states": list(wanted.states), "now": self._now_ns()} if wanted.states else {}
        rows = self._ask(
            CURRENT_IN_STATE if stated else CURRENT_FILTERED,
            kinds=list(wanted.kinds), severities=list(wanted.severities), certainties=list(wanted.certainties),
            statuses=list(wanted.statuses), issue=wanted.issue, resource=wanted.resource, agent=wanted.agent,
            text=wanted.text, since=wanted.since_ns, until=wanted.until_ns,
            after_ns=after_ns, after_id=after_id, limit=limit,
            manifest=int(not wanted.latent), **stated,
        )  # fmt: skip
        return [FindingHead.from_row(row) for row in rows]

    def escapes(self, wanted: FindingFilter) -> list[EscapeRecord]:
        """The newest latent findings that fit, `SNAPSHOT_MAX` at most, the narrowest escape first."""
        heads = self.findings(replace(wanted, latent=True), SNAPSHOT_MAX)
        return ranked(heads, self.bodies([head.id for head in heads]))

    def naming(self, spans: Sequence[str], but_id: str, from_ns: int, until_ns: int) -> list[str]:
        """The JSON of open manifest findings of a time that name one of these spans, the latest first."""
        rows = self._ask(NAMING, spans=list(spans), id=but_id, since=max(0, from_ns), until=until_ns)
        return [str(row["body"]) for row in rows]

    def bodies(self, ids: Sequence[str]) -> dict[str, str]:
        """The newest JSON of some findings, by id."""
        return {str(row["id"]): str(row["body"]) for row in self._ask(BODIES, ids=list(ids))} if ids else {}

    def surroundings(
        self, resources: Sequence[str], strands: Sequence[str], messages: Sequence[str], start_ns: int, end_ns: int
    ) -> list[AccessRecord]:
        """Accesses of these resources, strands or messages that start in a time range, by start.

        At most `SLICE_READ_MAX`; the caller cuts the diagram out of them.
        """
        rows = self._ask(
            SURROUNDINGS, resources=list(resources), strands=list(strands), messages=list(messages),
            start=start_ns, end=end_ns, minute_from=start_ns // 60_000_000_000, minute_to=end_ns // 60_000_000_000,
            limit=SLICE_READ_MAX,
        )  # fmt: skip
        return [AccessRecord.from_row(row) for row in rows]

    def accesses(
        self, limit: int, *, resource: str = "", agent: str = "", strand: str = "", ops: Sequence[str] = (),
        trace: str = "", since_ns: int = 0, until_ns: int = 0, after: tuple[int, str] | None = None,
    ) -> list[AccessRecord]:  # fmt: skip
        """Accesses that fit, newest first."""
        after_ns, after_id = after or (0, "")
        fitting: dict[str, object] = {
            "resource": resource, "agent": agent, "strand": strand, "ops": list(ops), "trace": trace,
            "since": since_ns, "until": until_ns, "after_ns": after_ns, "after_id": after_id,
        }  # fmt: skip
        read = limit + limit // 8 + 16
        rows = self._ask(NEWEST, read=read, **fitting)
        if rows and rows[0]["read_rows"] == read and len(rows) <= limit:  # many of them tell of the same accesses
            rows = self._ask(ACCESSES, limit=limit, **fitting)
        return [AccessRecord.from_row(row) for row in rows[:limit]]

    def found_resources(self, limit: int, skip: int = 0, system: str = "", text: str = "") -> list[ResourceHead]:
        """Resources that were touched and fit, those that several strands write first; the first `skip` left out."""
        rows = self._ask(
            RESOURCES, limit=limit, skip=skip, system=system, text=text, minute_from=self._minute_from()
        )  # fmt: skip
        return [ResourceHead.from_row(row) for row in rows]

    def deliveries(
        self, limit: int, after: tuple[int, str] | None = None, *, route: str = "", issue: str = "",
        message: str = "", outcomes: Sequence[str] = (),
    ) -> list[DeliveryRecord]:  # fmt: skip
        """Webhook attempts that fit, newest first; `outcomes` are words of `records.OUTCOMES`."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(
            DELIVERIES, limit=limit, after_ns=after_ns, after_id=after_id, route=route, issue=issue, message=message,
            outcomes=list(outcomes),
        )  # fmt: skip
        return [DeliveryRecord.from_row(row) for row in rows]

    def silences(self) -> list[dict[str, Any]]:
        """Silences by matcher, the latest first."""
        rows = self._ask(OF_KINDS, kinds=[SILENCE_ADDED, SILENCE_ENDED], limit=ROUTE_ROWS_MAX)
        return [silence_record(each) for each in silences_from(map(transition_of, rows))]

    def acts(self, limit: int, after: tuple[int, str] | None = None) -> list[Act]:
        """Who did what, newest first."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(ACTS, ours=list(ACTORS_OF_OURS), after_ns=after_ns, after_id=after_id, limit=limit)
        return [act_of(transition_of(row)) for row in rows]

    def _stream(self, limit: int, text: str, ops: Sequence[str]) -> tuple[int, list[AccessRecord]]:
        now_ns = self._now_ns()
        for seconds in LIVE_WINDOWS_S:
            since_ns = now_ns - seconds * SECOND_NS
            rows = self._ask(
                RECENT, since=since_ns, minute_from=since_ns // MINUTE_NS, text=text, ops=list(ops),
                read=2 * limit, limit=limit,
            )  # fmt: skip
            if rows:
                break
        return seconds, [AccessRecord.from_row(row) for row in rows]

    def _defended(self, sql: str, **parameters: object) -> list[DefendedCount] | None:
        there = self._ask(HAS_DEFENDED)
        if not there or not int(next(iter(there[0].values()))):
            return None
        since = self._now_ns() - DAY_MIN * MINUTE_NS
        return [DefendedCount.from_row(row) for row in self._ask(sql, since=since, **parameters)]

    def _route_log(self) -> list[Transition]:
        return [transition_of(row) for row in self._ask(ROUTE_LOG, limit=ROUTE_ROWS_MAX)]

    def _minute_from(self) -> int:
        return self._now_ns() // MINUTE_NS - self.window_min()

    def _orphans(self) -> dict[str, int]:
        rows = self._ask(ORPHANS, limit=SNAPSHOT_MAX, minute_from=self._minute_from())
        return {str(row["process"]): int(row["strands"]) for row in rows}

    def _processes(self) -> list[ProcessRecord]:
        window = {"limit": SNAPSHOT_MAX, "minute_from": self._minute_from()}
        holes = {str(row["process"]): int(row["holes"]) for row in self._ask(HOLES, **window)}
        rows = self._ask(PROCESSES, **window)
        return [ProcessRecord.from_row(row, holes.get(str(row["process"]), 0)) for row in rows]


def _numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {key: int(value or 0) for key, value in rows[0].items()} if rows else {}


def _bounds(store: Any) -> list[str]:
    bounds = stored_clocks(store)
    told = [str(each) for each in bounds.apart()]
    return told[:BOUNDS_MAX] + ([f"and {len(told) - BOUNDS_MAX:,} more pairs"] if len(told) > BOUNDS_MAX else [])
