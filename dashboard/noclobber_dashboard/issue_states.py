"""The states of all issues at once, where too many would have to be replayed to ask for those in one state.

What a log means is said by `noclobber_analyzer.issues.replay`, and the state that a page or an answer shows comes from
there. Here the same is said in SQL, so that a list can be filtered by state and counted however long it is: the last
event that gives a state of its own counts; after it a silence hides what is there until it ends, and an update that no
silence hid makes new and regressed issues ongoing. A test holds the two equal over generated logs.
"""
# ruff: noqa: S608  put together from this module's own constants only; every value is a bound parameter

from typing import Final

__all__ = ["STATES"]

_GIVING: Final = (
    "('issue.resolved', 'issue.retracted', 'issue.regressed', 'state.acknowledged', 'state.accepted', 'state.reopened')"
)
# only the body of a silence is read: those of messages hold all that was sent
_EVENTS: Final = (
    "SELECT issue, (at_ns, id) AS place, toString(kind) AS event, toUInt64(0) AS until FROM transitions"
    " WHERE kind IN " + _GIVING + " OR kind = 'issue.updated' UNION ALL"
    " SELECT issue, (at_ns, id) AS place, toString(kind) AS event, JSONExtractUInt(body, 'until_ns') AS until"
    " FROM transitions WHERE kind = 'state.silenced'"
)
_FOLDED: Final = (
    "SELECT issue, maxIf(place, event IN " + _GIVING + ") AS since,"
    " argMaxIf(event, place, event IN " + _GIVING + ") AS given,"
    " arrayFilter(s -> s.1 > since, arraySort(groupArrayIf((place, until), event = 'state.silenced'))) AS silences,"
    " arrayExists(u -> u > since AND arrayLast(s -> s.1 < u, silences).2 <= u.1,"
    " groupArrayIf(place, event = 'issue.updated')) AS told"
    " FROM (" + _EVENTS + ") GROUP BY issue"
)
STATES: Final = (
    "(SELECT issue, multiIf(arrayLast(s -> 1, silences).2 > {now:UInt64}, 'silenced',"
    " given IN ('issue.resolved', 'issue.retracted', 'state.acknowledged', 'state.accepted'),"
    " splitByChar('.', given)[2], given = 'state.reopened' OR told, 'ongoing',"
    " given = 'issue.regressed', 'regressed', 'new') AS state FROM (" + _FOLDED + "))"
)
"""`issue` and its `state` at the time `now`, where anything happened after it was opened; all others are new."""
