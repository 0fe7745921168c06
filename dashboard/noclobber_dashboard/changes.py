"""What a person may do to an issue, each as one row in the log of transitions.

The rules (what makes sense when, what needs a reason) are `noclobber_analyzer.issues`; here the issue's log and
findings are read, the row is made and appended. The log is the audit trail: who, when, what, why. Two people who act
at once both write their row, and replay gives one order to both.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from noclobber_analyzer.alerts.audit import from_where
from noclobber_analyzer.issue_log import DATA_BYTES_MAX
from noclobber_analyzer.issue_view import fitted, issue_view, newest_of
from noclobber_analyzer.issues import (
    IssueError,
    Standing,
    Transition,
    accept,
    acknowledge,
    reopen,
    replay,
    resolve,
    silence,
)
from noclobber_analyzer.tables import append_transitions, findings_of, read_heads, read_transitions
from noclobber_dashboard.pooled import Store

__all__ = ["Change", "apply", "possible"]

FINDINGS_MAX: Final = 10_000
"""Most findings of one issue that its message is put together from."""
TEXT_MAX: Final = 500
"""Characters kept of a name or a reason."""
_IDS: Final = "SELECT DISTINCT id FROM findings WHERE issue = {issue:String} ORDER BY id LIMIT {limit:UInt32}"


class Change(StrEnum):
    """What is done."""

    ACKNOWLEDGE = "acknowledge"
    ACCEPT = "accept"
    SILENCE = "silence"
    RESOLVE = "resolve"
    REOPEN = "reopen"


_POSSIBLE: Final = {
    "acknowledged": (Change.RESOLVE, Change.ACCEPT, Change.SILENCE, Change.REOPEN),
    "accepted": (Change.REOPEN,),
    "silenced": (Change.REOPEN, Change.RESOLVE, Change.ACCEPT),
    "resolved": (Change.REOPEN,),
    "retracted": (),
}
_OPEN: Final = (Change.ACKNOWLEDGE, Change.RESOLVE, Change.ACCEPT, Change.SILENCE)


def possible(state: str) -> tuple[Change, ...]:
    """What makes sense for an issue in a state, the likeliest first."""
    return _POSSIBLE.get(state, _OPEN)


def apply(
    store: Store, issue: str, change: Change, *, actor: str, reason: str = "", now_ns: int, until_ns: int = 0,
    origin: str = "", base_url: str = "",
) -> Transition:  # fmt: skip
    """Do one thing to one issue; returns the row that was written.

    Args:
        store: holds findings and log.
        issue: fingerprint.
        change: what to do.
        actor: who does it.
        reason: why; `accept` needs one.
        now_ns: wall time.
        until_ns: end of a silence.
        origin: from where it is done, for the audit log.
        base_url: where people reach the pages, without a slash at its end; empty: where the analyzer says they are.

    Raises:
        IssueError: it makes no sense; the message says why.
    """
    rows = read_transitions(store, issues=[issue])
    standing = replay(rows)
    if standing.state is None:
        raise IssueError("the analyzer has not opened this issue yet; it does so within seconds of the finding")
    who, why = actor.strip()[:TEXT_MAX] or "dashboard", reason.strip()[:TEXT_MAX]
    if change is Change.ACKNOWLEDGE:
        data = _told(store, issue, standing, now_ns, base_url or _linked(rows))
        row = acknowledge(issue, standing, actor=who, now_ns=now_ns, reason=why, data=data)
    elif change is Change.ACCEPT:
        row = accept(issue, standing, actor=who, now_ns=now_ns, reason=why)
    elif change is Change.SILENCE:
        row = silence(issue, standing, actor=who, now_ns=now_ns, until_ns=until_ns, reason=why)
    elif change is Change.RESOLVE:
        data = _told(store, issue, standing, now_ns, base_url or _linked(rows))
        row = resolve(issue, standing, actor=who, now_ns=now_ns, data=data, reason=why)
    else:
        row = reopen(issue, standing, actor=who, now_ns=now_ns, reason=why)
    told = from_where(row, origin)
    append_transitions(store, [told])
    return told


def _linked(rows: Sequence[Transition]) -> str:
    """Where the pages are by the last row that links to one; empty: none does."""
    for row in reversed(rows):
        data = row.content.get("data")
        url = str(data.get("url") or "") if isinstance(data, dict) else ""
        if "/finding?id=" in url:
            return url.partition("/finding?id=")[0]
    return ""


def _told(store: Store, issue: str, standing: Standing, now_ns: int, base_url: str) -> dict[str, object]:
    """The issue as its message shows it: a resolution is sent to whom the routes name, as is who looks into it."""
    ids = [str(row[0]) for row in store.rows(_IDS, {"issue": issue, "limit": FINDINGS_MAX})]
    heads = [head for head in read_heads(store, ids) if head.issue == issue and head.manifest]
    if not heads:
        raise IssueError("this issue has no findings any more")
    shown = newest_of(heads).id
    found = findings_of(store, [shown])
    newest = found[shown][0] if shown in found else None
    return fitted(issue_view(issue, standing, heads, newest, now_ns=now_ns, base_url=base_url), DATA_BYTES_MAX)
