"""The filter in front of the detectors: whatever it spares them, they would have found nothing there."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from oracle.strategies import plans
from oracle.world import Plan, World

from noclobber.contract import BaseSource, Guard, Op, Outcome, UnitKind, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.forms import access_of, changed
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.quiet import is_quiet

PACE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
KINDS = (VersionKind.COUNTER, VersionKind.COUNTER, VersionKind.FINGERPRINT, VersionKind.CHAIN)
CLOCKS: dict[str, tuple[tuple[str | None, str], ...]] = {
    "one": (("c", "h"), ("c", "h"), ("c", "h")),
    "hosts": ((None, "h1"), (None, "h2"), (None, "h1")),
    "apart": (("c1", "h1"), ("c2", "h2"), ("c3", "h3")),
}


def _version(kind: VersionKind, number: int) -> str:
    if kind is VersionKind.COUNTER:
        return str(number)
    return kind.absent if number == 0 else f"v{number}"


@st.composite
def turns(draw: st.DrawFn) -> list[Access]:
    """What three strands do to one resource, one after the other: each reads, updates, or writes from what stands."""
    kind = draw(st.sampled_from(KINDS))
    tells, steps = draw(st.booleans()), draw(st.booleans())
    processes = [
        Process(id=f"p{at}", clock=clock, host=host, clock_offset_ns=at * 1000 if clock else 0)
        for at, (clock, host) in enumerate(CLOCKS[draw(st.sampled_from(sorted(CLOCKS)))])
    ]
    stands = draw(st.sampled_from((0, 0, 3)))
    seqs = [0, 0, 0]
    accesses: list[Access] = []
    for at in range(draw(st.integers(2, 8))):
        who = draw(st.integers(0, 2))
        seqs[who] += 1
        start = (at + 1) * 10_000_000 + processes[who].clock_offset_ns
        said: dict[str, Any] = {
            "trace_id": f"{at:032x}", "span_id": f"{at:016x}", "start_ns": start, "end_ns": start + 1_000_000,
            "process": processes[who], "resource": "x://1", "system": "x", "agent": f"a{who}", "strand": f"s{who}",
            "seq": seqs[who], "unit": f"step{at // 2}.{who}" if steps else f"s{who}", "version_kind": kind,
            "unit_kind": UnitKind.STEP if steps else None,
        }  # fmt: skip
        match draw(st.sampled_from(("read", "write", "write", "update"))):
            case "read":
                found = Outcome.OK if stands else Outcome.NOT_FOUND
                accesses.append(access_of(op=Op.READ, read=_version(kind, stands), outcome=found, **said))
            case "update":
                stands += 1
                accesses.append(
                    access_of(op=Op.UPDATE, written=_version(kind, stands), mode=WriteMode.INCREMENT, **said)
                )
            case _:
                said |= {"base": _version(kind, stands), "base_source": BaseSource.OBSERVED}
                if tells:
                    said["overwritten"] = said["base"]
                stands += 1
                accesses.append(access_of(op=Op.WRITE, written=_version(kind, stands), **said))
    return accesses


MUTATIONS: dict[str, Callable[[st.DrawFn, Access, list[Access]], dict[str, Any]]] = {
    "read": lambda draw, _, all_: {"read": draw(_any_version(all_))},
    "base": lambda draw, _, all_: {"base": draw(st.one_of(st.none(), _any_version(all_)))},
    "over": lambda draw, _, all_: {"overwritten": draw(_any_version(all_))},
    "made": lambda draw, _, all_: {"written": draw(st.one_of(st.none(), _any_version(all_)))},
    "candidates": lambda draw, _, all_: {"candidates": (draw(_any_version(all_)),)},
    "early": lambda draw, a, _: {"start_ns": a.start_ns - draw(st.integers(1, 6)) * 9_000_000},
    "late": lambda draw, a, _: {"end_ns": a.end_ns + draw(st.integers(1, 6)) * 9_000_000},
    "shifted": lambda draw, a, _: _shifted(a, draw(st.integers(-4, 4)) * 10_000_000),
    "strand": lambda draw, _, all_: {"strand": draw(st.sampled_from(all_)).strand, "seq": 50},
    "unit": lambda draw, _, all_: {"unit": draw(st.sampled_from(all_)).unit, "unit_kind": UnitKind.STEP},
    "txn": lambda _, __, ___: {"txn_id": "t", "unit": "t", "unit_kind": UnitKind.TXN},
    "delete": lambda _, __, ___: {"op": Op.DELETE},
    "outcome": lambda draw, _, __: {"outcome": draw(st.sampled_from(Outcome))},
    "mode": lambda draw, _, __: {"mode": draw(st.sampled_from(WriteMode))},
    "guard": lambda draw, _, __: {"guard": draw(st.sampled_from(Guard))},
    "ttl": lambda _, __, ___: {"ttl_ms": 5},
    "part": lambda _, __, ___: {"part": ("p",)},
    "weak": lambda _, __, ___: {"weak": True},
    "verbatim": lambda _, __, ___: {"verbatim": False},
    "locks": lambda _, __, ___: {"locks": ("lock://l",)},
    "partial": lambda _, __, ___: {"partial": True},
    "open": lambda _, __, ___: {"open": True},
    "closed": lambda _, __, ___: {"closed": True},
    "kind": lambda draw, _, __: {"version_kind": draw(st.sampled_from([None, *VersionKind]))},
    "container": lambda _, __, ___: {"resource": "x://"},
}


def _any_version(accesses: list[Access]) -> st.SearchStrategy[str]:
    known = {v for a in accesses for v in (a.read, a.written, a.base) if v is not None}
    return st.sampled_from(sorted(known | {"0", "absent", "9", "other"}))


def _shifted(access: Access, by: int) -> dict[str, Any]:
    return {"start_ns": access.start_ns + by, "end_ns": access.end_ns + by}


@st.composite
def nearly_in_turn(draw: st.DrawFn) -> list[Access]:
    """The same with a few accesses changed, moved, or lost."""
    accesses = draw(turns())
    for name in draw(st.lists(st.sampled_from(sorted(MUTATIONS)), max_size=3)):
        at = draw(st.integers(0, len(accesses) - 1))
        accesses[at] = changed(accesses[at], **MUTATIONS[name](draw, accesses[at], accesses))
    if len(accesses) > 2 and draw(st.integers(0, 4)) == 0:
        del accesses[draw(st.integers(0, len(accesses) - 1))]
    return accesses


def _history(accesses: list[Access]) -> History:
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(changed(access), access.name)
    return builder.finish(ended=True)


@given(nearly_in_turn())
@settings(max_examples=1500, **PACE)
def test_nothing_is_lost_by_the_filter(accesses: list[Access]) -> None:
    """Histories close to the border of what is quiet: findings, defences and what is unknown are the same without."""
    history = _history(accesses)
    quiet = all(is_quiet(name, own) for name, own in history.resources.items())
    event("quiet" if quiet else "looked at")
    assert evaluate(history) == evaluate(_history(accesses), filtered=False)


@pytest.mark.long
@given(nearly_in_turn())
@settings(max_examples=200_000, **PACE)
def test_nothing_is_lost_by_the_filter_at_length(accesses: list[Access]) -> None:
    """The same, for long."""
    assert evaluate(_history(accesses)) == evaluate(_history(accesses), filtered=False)


@given(plans())
@settings(max_examples=1000, **PACE)
def test_nothing_is_lost_in_any_world(plan: Plan) -> None:
    """Stories of all sorts, poorly recorded: the same."""
    assert evaluate(World(plan).history()) == evaluate(World(plan).history(), filtered=False)


@given(turns())
@settings(max_examples=300, **PACE)
def test_work_in_turn_is_quiet(accesses: list[Access]) -> None:
    """Numbers that are used in turn need no detector, unless a step looked twice and saw two states."""
    numbers = accesses[0].version_kind is VersionKind.COUNTER
    steps = accesses[0].unit_kind is not None
    if numbers and not steps and len({a.process.host for a in accesses}) == 1:
        assert is_quiet("x://1", accesses)
