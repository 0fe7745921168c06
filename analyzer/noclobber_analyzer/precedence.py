"""One set of accesses, one finding: the earliest kind that fits names it, later ones go to its `also`.

Source: contract 3 (order), detection.md 3.1.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from noclobber.contract import PRECEDENCE, Certainty, Kind
from noclobber_analyzer.verdict import Candidate, Name

__all__ = ["settle"]


def settle(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Of candidates with common anchors the one of the earliest kind, naming the others.

    A candidate whose anchors all are anchors of one of an earlier kind makes no finding of its own, nor does what an
    earlier kind names as its consequences: whoever mends the cause is rid of them. Only a mere possibility swallows
    nothing that is surer: what is known outranks a guess.
    """
    kept: list[Candidate] = []
    covering: dict[Name, list[int]] = defaultdict(list)
    caused: dict[Name, list[int]] = defaultdict(list)
    for candidate in sorted(candidates, key=_rank):
        holder = _holder(candidate, kept, covering)
        if holder is None:
            holder = _cause(candidate, kept, caused)
        if holder is None:
            for anchor in candidate.anchors:
                covering[anchor.name].append(len(kept))
            for name in candidate.consequences:
                caused[name].append(len(kept))
            kept.append(candidate)
        else:
            kept[holder] = replace(kept[holder], also=_joined(kept[holder], candidate.kind, *candidate.also))
    return kept


def _rank(candidate: Candidate) -> tuple[int, int, tuple[str, ...]]:
    return PRECEDENCE[candidate.kind], -candidate.grade.certainty.rank, candidate.anchor_names


def _holder(candidate: Candidate, kept: list[Candidate], covering: dict[Name, list[int]]) -> int | None:
    """The one of an earlier kind, more than possible or as sure, that has all its anchors; or its own double."""
    for index in _common(candidate, covering):
        one = kept[index]
        if _outranks(one, candidate) or (one.kind is candidate.kind and one.anchor_names == candidate.anchor_names):
            return index
    return None


def _cause(candidate: Candidate, kept: list[Candidate], caused: dict[Name, list[int]]) -> int | None:
    """The one of an earlier kind, more than possible or as sure, that names all its anchors as consequences."""
    return next((index for index in _common(candidate, caused) if _outranks(kept[index], candidate)), None)


def _outranks(one: Candidate, other: Candidate) -> bool:
    sure = one.grade.certainty is not Certainty.POSSIBLE or other.grade.certainty is Certainty.POSSIBLE
    return PRECEDENCE[one.kind] < PRECEDENCE[other.kind] and sure


def _common(candidate: Candidate, of: dict[Name, list[int]]) -> list[int]:
    """Those that have all anchors of a candidate, in the order of precedence."""
    common: set[int] | None = None
    for anchor in candidate.anchors:
        has = set(of.get(anchor.name, ()))
        common = has if common is None else common & has
    return sorted(common or ())


def _joined(candidate: Candidate, *kinds: Kind) -> tuple[Kind, ...]:
    also = dict.fromkeys((*candidate.also, *kinds))
    also.pop(candidate.kind, None)
    return tuple(sorted(also, key=lambda kind: PRECEDENCE[kind]))
