"""The graph of dependencies: trimming loses no cycle, components are those of networkx, and both are linear."""

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import VersionKind
from noclobber_analyzer.dependency import Dependency, Graph, components, dependencies, trimmed
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.succession import Proof
from story import Story

(ACCESS,) = Story().accesses("Arx1")


def _graph(pairs: list[tuple[int, int]]) -> Graph:
    graph: Graph = {}
    for source, target in pairs:
        edge = Dependency(f"{source:02}", f"{target:02}", "ww", "mem://x", ACCESS, ACCESS, Proof.VERSION)
        graph.setdefault(edge.source, []).append(edge)
    return graph


PAIRS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda p: p[0] != p[1]), max_size=40, unique=True
)


@given(PAIRS)
@settings(max_examples=300, deadline=None)
def test_components(pairs: list[tuple[int, int]]) -> None:
    """Ours are networkx's, with and without trimming."""
    expected = nx.DiGraph([(f"{a:02}", f"{b:02}") for a, b in pairs])
    sets = sorted(sorted(found) for found in nx.strongly_connected_components(expected) if len(found) > 1)
    assert sorted(components(_graph(pairs))) == sets
    assert sorted(components(trimmed(_graph(pairs)))) == sets


def test_a_long_ring_needs_no_recursion() -> None:
    """Twenty thousand units in one ring are one component."""
    ring = [(n, (n + 1) % 20_000) for n in range(20_000)]
    assert [len(found) for found in components(trimmed(_graph(ring)))] == [20_000]


def test_edges() -> None:
    """Who overwrote, read or superseded whom, told by versions."""
    history = Story(kind=VersionKind.COUNTER).history(
        "A[ Awx1 Awy1 A] B[ Brx1 Bwy2<1 B] C[ Crx1 Cry2 C] D[ Dwx2<1 Dwy3<2 D]"
    )
    found = {(edge.source[4], edge.target[4], edge.type, edge.resource[-1]) for edge in dependencies(Evidence(history))}
    assert found == {
        ("A", "B", "wr", "x"), ("A", "C", "wr", "x"), ("A", "B", "ww", "y"), ("B", "C", "wr", "y"),
        ("B", "D", "rw", "x"), ("C", "D", "rw", "x"), ("A", "D", "ww", "x"), ("B", "D", "ww", "y"),
        ("C", "D", "rw", "y"),
    }  # fmt: skip
