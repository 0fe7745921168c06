"""Issues: which findings a person would call one bug, and what has become of it.

Findings with one `issue` fingerprint are one issue. What happens to it is an append-only log of transitions, and
its state is that log replayed: every row is an event, the row's own `state` only says what its writer saw. Replay
is a fold over the rows by (time, id), each id once, so rows that were written twice, or read in another order, or
written by two parties at the same time, give the same state. The id of a row that the analyzer writes is derived
from the issue, the event and the row before it: a step that is repeated after a crash is the same row.

`due` decides what the analyzer has to write now: opening at once, further findings after a group wait and not more
often than the group interval (Alertmanager's words and defaults), resolution after a quiet period. The functions
`acknowledge`, `accept`, `silence`, `resolve`, `reopen` make a person's rows. All of this is pure; rows are read
and written by `noclobber_analyzer.issue_log`.

Source: design alerts-and-safety.md 1; contract section 3. It does not decide who is told: see `alerts`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from noclobber.contract import Certainty, IssueState, Severity
from noclobber_analyzer.clock import SECOND_NS

__all__ = [
    "NOTIFYING",
    "Event",
    "Head",
    "IssueError",
    "Policy",
    "Standing",
    "Transition",
    "accept",
    "acknowledge",
    "after",
    "due",
    "in_order",
    "reopen",
    "replay",
    "resolve",
    "silence",
    "transition",
]


class Event(StrEnum):
    """What may happen to an issue: `issue.*` is sent by webhook, `state.*` is what a person did."""

    OPENED = "issue.opened"
    UPDATED = "issue.updated"
    RESOLVED = "issue.resolved"
    REGRESSED = "issue.regressed"
    RETRACTED = "issue.retracted"
    ACKNOWLEDGED = "state.acknowledged"
    ACCEPTED = "state.accepted"
    SILENCED = "state.silenced"
    REOPENED = "state.reopened"


NOTIFYING = frozenset({Event.OPENED, Event.UPDATED, Event.RESOLVED, Event.REGRESSED, Event.RETRACTED})
"""Events whose rows are messages to the routes that want them."""

MUTED = frozenset({IssueState.ACCEPTED, IssueState.SILENCED})
"""States in which an issue sends nothing."""

ENDED = frozenset({IssueState.RESOLVED, IssueState.RETRACTED})

EVENT_VALUES = frozenset(event.value for event in Event)

ANALYZER = "analyzer"
"""The actor of the rows that no person wrote."""


class IssueError(ValueError):
    """A person asked for a step that makes no sense; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When the analyzer speaks.

    Attributes:
        group_wait_s: how long further findings of an open issue are gathered before they are told. The first one
            of an issue never waits.
        group_interval_s: least time between two tellings of one issue.
        repeat_s: an issue that nobody acknowledged is told again after this long; 0: never.
        quiet_s: without a new finding for this long an issue is resolved.
    """

    group_wait_s: float = 30.0
    group_interval_s: float = 300.0
    repeat_s: float = 4 * 3600.0
    quiet_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Head:
    """What of a finding its issue depends on: the typed columns of the table `findings`, newest revision.

    `found_ns` is when it was first written, the same over all revisions.
    """

    id: str
    revision: int
    issue: str
    kind: str
    certainty: Certainty
    severity: Severity
    manifest: bool
    status: str
    resource: str
    agents: tuple[str, ...]
    first_ns: int
    last_ns: int
    found_ns: int

    @property
    def is_open(self) -> bool:
        """Whether it still holds."""
        return self.status == "open"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the log, columns as in the table `transitions`; `body` is JSON.

    The body of a notifying row holds `data`, the issue as it was then (the message to be sent, so that every
    attempt sends the same), `told_ns`, the latest `found_ns` told, and `muted`, whether nobody is to be told; that of
    an update also `because` (`worse`, `more`, `repeat`) and `fresh_ns`, when the first finding not yet told was found.
    That of a silence holds `until_ns`.
    """

    id: str
    issue: str
    at_ns: int
    kind: str
    state: str
    finding: str
    actor: str
    reason: str
    body: str

    @property
    def content(self) -> dict[str, object]:
        """The decoded body; empty where it is empty or unreadable."""
        try:
            content = msgspec.json.decode(self.body) if self.body else {}
        except msgspec.DecodeError:
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the log says of one issue.

    Attributes:
        state: as of the last row, a silence that has run out aside (see `state_at`); None: never opened.
        last: id of the newest row; "": none. at_ns: its time.
        told_ns: findings first written up to here have been told. told_at_ns: when, the last time.
        severity, certainty: ranks told last; -1: none.
        until_ns: end of the silence. before: the state that it hides.
        actor, reason: of the last row that a person wrote.
    """

    state: IssueState | None = None
    last: str = ""
    at_ns: int = 0
    told_ns: int = 0
    told_at_ns: int = 0
    severity: int = -1
    certainty: int = -1
    until_ns: int = 0
    before: IssueState | None = None
    actor: str = ""
    reason: str = ""

    def state_at(self, now_ns: int) -> IssueState | None:
        """The state at a time: a silence that has run out uncovers what was there before."""
        if self.state is IssueState.SILENCED and self.until_ns <= now_ns:
            return self.before
        return self.state


def in_order(rows: Iterable[Transition]) -> list[Transition]:
    """The rows of one issue in the order in which they count: by (time, id), each id once."""
    return sorted({row.id: row for row in rows}.values(), key=lambda row: (row.at_ns, row.id))


def replay(rows: Iterable[Transition]) -> Standing:
    """What the log says, whatever the order and repetition of its rows."""
    standing = Standing()
    for row in in_order(rows):
        standing = after(standing, row)
    return standing


def after(standing: Standing, row: Transition) -> Standing:
    """`standing` after one more row, later than all before. An event never undoes what it did not know of."""
    if row.kind not in EVENT_VALUES:
        return standing
    event, state = Event(row.kind), standing.state_at(row.at_ns)
    following = replace(standing, last=row.id, at_ns=row.at_ns)
    if row.actor != ANALYZER:
        following = replace(following, actor=row.actor, reason=row.reason)
    if event in NOTIFYING:
        until_ns = _kept_until(event, standing, state)
        return replace(_told(following, row), state=_state_after(event, state), until_ns=until_ns)
    if event is Event.SILENCED:
        until = row.content.get("until_ns")
        until_ns = until if isinstance(until, int) else 0
        before = standing.before if state is IssueState.SILENCED else state
        return replace(following, state=IssueState.SILENCED, until_ns=until_ns, before=before)
    return replace(following, state=_STATE_OF_ACT[event], until_ns=0, before=None)


def _state_after(event: Event, state: IssueState | None) -> IssueState:
    fixed = {
        Event.RESOLVED: IssueState.RESOLVED,
        Event.RETRACTED: IssueState.RETRACTED,
        Event.REGRESSED: IssueState.REGRESSED,
    }
    if event in fixed:
        return fixed[event]
    if event is Event.OPENED:
        return state or IssueState.NEW
    kept = MUTED | ENDED | {IssueState.ACKNOWLEDGED}
    return state if state in kept and state is not None else IssueState.ONGOING


def _kept_until(event: Event, standing: Standing, state: IssueState | None) -> int:
    stays = event in (Event.UPDATED, Event.OPENED) and state is IssueState.SILENCED
    return standing.until_ns if stays else 0


def _told(standing: Standing, row: Transition) -> Standing:
    content = row.content
    data, told_ns = content.get("data"), content.get("told_ns")
    words = data if isinstance(data, dict) else {}
    return replace(
        standing,
        told_ns=max(standing.told_ns, told_ns if isinstance(told_ns, int) else 0),
        told_at_ns=row.at_ns,
        severity=_rank(Severity, words.get("severity")),
        certainty=_rank(Certainty, words.get("certainty")),
    )


def _rank(words: type[Severity] | type[Certainty], word: object) -> int:
    return words(word).rank if word in {one.value for one in words} else -1


def due(
    standing: Standing, heads: Sequence[Head], now_ns: int, policy: Policy, *, hold_resolved: bool = False
) -> Event | None:
    """What the analyzer has to write about one issue now; None: nothing.

    Args:
        standing: what the log says.
        heads: all findings of the issue, newest revision of each.
        now_ns: wall time.
        policy: waits and intervals.
        hold_resolved: something lags or is silent, so quiet proves nothing: nothing is resolved.
    """
    state, holding = standing.state_at(now_ns), [head for head in heads if head.is_open]
    if not holding:
        return Event.RETRACTED if heads and state not in (None, IssueState.RETRACTED) else None
    if state is None:
        return Event.OPENED
    if state is IssueState.RETRACTED:
        return Event.REGRESSED
    fresh = [head for head in holding if head.found_ns > standing.told_ns]
    if state is IssueState.RESOLVED:
        again = any(head.last_ns > standing.at_ns and head.found_ns > standing.at_ns for head in fresh)
        return Event.REGRESSED if again else None
    if state in MUTED:
        return None
    if _has_worsened(standing, holding) or _has_more(standing, fresh, now_ns, policy):
        return Event.UPDATED
    quiet_ns = now_ns - max(standing.at_ns, *(head.found_ns for head in holding))
    if not fresh and quiet_ns >= policy.quiet_s * SECOND_NS:
        return None if hold_resolved else Event.RESOLVED
    repeats = policy.repeat_s > 0 and state is not IssueState.ACKNOWLEDGED
    return Event.UPDATED if repeats and now_ns >= standing.told_at_ns + policy.repeat_s * SECOND_NS else None


def _has_worsened(standing: Standing, holding: Sequence[Head]) -> bool:
    severity = max(head.severity.rank for head in holding)
    certainty = max(head.certainty.rank for head in holding)
    return severity > standing.severity or certainty > standing.certainty


def _has_more(standing: Standing, fresh: Sequence[Head], now_ns: int, policy: Policy) -> bool:
    if not fresh:
        return False
    waited_ns = min(head.found_ns for head in fresh) + policy.group_wait_s * SECOND_NS
    return now_ns >= max(waited_ns, standing.told_at_ns + policy.group_interval_s * SECOND_NS)


def transition(
    event: Event, issue: str, standing: Standing, heads: Sequence[Head], *, data: dict[str, object], now_ns: int
) -> Transition:
    """The row that the analyzer writes for an event that is `due`.

    Args:
        event: what `due` said.
        issue: fingerprint.
        standing: what the log said when it was decided.
        heads: the issue's findings.
        data: the issue as it is now, to be sent.
        now_ns: wall time; the row never lies before the one before it.
    """
    state = _state_after(event, standing.state_at(now_ns))
    told_ns = max((head.found_ns for head in heads), default=0)
    newest = data.get("newest")
    finding = str(newest.get("id", "")) if isinstance(newest, dict) else ""
    body = {"data": {**data, "state": state}, "told_ns": told_ns, "muted": standing.state_at(now_ns) in MUTED}
    if event is Event.UPDATED:
        body |= _because(standing, [head for head in heads if head.is_open])
    row_id = _row_id(issue, event, standing.last)
    at_ns = max(now_ns, standing.at_ns + 1)
    return Transition(row_id, issue, at_ns, event, state, finding, ANALYZER, "", _encode(body))


def _because(standing: Standing, holding: Sequence[Head]) -> dict[str, object]:
    """Why an issue is told again: routes have waits of their own for each (`alerts.grouping`)."""
    fresh_ns = [head.found_ns for head in holding if head.found_ns > standing.told_ns]
    if holding and _has_worsened(standing, holding):
        return {"because": "worse"}
    return {"because": "more", "fresh_ns": min(fresh_ns)} if fresh_ns else {"because": "repeat"}


def _row_id(issue: str, event: Event, *cause: str) -> str:
    return hashlib.blake2b("\0".join((issue, event, *cause)).encode(), digest_size=16).hexdigest()


def _encode(body: dict[str, object]) -> str:
    return msgspec.json.encode(body, order="sorted").decode()


def acknowledge(
    issue: str, standing: Standing, *, actor: str, now_ns: int, reason: str = "", data: dict[str, object] | None = None
) -> Transition:
    """Somebody looks into it: further findings are told, reminders are not. `data` is the issue, for whom it pages."""
    _require(standing, Event.ACKNOWLEDGED, now_ns, forbidden=ENDED)
    body: dict[str, object] = {"data": {**data, "state": IssueState.ACKNOWLEDGED}} if data else {}
    return _act(Event.ACKNOWLEDGED, issue, standing, actor=actor, reason=reason, now_ns=now_ns, body=body)


def accept(issue: str, standing: Standing, *, actor: str, now_ns: int, reason: str) -> Transition:
    """It is intended: nothing is sent any more. A reason is required, and shown with who gave it."""
    if not reason.strip():
        raise IssueError("accepting an issue needs a reason: it says why this race is intended")
    _require(standing, Event.ACCEPTED, now_ns, forbidden=frozenset({IssueState.RETRACTED}))
    return _act(Event.ACCEPTED, issue, standing, actor=actor, reason=reason, now_ns=now_ns, body={})


def silence(issue: str, standing: Standing, *, actor: str, now_ns: int, until_ns: int, reason: str = "") -> Transition:
    """Nothing is sent until a time; then the issue is again what it was, and what came meanwhile is told."""
    if until_ns <= now_ns:
        raise IssueError("a silence has to end in the future")
    _require(standing, Event.SILENCED, now_ns, forbidden=ENDED)
    body: dict[str, object] = {"until_ns": until_ns}
    return _act(Event.SILENCED, issue, standing, actor=actor, reason=reason, now_ns=now_ns, body=body)


def resolve(
    issue: str, standing: Standing, *, actor: str, now_ns: int, data: dict[str, object], reason: str = ""
) -> Transition:
    """It is mended: a finding that happens after this makes it `regressed`. `data` is the issue, to be sent."""
    _require(standing, Event.RESOLVED, now_ns, forbidden=ENDED)
    body: dict[str, object] = {
        "data": {**data, "state": IssueState.RESOLVED},
        "told_ns": now_ns,
        "muted": standing.state_at(now_ns) in MUTED,
    }
    return _act(Event.RESOLVED, issue, standing, actor=actor, reason=reason, now_ns=now_ns, body=body)


def reopen(issue: str, standing: Standing, *, actor: str, now_ns: int, reason: str = "") -> Transition:
    """Takes back an acknowledgement, an acceptance, a silence or a resolution."""
    undone = MUTED | {IssueState.ACKNOWLEDGED, IssueState.RESOLVED}
    if standing.state_at(now_ns) not in undone:
        raise IssueError(f"issue {issue} is {standing.state_at(now_ns)}: there is nothing to take back")
    return _act(Event.REOPENED, issue, standing, actor=actor, reason=reason, now_ns=now_ns, body={})


def _require(standing: Standing, event: Event, now_ns: int, forbidden: frozenset[IssueState]) -> None:
    state = standing.state_at(now_ns)
    if state is None:
        raise IssueError("there is no such issue")
    if state in forbidden:
        raise IssueError(f"the issue is {state}: {event.value.partition('.')[2]} would say nothing; reopen it first")


def _act(
    event: Event, issue: str, standing: Standing, *, actor: str, reason: str, now_ns: int, body: dict[str, object]
) -> Transition:
    state = _STATE_OF_ACT[event]
    row_id = _row_id(issue, event, standing.last, actor, reason, str(body.get("until_ns", "")))
    at_ns = max(now_ns, standing.at_ns + 1)
    return Transition(row_id, issue, at_ns, event, state, "", actor, reason, _encode(body) if body else "")


_STATE_OF_ACT = {
    Event.ACKNOWLEDGED: IssueState.ACKNOWLEDGED,
    Event.ACCEPTED: IssueState.ACCEPTED,
    Event.SILENCED: IssueState.SILENCED,
    Event.RESOLVED: IssueState.RESOLVED,
    Event.REOPENED: IssueState.ONGOING,
}
