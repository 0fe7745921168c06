"""What pages and API ask of the store, typed and bounded.

Every read has a maximum of rows and of seconds, so that a page can slow the engine but not stop it. Reads for pages
go through one cache that all visitors share (`cached.py`): ten open tabs ask the store as often as one. The API reads
through, since its callers page and filter. The SQL itself stands in `statements`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from noclobber_dashboard.cached import Cached
from noclobber_dashboard.records import (
    AccessRecord,
    DeliveryRecord,
    FindingHead,
    IssueHead,
    ProcessRecord,
    ResourceHead,
)
from noclobber_dashboard.statements import (
    ACCESSES,
    CURRENT_FILTERED,
    CURSORS,
    DELIVERIES,
    HOLES,
    ISSUES,
    ONE_FINDING,
    PROCESSES,
    RATES,
    RESOURCES,
    SURROUNDINGS,
    TOTALS,
)  # fmt: skip

__all__ = ["PAGE_MAX", "FindingFilter", "Queries", "Reader"]

PAGE_MAX: Final = 500
"""Most rows that one API answer holds."""
SNAPSHOT_MAX: Final = 2_000
"""Most findings, resources or issues that a page holds; it says so where there are more."""
SNAPSHOT_TTL_S: Final = 2.0
SLICE_READ_MAX: Final = 4_000
"""Most accesses read to cut one diagram from."""


class Reader(Protocol):
    """What is asked of a store: rows as dictionaries, parameters bound by the server."""

    def dicts(self, sql: str, parameters: Mapping[str, object] = ..., /) -> list[dict[str, Any]]:
        """Run one statement and return its rows by column name."""
        ...


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings to list; an empty field asks for all.

    Attributes:
        text: part of a resource, agent, kind or id, upper and lower case alike.
        since_ns, until_ns: bounds of `last_ns`, both inclusive; 0: none.
        after: `(last_ns, id)` of the last row of the page before; None: the first page.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    certainties: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    issue: str = ""
    resource: str = ""
    agent: str = ""
    text: str = ""
    since_ns: int = 0
    until_ns: int = 0
    after: tuple[int, str] | None = None


class Queries:
    """Typed answers to the dashboard's questions, each bounded.

    Thread safe as far as the store is.

    Args:
        store: where to ask.
    """

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._cached = Cached(ttl_s=SNAPSHOT_TTL_S)

    # -- what pages show: shared between visitors ---------------------------------------------------------------

    def recent_findings(self) -> Sequence[FindingHead]:
        """The newest current findings, newest first, `SNAPSHOT_MAX` at most."""
        return self._cached.get(("findings",), lambda: self.findings(FindingFilter(), SNAPSHOT_MAX))

    def resources(self) -> Sequence[ResourceHead]:
        """Resources that were touched, those that several strands write first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("resources",),
            lambda: [ResourceHead.from_row(row) for row in self._ask(RESOURCES, limit=SNAPSHOT_MAX)],
        )

    def issues(self) -> Sequence[IssueHead]:
        """Open issues with their state, newest first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("issues",), lambda: [IssueHead.from_row(row) for row in self._ask(ISSUES, limit=SNAPSHOT_MAX)]
        )

    def processes(self) -> Sequence[ProcessRecord]:
        """Every process that sent spans: frontier, drops, holes in its sequence numbers; latest first."""
        return self._cached.get(("processes",), self._processes)

    def totals(self) -> Mapping[str, int]:
        """`accesses`, `agents`, `foreign_spans`, `marks`, `partial`, `last_ns` over all that is stored."""
        return self._cached.get(("totals",), lambda: _numbers(self._ask(TOTALS)))

    def rates(self, minute_from: int) -> Sequence[Mapping[str, int]]:
        """`minute`, `spans`, `resources`, `agents` for each minute since one, ascending; empty minutes are absent."""
        return self._cached.get(
            ("rates", minute_from),
            lambda: [{key: int(row[key]) for key in row} for row in self._ask(RATES, minute_from=minute_from)],
        )

    def cursors(self) -> Sequence[Mapping[str, Any]]:
        """`analyzer`, `at_ns`, `body` of each analyzer's newest checkpoint."""
        return self._cached.get(("cursors",), lambda: self._ask(CURSORS))

    # -- what the API and single pages ask -----------------------------------------------------------------------

    def finding(self, finding_id: str) -> FindingHead | None:
        """The newest revision of one finding, None where there is none."""
        rows = self._ask(ONE_FINDING, id=finding_id)
        return FindingHead.from_row(rows[0]) if rows else None

    def findings(self, wanted: FindingFilter, limit: int) -> list[FindingHead]:
        """Current findings that fit, by `last_ns` descending, then id."""
        after_ns, after_id = wanted.after or (0, "")
        rows = self._ask(
            CURRENT_FILTERED,
            kinds=list(wanted.kinds), severities=list(wanted.severities), certainties=list(wanted.certainties),
            statuses=list(wanted.statuses), issue=wanted.issue, resource=wanted.resource, agent=wanted.agent,
            text=wanted.text, since=wanted.since_ns, until=wanted.until_ns,
            after_ns=after_ns, after_id=after_id, limit=limit,
        )  # fmt: skip
        return [FindingHead.from_row(row) for row in rows]

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
        self, limit: int, *, resource: str = "", agent: str = "", strand: str = "", op: str = "", trace: str = "",
        since_ns: int = 0, until_ns: int = 0, after: tuple[int, str] | None = None,
    ) -> list[AccessRecord]:  # fmt: skip
        """Accesses that fit, newest first."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(
            ACCESSES, resource=resource, agent=agent, strand=strand, op=op, trace=trace, since=since_ns,
            until=until_ns, after_ns=after_ns, after_id=after_id, limit=limit,
        )  # fmt: skip
        return [AccessRecord.from_row(row) for row in rows]

    def deliveries(self, limit: int, after: tuple[int, str] | None = None) -> list[DeliveryRecord]:
        """Webhook attempts, newest first."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(DELIVERIES, limit=limit, after_ns=after_ns, after_id=after_id)
        return [DeliveryRecord.from_row(row) for row in rows]

    def _processes(self) -> list[ProcessRecord]:
        holes = {str(row["process"]): int(row["holes"]) for row in self._ask(HOLES, limit=SNAPSHOT_MAX)}
        rows = self._ask(PROCESSES, limit=SNAPSHOT_MAX)
        return [ProcessRecord.from_row(row, holes.get(str(row["process"]), 0)) for row in rows]

    def _ask(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        return self._store.dicts(sql, parameters)


def _numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {key: int(value or 0) for key, value in rows[0].items()} if rows else {}
