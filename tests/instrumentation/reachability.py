"""A small oracle: which of a program's accesses are ordered, by reachability over the edges that were recorded."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import noclobber

Node = tuple[str, int]
Program = TypeVar("Program", bound=Callable[[], Any])


class Claims(dict[Program, str], Generic[Program]):
    """Programs, each with what it claims of its accesses' order."""

    def note(self, claims: str) -> Callable[[Program], Program]:
        """Note what the program below claims."""

        def noted(program: Program) -> Program:
            self[program] = claims
            return program

        return noted


def touch(name: str) -> None:
    """Access the resource `x://{name}` in the running strand."""
    with noclobber.access(f"x://{name}", "read"):
        pass


def check(accesses: list[dict[str, Any]], claims: str) -> None:
    """Hold `claims` such as `a<b c|d` against what was recorded: `a` before `b`, `c` and `d` not ordered."""
    edges, nodes = _edges(accesses)
    for claim in claims.split():
        first, second = claim.replace("<", "|").split("|")
        forth, back = _reaches(edges, nodes[first], nodes[second]), _reaches(edges, nodes[second], nodes[first])
        expected = (True, False) if "<" in claim else (False, False)
        assert (claim, forth, back) == (claim, *expected)


def _edges(accesses: list[dict[str, Any]]) -> tuple[dict[Node, set[Node]], dict[str, Node]]:
    edges: dict[Node, set[Node]] = defaultdict(set)
    nodes: dict[str, Node] = {}
    for access in accesses:
        strand, seq = access["noclobber.strand"], access["noclobber.seq"]
        edges[strand, seq - 1].add((strand, seq))
        if "noclobber.strand.parent" in access:
            edges[access["noclobber.strand.parent"], access["noclobber.strand.parent.seq"]].add((strand, seq))
        if access["noclobber.op"] == "join":
            edges[access["noclobber.strand.other"], access["noclobber.strand.other.seq"]].add((strand, seq))
        elif access["noclobber.resource"].startswith("x://"):
            nodes[access["noclobber.resource"].removeprefix("x://")] = (strand, seq)
    return edges, nodes


def _reaches(edges: dict[Node, set[Node]], start: Node, goal: Node) -> bool:
    seen, todo = {start}, [start]
    while todo:
        for node in edges[todo.pop()] - seen:
            if node == goal:
                return True
            seen.add(node)
            todo.append(node)
    return False
