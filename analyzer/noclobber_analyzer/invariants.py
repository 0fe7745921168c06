"""Invariants that owners declared: expressions over what was recorded of a resource, and the writes that broke them.

An invariant is a comparison, or several joined by `and`, `or`, `not`, over numbers and these names: `size` (bytes of
the state), `version` (its number under `counter` and `ordered`) and `count` (rows that a scan of it returned).
Nothing else is evaluated: no calls, no attributes, no values, which are never sent. The finding is named by the last
write that made it false; a scan that shows it leads back to the last write below the container that is certainly
before it.

Source: contract 4 (`invariant`), detection.md 4. What was never recorded is never judged.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from noclobber.contract import Certainty, Kind, Op
from noclobber.declarations import Declarations
from noclobber_analyzer.access import Access
from noclobber_analyzer.errors import AnalyzerError
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import NUMBERS, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["NAMES", "InvariantError", "check_invariants", "holds", "invariant_violation"]

NAMES: Final = ("size", "version", "count")
_COMPARED: Final[dict[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_COMPUTED: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip


class InvariantError(AnalyzerError):
    """An invariant that can't be evaluated; says which part of it, and what would be right."""


def check_invariants(declarations: Declarations) -> None:
    """Whether all invariants can be evaluated.

    Raises:
        InvariantError: one can't.
    """
    for declaration in declarations.declared:
        if declaration.invariant is not None:
            holds(declaration.invariant, dict.fromkeys(NAMES, 0))


def holds(invariant: str, known: Mapping[str, float]) -> bool | None:
    """Whether an invariant holds for what is known; None: it needs something that is not.

    >>> holds("size <= 100 and version > 0", {"size": 120, "version": 3}), holds("count <= 1", {"size": 120})
    (False, None)

    Raises:
        InvariantError: it can't be evaluated.
    """
    tree = ast.parse(invariant, mode="eval").body
    needed = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    unknown = sorted(needed - set(NAMES))
    if unknown:
        raise InvariantError(f"the invariant {invariant!r} asks for {unknown[0]!r}; known are {', '.join(NAMES)}")
    return bool(_value(tree, known, invariant)) if needed <= known.keys() else None


def _value(node: ast.expr, known: Mapping[str, float], invariant: str) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name):
            return known[name]
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(each, known, invariant) for each in values)
        case ast.BoolOp(values=values):
            return any(_value(each, known, invariant) for each in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, known, invariant)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known, invariant)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
            return _COMPUTED[type(op)](_value(left, known, invariant), _value(right, known, invariant))
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in _COMPARED for op in ops):
            numbers = [_value(each, known, invariant) for each in (left, *comparators)]
            return all(_COMPARED[type(op)](*pair) for op, pair in zip(ops, pairwise(numbers), strict=True))
        case _:
            part = ast.unparse(node)
            raise InvariantError(
                f"the invariant {invariant!r} can't be evaluated at {part!r}: compare numbers and names"
            )


def invariant_violation(evidence: Evidence, declarations: Declarations) -> Iterator[Candidate]:
    """Writes that broke a declared invariant; each stretch in which it does not hold is told once."""
    if not any(declaration.invariant for declaration in declarations.declared):
        return
    broken: dict[str, bool] = {}
    for access in evidence.history.accesses:
        declaration = declarations.of(access.resource)
        if declaration is None or declaration.invariant is None or evidence.fates.of(access) is not Fate.APPLIED:
            continue
        kept = holds(declaration.invariant, _known(access))
        if kept is None:
            continue
        if not kept and not broken.get(access.resource):
            found = _broken(access, declaration.invariant, evidence)
            if found is not None:
                yield found
        broken[access.resource] = not kept


def _known(access: Access) -> dict[str, float]:
    """What an access shows of the state that it left or found."""
    known: dict[str, float] = {}
    if access.size is not None:
        known["size"] = access.size
    version = number(access.written if access.op in WRITE_OPS else access.read)
    if version is not None and access.version_kind in NUMBERS:
        known["version"] = version
    rows = access.scan.count if access.scan is not None else None
    if access.op is Op.SCAN and (rows if rows is not None else access.result_count) is not None:
        known["count"] = rows if rows is not None else access.result_count or 0
    return known


def _broken(access: Access, invariant: str, evidence: Evidence) -> Candidate | None:
    if access.op in WRITE_OPS:
        grade = Grade() if access.written is not None else _likely("the version that the write made")
        return _candidate(access, access, invariant, grade)
    write = _last_write(access, evidence)
    if write is None:
        return None
    return _candidate(write, access, invariant, _likely("that the write was the last one before it was seen"))


def _likely(missing: str) -> Grade:
    return Grade().at_most(Certainty.LIKELY, missing)


def _last_write(seen: Access, evidence: Evidence) -> Access | None:
    """The last applied write of the resource, or below it, that certainly came before it was seen."""
    before: Access | None = None
    for other in evidence.history.accesses:
        below = other.resource == seen.resource or (
            seen.resource.endswith("/") and other.resource.startswith(seen.resource)
        )
        if other.op in WRITE_OPS and below and evidence.fates.of(other) is Fate.APPLIED:
            before = other if evidence.took_effect_before(other, seen) is not None else before
    return before


def _candidate(write: Access, seen: Access, invariant: str, grade: Grade) -> Candidate:
    same = write is seen
    link = () if same else (Link(write, seen, "reads-from", "this showed that it no longer held"),)
    return Candidate(
        kind=Kind.INVARIANT_VIOLATION,
        resource=seen.resource,
        anchors=(write,),
        roles=((write, "broke"),) if same else ((write, "broke"), (seen, "shown")),
        links=link,
        grade=partial(grade, (write, seen)),
        words={"invariant": invariant},
    )
