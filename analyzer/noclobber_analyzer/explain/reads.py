"""Sentences for reads that saw too much, or a mixture: intermediate, non-repeatable, phantom."""

from collections.abc import Callable
from typing import Final

from noclobber.contract import Kind
from noclobber_analyzer import phrases
from noclobber_analyzer.access import Access
from noclobber_analyzer.verdict import Candidate

__all__ = ["SENTENCES"]


def _intermediate_read(candidate: Candidate) -> str:
    write, read = candidate.the("intermediate_write"), candidate.the("intermediate_read")
    seen = f"{phrases.agent(read)} read {phrases.state(read.read)} of `{phrases.key(read.resource)}`"
    if candidate.one("final_write") is None:
        return (
            f"{seen}, which {phrases.others(read, write)} may have replaced itself before its {_piece(write)} was "
            "committed: a part of that is lost. What was read may have been half of a change."
        )
    return (
        f"{seen}, which {phrases.others(read, write)} replaced itself within the same {_piece(write)}. "
        "What was read was half of a change, and never its result."
    )


def _non_repeatable_read(candidate: Candidate) -> str:
    one, other = candidate.the("first_read"), candidate.the("second_read")
    return (
        f"{phrases.agent(one)} read `{phrases.key(candidate.resource)}` twice in one {_piece(one)} and got version "
        f"{phrases.version(one.read)}, then {phrases.version(other.read)}{_changed(candidate, other)}. "
        "What it decided from the first no longer held."
    )


def _phantom_read(candidate: Candidate) -> str:
    one, other = candidate.the("first_scan"), candidate.the("second_scan")
    return (
        f"{phrases.agent(one)} asked `{phrases.key(candidate.resource)}` the same twice in one {_piece(one)} and got "
        f"{_number(one)}, then {_number(other)}{_changed(candidate, other)}. "
        "What it decided from the first result no longer held."
    )


def _piece(access: Access) -> str:
    return {"txn": "transaction", "message": "message's handling"}.get(str(access.unit_kind), "step")


def _number(scan: Access) -> str:
    found = scan.scan
    count = found.count if found is not None and found.count is not None else len(found.resources if found else ())
    return f"{count} member{'' if count == 1 else 's'}"


def _changed(candidate: Candidate, other: Access) -> str:
    write = candidate.one("changed_by")
    return f": {phrases.others(other, write)} had changed it in between" if write is not None else ""


SENTENCES: Final[dict[Kind, Callable[[Candidate], str]]] = {
    Kind.INTERMEDIATE_READ: _intermediate_read,
    Kind.NON_REPEATABLE_READ: _non_repeatable_read,
    Kind.PHANTOM_READ: _phantom_read,
}
