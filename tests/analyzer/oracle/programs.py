"""Schedules for hypothesis: what lines of execution do to the models of queues, locks and the world outside."""

from functools import partial
from typing import Final

from hypothesis import strategies as st
from oracle.effects_model import Decisions, Looks, Outside
from oracle.locks_model import LockServer, Waiting
from oracle.moments import Stage, Thing, schedules, things
from oracle.queues_model import Broker, Jobs, Log

__all__ = [
    "GROUPS", "HELD", "HELD_BY_TWO", "IN_THE_LOG", "LOOKED", "SENT", "SERVERS", "calls", "decisions", "deliveries",
    "firm_lines", "jobs", "locked", "looks", "messages", "servers", "waits", "worlds",
]  # fmt: skip

GROUPS: Final = ("", "ggg", "ggh")
"""The group of each line: none, one, two."""

SENT: Final = [Thing(0, "send", "m")]
LOOKED: Final = [Thing(0, "look", "m"), Thing(1, "look", "m")]
IN_THE_LOG: Final = [Thing(2, "send")] * 3
HELD: Final = [Thing(0, "lock", "l"), Thing(0, "read", "x")]
HELD_BY_TWO: Final = [Thing(0, "lock", "a"), Thing(1, "lock", "b")]

SERVERS: Final = {
    "fencing": partial(LockServer, lease=2),
    "fenced": partial(LockServer, lease=2, fences=True),
    "two heads": partial(LockServer),
    "leases": partial(LockServer, tokens=False, lease=2),
    "for ever": partial(LockServer, tokens=False, checks=False),
    "leases that anybody ends": partial(LockServer, tokens=False, lease=3, checks=False),
    "numbers that anybody ends": partial(LockServer, checks=False),
}
"""Lock servers that schedules are told to."""

_READING = ("next", "next", "skip", "rewind", "work", "work", "done")
_TAKING = things("look", "take", "take", "work", "work", "free")
_LOCKING = ("lock", "lock", "unlock", "read", "write", "write", "pass", "grab")
_WAITING = things("lock", "lock", "unlock", "poll", "quit", to="ab")
_ENDS = ("ok", "ok", "lost", "never", "failed")
_CALLING = [Thing(line, does, end) for does in ("call", "repeat", "repeat") for line in (0, 1) for end in _ENDS]
_DECIDING = [Thing(0, "decide", "1"), *things("carry", "carry", lines=4), Thing(0, "decide", "2")]

deliveries = schedules(lambda: Broker([]), things("get", "get", "work", "work", "done", "back"), first=SENT, most=5)
messages = st.one_of(
    schedules(lambda: Log([]), things(*_READING, to="ab", lines=1), first=IN_THE_LOG),
    schedules(lambda: Log([]), things(*_READING, to="ab", lines=2), first=IN_THE_LOG),
    schedules(lambda: Log([]), things("send", "split", "next", "skip", lines=2)),
)
jobs = st.one_of(schedules(lambda: Jobs([]), _TAKING), schedules(lambda: Jobs([]), _TAKING, first=LOOKED))
locked = st.one_of(
    schedules(lambda: LockServer([], lease=2, checks=False), things(*_LOCKING, to="l", lines=2), first=HELD),
    schedules(lambda: LockServer([], checks=False), things(*_LOCKING, to="l"), first=HELD),
    schedules(lambda: LockServer([]), things(*_LOCKING, to="lk", lines=2)),
)
servers = st.sampled_from(sorted(SERVERS))
waits = st.one_of(
    schedules(lambda: Waiting([]), _WAITING, first=HELD_BY_TWO),
    schedules(lambda: Waiting([]), [*_WAITING, *things("join", to="012"), *things("end")], first=HELD_BY_TWO[:1]),
)
calls = schedules(lambda: Outside([]), _CALLING)
looks = st.one_of(
    schedules(lambda: Looks([]), things("look", "change", "act", to="x")),
    schedules(lambda: Looks([]), things("look", "look", "change", "act", to="xy", lines=2)),
)
firm_lines = st.frozensets(st.integers(0, 2))
decisions = schedules(lambda: Decisions([]), _DECIDING, first=[Thing(0, "decide", "3")])

worlds: st.SearchStrategy[Stage] = st.one_of(
    st.builds(Broker, deliveries, counts=st.booleans(), keyed=st.booleans(), groups=st.sampled_from(GROUPS)),
    messages.map(Log),
    st.builds(Jobs, jobs, compares=st.booleans()),
    st.builds(lambda program, server: SERVERS[server](program), locked, servers),
    st.builds(Waiting, waits, follows=st.booleans(), names=st.booleans()),
    st.builds(Outside, calls, keyed=st.booleans(), linked=st.booleans(), apart=st.booleans()),
    st.builds(Looks, looks, firm=firm_lines),
    decisions.map(Decisions),
)
"""All models, each after a schedule."""
