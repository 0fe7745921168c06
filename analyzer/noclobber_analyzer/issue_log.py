"""Keeps the issues: reads findings and the log of transitions, and writes what is due.

In memory stand the heads of all manifest findings (a latent one opens no issue and is no alert) and what the log says
of each issue; the store has both, and whatever was lost here is read again. Others write too (a person on the
dashboard, `noclobber analyze`): at every turn the number of rows in each table is compared with what is known, and a
difference means reading what is new. A turn that is repeated after a crash finds the same log and writes the same rows.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence

from noclobber_analyzer.clock import Clock
from noclobber_analyzer.issue_view import fitted, issue_view, newest_of
from noclobber_analyzer.issues import Event, Head, Policy, Standing, Transition, after, due, replay, transition
from noclobber_analyzer.tables import Store, append_transitions, findings_of, read_heads, read_transitions

__all__ = ["DEFAULT_POLICY", "IssueKeeper", "read_issues"]

DATA_BYTES_MAX = 19_000
"""Greatest length of an issue in a row of the log: a message of 20 kB holds it."""
DEFAULT_POLICY = Policy()


class IssueKeeper:
    """Writes the transitions that findings and time bring about; thread safe.

    Args:
        store: holds findings and transitions.
        clock: wall time.
        policy: waits and intervals.
        base_url: where the dashboard is, for links; "": no links.
    """

    def __init__(self, store: Store, clock: Clock, policy: Policy = DEFAULT_POLICY, base_url: str = "") -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._base_url = base_url
        self._lock = threading.Lock()
        self._heads: dict[str, dict[str, Head]] = defaultdict(dict)
        self._standings: dict[str, Standing] = {}
        self._rows_known: set[str] = set()
        self._findings = self._transitions = -1

    def noticed(self, heads: Sequence[Head]) -> None:
        """Findings that were written a moment ago, one row each: they need not be read again."""
        with self._lock:
            if self._findings >= 0:
                self._findings += len(heads)
                self._keep(heads)

    def turn(self, *, hold_resolved: bool = False) -> list[Transition]:
        """Write what is due now; returns the rows written.

        Args:
            hold_resolved: something lags or is silent, so that quiet proves nothing.
        """
        with self._lock:
            self._read_new()
            now_ns = self._clock.now_ns()
            coming: dict[str, Event] = {}
            for issue, heads in self._heads.items():
                standing = self._standings.get(issue, Standing())
                event = due(standing, list(heads.values()), now_ns, self._policy, hold_resolved=hold_resolved)
                if event is not None:
                    coming[issue] = event
            rows = self._written(coming, now_ns)
            append_transitions(self._store, rows)
            self._transitions += len(rows)
            for row in rows:
                self._rows_known.add(row.id)
                self._standings[row.issue] = after(self._standings.get(row.issue, Standing()), row)
            return rows

    def issues(self) -> dict[str, int]:
        """Number of issues, and of findings in them, for health."""
        with self._lock:
            return {"issues": len(self._heads), "findings": sum(len(heads) for heads in self._heads.values())}

    def _written(self, coming: dict[str, Event], now_ns: int) -> list[Transition]:
        shown = {issue: newest_of(list(self._heads[issue].values())).id for issue in coming}
        bodies = findings_of(self._store, list(shown.values()))
        rows = []
        for issue, event in coming.items():
            heads, standing = list(self._heads[issue].values()), self._standings.get(issue, Standing())
            newest = bodies[shown[issue]][0] if shown[issue] in bodies else None
            data = issue_view(issue, standing, heads, newest, now_ns=now_ns, base_url=self._base_url)
            data = fitted(data, DATA_BYTES_MAX)
            rows.append(transition(event, issue, standing, heads, data=data, now_ns=now_ns))
        return rows

    def _keep(self, heads: Sequence[Head]) -> None:
        for head in heads:
            if head.manifest:
                self._heads[head.issue][head.id] = head

    def _read_new(self) -> None:
        sql = "SELECT (SELECT count() FROM findings), (SELECT count() FROM transitions)"
        findings, transitions = self._store.rows(sql)[0]
        if findings != self._findings:
            self._heads.clear()
            self._keep(read_heads(self._store))
        if transitions != self._transitions:
            self._read_transitions()
        self._findings, self._transitions = int(findings), int(transitions)

    def _read_transitions(self) -> None:
        fresh = {row[0]: row[1] for row in self._store.rows("SELECT id, issue FROM transitions")}
        changed = {issue for row_id, issue in fresh.items() if row_id not in self._rows_known}
        self._rows_known = set(fresh)
        self._standings.update(_standings(self._store, sorted(changed)))


def _standings(store: Store, issues: Sequence[str]) -> dict[str, Standing]:
    logs: dict[str, list[Transition]] = defaultdict(list)
    for row in read_transitions(store, issues=issues) if issues else ():
        logs[row.issue].append(row)
    return {issue: replay(rows) for issue, rows in logs.items()}


def read_issues(
    store: Store, clock: Clock, issues: Sequence[str] | None = None, base_url: str = ""
) -> dict[str, tuple[dict[str, object], Standing]]:
    """Issues as the contract shows them, with what their log says; for the API and the pages.

    Args:
        store: holds findings and transitions.
        clock: wall time.
        issues: only these; None: all.
        base_url: where the dashboard is; "": no links.
    """
    heads: dict[str, list[Head]] = defaultdict(list)
    for head in read_heads(store):
        if head.manifest and (issues is None or head.issue in issues):
            heads[head.issue].append(head)
    said = _standings(store, sorted(heads))
    bodies = findings_of(store, [newest_of(of).id for of in heads.values()])
    seen = {}
    for issue, of in heads.items():
        standing, shown = said.get(issue, Standing()), newest_of(of).id
        newest = bodies[shown][0] if shown in bodies else None
        view = issue_view(issue, standing, of, newest, now_ns=clock.now_ns(), base_url=base_url)
        seen[issue] = (view, standing)
    return seen
