"""What are the agents doing to shared state right now?

The stream of accesses as a picture (who, when, what) and as a table, refreshed by itself until it is paused. What is
still open, since its process has not ended it, is shown as well: a call that hangs is what somebody looks for here.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from noclobber.contract import Op
from noclobber_dashboard.components.prose import Cell, Column, Dots, Node, Shape, Table, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, empty_box
from noclobber_dashboard.parts import Part
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import AccessRecord
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import duration, shorten

__all__ = ["FAMILIES", "PART", "dots", "render"]

REFRESH_S: Final = 2
SHOWN: Final = 300
LANES_MAX: Final = 14
ROWS_SHOWN: Final = 100
"""Of the accesses that are drawn, how many are listed as well."""
TICKS: Final = 5
FINE_US: Final = 10_000_000
"""Shorter than this, times are told to the millisecond."""
OPS: Final = tuple(str(op) for op in Op if op is not Op.MARK)
FAMILIES: Final = ("reads", "writes", "locks", "messages", "effects", "other")
"""Families of operations, each drawn in its colour (`prose.css`)."""
_FAMILY: Final = {
    Op.READ: "reads", Op.SCAN: "reads", Op.WRITE: "writes", Op.DELETE: "writes", Op.UPDATE: "writes",
    Op.LOCK: "locks", Op.UNLOCK: "locks", Op.SEND: "messages", Op.RECEIVE: "messages", Op.ACK: "messages",
    Op.NACK: "messages", Op.EFFECT: "effects",
}  # fmt: skip


def render() -> None:
    """Show the latest accesses, again every few seconds."""
    prose([Node("h1", children=("Live",))], key="live-title")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        text = st.text_input("Search", placeholder="resource, agent or strand", key="live_q", bind="query-params",
                             width=260)  # fmt: skip
        ops = st.multiselect("Operations", OPS, placeholder="all", key="op", bind="query-params", width=330)
        paused = st.toggle("pause", key="paused")
    served().parts.show("live", {"q": text or "", "op": ",".join(ops)}, fresh=not paused)


def dots(accesses: Sequence[AccessRecord]) -> Dots:
    """A dot for each access, with a line as long as it took, in its agent's lane, the busiest first.

    Agents beyond `LANES_MAX` share the last lane; accesses without an agent are named by their process.
    """
    counted: dict[str, int] = {}
    for access in accesses:
        counted[_actor(access)] = counted.get(_actor(access), 0) + 1
    order = sorted(counted, key=lambda name: (-counted[name], name))
    lanes = order if len(order) <= LANES_MAX else [*order[: LANES_MAX - 1], f"{len(order) - LANES_MAX + 1} others"]
    place = {name: min(number, len(lanes) - 1) for number, name in enumerate(order)}
    first_us = min(access.start_ns for access in accesses) // 1_000
    last_us = max(max(access.start_ns, access.end_ns) for access in accesses) // 1_000
    whole_us = max(1, last_us - first_us)
    points = [
        (
            place[_actor(access)],
            round(100 * (access.start_ns // 1_000 - first_us) / whole_us, 2),
            round(100 * max(0, access.end_ns - access.start_ns) / 1_000 / whole_us, 2),
            _family(access.op),
            f"{_actor(access)}: {access.op} {shorten(access.resource, 80)}, {_took(access)}",
        )
        for access in accesses
    ]
    return Dots(lanes, points, _ticks(first_us, whole_us), "who did what when, a lane for each agent")


def _ticks(first_us: int, whole_us: int) -> list[tuple[float, str]]:
    at_us = [first_us + whole_us * number // (TICKS - 1) for number in range(TICKS)]
    return [(round(100 * number / (TICKS - 1), 2), _clock(us * 1_000, fine=whole_us < FINE_US))
            for number, us in enumerate(at_us)]  # fmt: skip


def _clock(at_ns: int, *, fine: bool = True) -> str:
    seconds, rest = divmod(at_ns // 1_000_000, 1_000)
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) + (f".{rest:03d}" if fine else "")


def _parts(queries: Queries, asked: Mapping[str, str]) -> Sequence[Shape]:
    text, ops = asked["q"], [op for op in asked["op"].split(",") if op in OPS]
    seconds, accesses = queries.stream(SHOWN, text, ops)
    if not accesses:
        lately = f"in the last {seconds // 60} min"
        if text or ops:
            return [empty_box("Nothing fits", f"No access {lately} has these words and operations.")]
        words = "This page shows the first as soon as it arrives. Start an agent:"
        return [empty_box(f"No access {lately}", words, RUN_SNIPPET)]
    most = "The latest " if len(accesses) >= SHOWN else ""
    back = f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
    note = Node("p", "quiet small", (f"{most}{len(accesses):,} accesses of the last {back}",))
    legend = [Node("span", f"op {name}", (Node("b", children=("● ",)), name)) for name in FAMILIES]
    title = Node("div", "head", (Node("h2", children=("Who, when, what (UTC)",)), *legend))
    return [Node("div", "stack-of", (note, Node("div", "card", (title, dots(accesses))), _table(accesses)))]


def _table(accesses: Sequence[AccessRecord]) -> Node:
    columns = [
        Column("time (UTC)"), Column("agent"), Column("op"), Column("resource"), Column("outcome"), Column("took"),
        Column("read", says="version that was read"), Column("written", says="version that was written"),
        Column("guard", says="what held the write to its base"), Column("strand"), Column("trace"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            _clock(access.start_ns), _actor(access), Node("span", f"op {_family(access.op)}", (access.op,)),
            access.resource, access.outcome, _took(access), access.version_read, access.version_written,
            access.guard, access.strand, access.trace_id,
        ]
        for access in accesses[:ROWS_SHOWN]
    ]  # fmt: skip
    listed = f"The newest {ROWS_SHOWN} of them" if len(accesses) > ROWS_SHOWN else "All of them"
    return Node("div", children=(
        Node("h2", children=(listed,)), Table(columns, rows, "the latest accesses, newest first"),
    ))  # fmt: skip


def _family(op: str) -> str:
    return _FAMILY.get(Op(op), "other") if op in OPS else "other"


def _actor(access: AccessRecord) -> str:
    return access.agent or access.process


def _took(access: AccessRecord) -> str:
    return "still open" if access.open else duration(max(0, access.end_ns - access.start_ns))


PART: Final = Part("live", REFRESH_S, _parts, ("q", "op"))
