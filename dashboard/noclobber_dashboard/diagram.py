"""The space-time diagram as data: what the browser needs to draw one slice, and nothing it has to decide.

Words are put here (box labels, evidence on arrows, the panel's rows), places come from `layout`. The browser sets all
of it as text. Values are never among it: versions, prints and sizes are.

Source: dashboard.md section 5.
"""

from dataclasses import dataclass
from typing import Any, Final

from noclobber.contract import Op
from noclobber_dashboard.layout import Layout, lay_out
from noclobber_dashboard.records import AccessRecord
from noclobber_dashboard.slices import WRITES, Edge, Slice
from noclobber_dashboard.traces import trace_link
from noclobber_dashboard.versions import VersionNames
from noclobber_dashboard.wording import clock_time, duration, short_name, shorten

__all__ = ["diagram_data"]

FAMILY: Final[dict[str, str]] = {
    Op.READ: "read", Op.SCAN: "read", Op.WRITE: "write", Op.DELETE: "write", Op.UPDATE: "write", Op.MODEL: "model",
    Op.SEND: "message", Op.RECEIVE: "message", Op.ACK: "message", Op.NACK: "message", Op.LOCK: "lock",
    Op.UNLOCK: "lock", Op.BEGIN: "transaction", Op.COMMIT: "transaction", Op.ABORT: "transaction", Op.EFFECT: "effect",
}  # fmt: skip
VERB: Final[dict[str, str]] = {Op.RECEIVE: "receive", Op.MODEL: "model call", Op.BEGIN: "begin", Op.ABORT: "abort"}
RACE_LABEL: Final = {
    "dirty_read": "read before commit",
    "intermediate_read": "read in between",
    "double_claim": "claimed twice",
    "fork": "unordered fork",
}
EDGE_LABEL: Final = {
    "base": "computed from", "reads-from": "reads", "reads_from": "reads", "wr": "reads", "rf": "reads",
    "ww": "overwrites", "rw": "misses",
}  # fmt: skip
PANEL_CHARACTERS_MAX: Final = 400
_EMPTY: Final = ("", 0, False, ())
_PANEL_SKIPPED: Final = frozenset({"start_ns", "end_ns", "trace_id", "span_id"})


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every box of one picture is drawn from."""

    cut: Slice
    names: VersionNames
    layout: Layout
    resource: str
    past: set[str]
    trace_url: str


def diagram_data(cut: Slice, kind: str, resource: str, trace_url: str = "") -> dict[str, Any]:
    """Everything that the component draws, as JSON.

    Args:
        cut: what to draw.
        kind: the finding's kind, which words the arc.
        resource: the finding's resource: the one that boxes need not name.
        trace_url: template of a trace's address in the user's backend; empty: none is linked.
    """
    names = VersionNames(cut.events, cut.roles)
    layout = lay_out(cut.events, [(edge.source, edge.target) for edge in cut.edges], cut.race)
    racing = set(cut.race or ())
    strand_of = {event.key: event for event in cut.events}
    racing_strands = {strand_of[key].strand for key in racing}
    agents = {event.strand: event.agent for event in cut.events}
    scene = _Scene(cut, names, layout, resource, _causal_past(cut, racing), trace_url)
    return {
        "byTime": layout.by_time,
        "columns": layout.columns,
        "lanes": [
            {
                "agent": agents[strand] or strand,
                "strand": strand if strand != agents[strand] else "",
                "racing": strand in racing_strands,
            }
            for strand in layout.lanes
        ],
        "events": [_event(event, scene) for event in cut.events],
        "edges": [
            _edge(edge, scene, closing=(edge.source, edge.target) in layout.closing, racing=racing)
            for edge in cut.edges
        ],
        "race": None
        if cut.race is None
        else {
            "a": cut.race[0],
            "b": cut.race[1],
            "label": RACE_LABEL.get(kind, "unordered conflict"),
            "why": cut.race_why,
        },
        "breaks": [{"x": item.x, "label": item.label} for item in layout.breaks],
        "note": _note(cut, by_time=layout.by_time),
        "omitted": cut.omitted,
    }


def _event(event: AccessRecord, scene: _Scene) -> dict[str, Any]:
    cut, names, place = scene.cut, scene.names, scene.layout.places[event.key]
    role = cut.roles.get(event.key, "")
    return {
        "id": event.key,
        "lane": place.lane,
        "x": place.x,
        "w": place.width,
        "family": FAMILY.get(event.op, "other"),
        "label": _label(event, names),
        "sub": _sub(event, names, scene.resource),
        "race": cut.race is not None and event.key in cut.race,
        "stale": event.key in cut.stale,
        "witness": bool(role),
        "past": event.key in scene.past,
        "affected": event.key in cut.affected,
        "trace": trace_link(scene.trace_url, event.trace_id, event.span_id),
        "applied": event.outcome in ("", "ok", "not_found"),
        "tip": _tip(event, names, role, stale=event.key in cut.stale, affected=event.key in cut.affected),
        "rows": _rows(event, role),
    }


def _label(event: AccessRecord, names: VersionNames) -> str:
    verb = VERB.get(event.op, event.op[:12])
    version = event.version_written if event.op in WRITES else event.version_read
    return f"{verb} {names.name(event.resource, version)}".strip()


def _sub(event: AccessRecord, names: VersionNames, resource: str) -> str:
    """The second line of a box: what went wrong, another resource's name, or the version's print."""
    if event.outcome not in ("", "ok", "not_found"):
        return event.outcome.replace("_", " ")
    if event.open:
        return "still waiting"
    if event.op == Op.MODEL:
        return duration(max(0, event.end_ns - event.start_ns))
    if event.message_id:
        return shorten(event.message_id, 14)
    if event.resource != resource:
        return shorten(short_name(event.resource), 16)
    version = event.version_written if event.op in WRITES else event.version_read
    return names.print_of(event.resource, version) or duration(max(0, event.end_ns - event.start_ns))


def _tip(event: AccessRecord, names: VersionNames, role: str, *, stale: bool, affected: bool) -> list[str]:
    def named(version: str) -> str:
        mark = names.print_of(event.resource, version)
        return names.name(event.resource, version) + (f" ({mark}…)" if mark else "")

    lines = [f"{event.agent} · {_label(event, names)}", short_name(event.resource)]
    lines += [f"role: {role.replace('_', ' ')}"] if role else []
    lines += ["what the later write was computed from: no longer current by then"] if stale else []
    lines += ["rests on what came of the race"] if affected else []
    if event.version_base:
        source = f", {event.version_base_source}" if event.version_base_source else ""
        lines.append(f"computed from {named(event.version_base)}{source}")
    if event.version_overwritten:
        lines.append(f"really replaced {named(event.version_overwritten)}")
    if event.guard not in ("", "none"):
        lines.append(f"guard: {event.guard}")
    lines.append(f"{clock_time(event.start_ns)} UTC, took {duration(max(0, event.end_ns - event.start_ns))}")
    if event.code_function_name or event.code_file_path:
        lines.append(_site(event))
    return lines


def _site(event: AccessRecord) -> str:
    place = f"{event.code_file_path}:{event.code_line_number}" if event.code_file_path else ""
    return " ".join(part for part in (event.code_function_name, place) if part)


def _rows(event: AccessRecord, role: str) -> list[list[str]]:
    """The panel: every attribute that the span carries, by the contract's words."""
    rows = [["role", role]] if role else []
    rows.append(["start", f"{clock_time(event.start_ns)} UTC"])
    rows.append(["took", duration(max(0, event.end_ns - event.start_ns))])
    for name in event.__slots__:
        value = getattr(event, name)
        if name not in _PANEL_SKIPPED and value not in _EMPTY:
            text = ", ".join(value) if isinstance(value, tuple) else str(value)
            rows.append([name.replace("_", "."), text[:PANEL_CHARACTERS_MAX]])
    return [*rows, ["trace id", event.trace_id], ["span id", event.span_id]]


def _edge(edge: Edge, scene: _Scene, *, closing: bool, racing: set[str]) -> dict[str, Any]:
    places = scene.layout.places
    same_lane = places[edge.source].lane == places[edge.target].lane
    return {
        "from": edge.source,
        "to": edge.target,
        "type": _style(edge.type),
        "label": EDGE_LABEL.get(edge.type, edge.type.replace("_", " ")),
        "why": edge.why,
        "sameLane": same_lane,
        "closing": closing,
        "stale": edge.source in scene.cut.stale,
        "strong": edge.of_witness or bool({edge.source, edge.target} & racing),
    }


def _style(edge_type: str) -> str:
    """How an arrow is drawn: knowledge, message, base or control."""
    if edge_type in ("base", "derived", "computed"):
        return "base"
    if edge_type in ("reads-from", "reads_from", "wr", "rf"):
        return "reads"
    return "message" if edge_type in ("message", "handoff", "retry") else "order"


def _causal_past(cut: Slice, racing: set[str]) -> set[str]:
    """Keys of the racing accesses and everything that led to either: causes, and what their strands did before."""
    causes: dict[str, list[str]] = {}
    for edge in cut.edges:
        causes.setdefault(edge.target, []).append(edge.source)
    lanes: dict[str, list[AccessRecord]] = {}
    for event in sorted(cut.events, key=lambda item: (item.seq, item.start_ns)):
        lane = lanes.setdefault(event.strand, [])
        if lane:
            causes.setdefault(event.key, []).append(lane[-1].key)
        lane.append(event)
    past, waiting = set(racing), list(racing)
    while waiting:
        for cause in causes.get(waiting.pop(), ()):
            if cause not in past:
                past.add(cause)
                waiting.append(cause)
    return past


def _note(cut: Slice, *, by_time: bool) -> str:
    clocks = {event.clock or event.host for event in cut.events}
    if by_time:
        text = "Time runs right, idle time is compressed; a box stands right of everything that caused it."
    else:
        text = "Order runs right, not to scale; hover for times, click for all attributes."
    if len(clocks) > 1:
        text += f" {len(clocks)} clocks with no measured bound between them: only causes order their boxes."
    if cut.omitted:
        text += f" {cut.omitted} further accesses nearby are left out."
    return text
