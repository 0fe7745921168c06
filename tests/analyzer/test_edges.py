"""The edges between strands: the same whether made at once or kept while accesses come and go."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.strategies import plans
from oracle.world import Plan, World

from noclobber.contract import Op
from noclobber_analyzer.access import Access, Lock, Message, Process
from noclobber_analyzer.coverage import Coverage
from noclobber_analyzer.edges import Edges, edges_into
from noclobber_analyzer.forms import access_of
from noclobber_analyzer.history import History
from noclobber_analyzer.paths import Edge

CANONICAL = ("start_ns", "span_id", "trace_id")


def at_once(accesses: Sequence[Access]) -> dict[str, list[Edge]]:
    in_order = sorted(accesses, key=lambda a: tuple(getattr(a, name) for name in CANONICAL))
    history = History(in_order, {a.process.id: a.process for a in in_order}, Coverage())
    return {strand: list(edges) for strand, edges in edges_into(history).items() if edges}


def kept(edges: Edges) -> dict[str, list[Edge]]:
    return {strand: list(own) for strand, own in edges.into().items()}


def assert_kept_as_made(accesses: list[Access], rng: random.Random) -> int:
    """In any order, some taken away and brought back, asked in between: the edges of those that are there."""
    there: dict[bytes, Access] = {}
    edges = Edges(there.get)
    rng.shuffle(accesses)
    for access in accesses:
        there[access.key] = access
        edges.add(access)
        if rng.random() < 0.3:
            gone = there.pop(rng.choice(list(there)))
            edges.drop(gone)
            if rng.random() < 0.5:
                there[gone.key] = gone
                edges.add(gone)
        if rng.random() < 0.3:
            assert kept(edges) == at_once(list(there.values()))
    assert kept(edges) == at_once(list(there.values()))
    return sum(map(len, kept(edges).values()))


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_as_made_in_any_world(plan: Plan, rng: random.Random) -> None:
    """Stories of all sorts, poorly recorded."""
    assert_kept_as_made(list(World(plan).history().accesses), rng)


@st.composite
def meetings(draw: st.DrawFn) -> list[Access]:
    """Strands that start and wait for each other, send, hold locks, and link to what others did."""
    process = Process(id="p", clock="c")
    accesses: list[Access] = []
    for at in range(draw(st.integers(2, 14))):
        op = draw(st.sampled_from((Op.SPAWN, Op.JOIN, Op.SEND, Op.RECEIVE, Op.LOCK, Op.UNLOCK, Op.READ)))
        who, other = draw(st.sampled_from("abc")), draw(st.sampled_from("abc"))
        number = str(draw(st.integers(1, 3)))
        more: dict[str, Any] = {}
        if op in (Op.SPAWN, Op.JOIN):
            more = {"strand_other": other, "strand_other_seq": draw(st.integers(0, 9))}
        elif op in (Op.SEND, Op.RECEIVE):
            more = {"message": Message(id=number)}
        elif op in (Op.LOCK, Op.UNLOCK):
            more = {"lock": Lock(owner=who, token=number)}
        if draw(st.integers(0, 3)) == 0:
            linked = draw(st.integers(0, 13))
            more["links"] = ((f"{linked:032x}", f"{linked:016x}", draw(st.sampled_from(("", "retry")))),)
        if draw(st.integers(0, 5)) == 0:
            more |= {"strand_parent": other, "strand_parent_seq": draw(st.integers(0, 9))}
        accesses.append(
            access_of(
                trace_id=f"{at:032x}", span_id=f"{at:016x}", start_ns=at * 10, end_ns=at * 10 + 5, process=process,
                op=op, resource=f"x://{draw(st.sampled_from('lm'))}", system="x", agent=who, strand=who, seq=at,
                unit=who, **more,
            )
        )  # fmt: skip
    return accesses


@given(meetings(), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_as_made_where_strands_meet(accesses: list[Access], rng: random.Random) -> None:
    """Spawns, joins, messages, locks and links, with numbers and ids that repeat."""
    assert_kept_as_made(accesses, rng)
