"""The smallest witness: the accesses of one finding as a graph, with just the edges that show the anomaly.

networkx holds this one small graph: the detector's own links, program order between accesses of one strand, and
nothing that follows from other edges (transitive reduction). It is what `edges` holds and what is drawn.

Source: analysis.md 12.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from noclobber_analyzer.access import Access
from noclobber_analyzer.finding import Edge
from noclobber_analyzer.verdict import Candidate, Link

__all__ = ["NODES_MAX", "witness"]

NODES_MAX: Final = 400
"""Accesses between which edges are told, the first of a story that has more."""


def witness(candidate: Candidate) -> tuple[Edge, ...]:
    """The edges of a candidate's witness, in the order of telling."""
    accesses = [access for access, _ in candidate.roles][:NODES_MAX]
    place = {access.name: number for number, access in enumerate(accesses)}
    links = [link for link in candidate.links if link.source.name in place and link.target.name in place]
    said = {(link.source.name, link.target.name) for link in links}
    program = [link for link in _program(accesses) if (link.source.name, link.target.name) not in said]
    links += _reduced(program, links)
    links.sort(key=lambda link: (place[link.source.name], place[link.target.name]))
    return tuple(Edge(link.source.span_id, link.target.span_id, link.type, link.why) for link in links)


def _program(accesses: Sequence[Access]) -> list[Link]:
    by_strand: dict[str, list[tuple[int, int]]] = {}
    for number, access in enumerate(accesses):
        by_strand.setdefault(access.strand, []).append((access.seq, number))
    links = []
    for own in by_strand.values():
        for (_, first), (_, second) in pairwise(sorted(own)):
            one, other = accesses[first], accesses[second]
            links.append(Link(one, other, "program", "one line of execution did one after the other"))
    return links


def _reduced(program: list[Link], links: list[Link]) -> list[Link]:
    """Program order without what the other links already imply."""
    if not program:
        return []
    import networkx as nx  # a fifteenth of a second, which a run without findings need not wait for

    graph = nx.DiGraph()
    graph.add_edges_from((link.source.name, link.target.name) for link in links if link.type != "unordered")
    graph.add_edges_from((link.source.name, link.target.name) for link in program)
    if not nx.is_directed_acyclic_graph(graph):
        return program
    kept = set(nx.transitive_reduction(graph).edges)
    return [link for link in program if (link.source.name, link.target.name) in kept]
