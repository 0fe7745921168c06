"""Findings and accesses that were read from files, as the pages know them from the store.

Source: contract 2 (attributes of a span) and 3 (finding).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from noclobber_analyzer.access import Access
from noclobber_analyzer.finding import Finding
from noclobber_dashboard.records import AccessRecord, FindingBody, FindingHead

__all__ = ["Recorded", "read_finding"]

READ_MAX: Final = 5_000
"""Accesses that one diagram is cut out of."""


def read_finding(finding: Finding) -> tuple[FindingHead, FindingBody]:
    """What the store would give of a finding that was just made."""
    head = FindingHead(
        id=finding.id, revision=finding.revision, issue=finding.issue, kind=str(finding.kind),
        certainty=str(finding.certainty), severity=str(finding.severity), manifest=finding.manifest,
        status=finding.status, resource=finding.resource, agents=finding.agents, first_ns=finding.first_ns,
        last_ns=finding.last_ns, found_ns=0,
    )  # fmt: skip
    return head, FindingBody.from_json(finding.to_json())


class Recorded:
    """The accesses of a history, to be asked as the store is asked."""

    def __init__(self, accesses: Iterable[Access]) -> None:
        self._accesses = sorted(accesses, key=lambda access: (access.start_ns, access.seq, access.key))
        self._by: dict[str, list[int]] = {}
        for place, access in enumerate(self._accesses):
            message = access.message.id if access.message is not None else None
            for name in {access.resource, f"\x1f{access.strand}", f"\x1e{message}"}:
                self._by.setdefault(name, []).append(place)

    def surroundings(
        self, resources: Sequence[str], strands: Sequence[str], messages: Sequence[str], start_ns: int, end_ns: int
    ) -> list[AccessRecord]:
        """Accesses of these resources, strands or messages that start in a time range, by start."""
        names = [*resources, *(f"\x1f{each}" for each in strands), *(f"\x1e{each}" for each in messages)]
        places = sorted({place for name in names for place in self._by.get(name, ())})
        found = (self._accesses[place] for place in places)
        near = [access for access in found if start_ns <= access.start_ns <= end_ns]
        return [_record(access) for access in near[:READ_MAX]]


def _record(access: Access) -> AccessRecord:
    return AccessRecord(
        trace_id=access.trace_id, span_id=access.span_id, start_ns=access.start_ns, end_ns=access.end_ns,
        op=str(access.op), resource=access.resource, agent=access.agent, strand=access.strand,
        process=access.process.id, clock=access.process.clock or "", host=access.process.host or "",
        system=access.system, outcome=str(access.outcome), part=access.part, run=access.run or "",
        step=access.step or "", seq=access.seq, unit=access.unit, unit_kind=_text(access.unit_kind),
        strand_parent=access.strand_parent or "", strand_parent_seq=access.strand_parent_seq or 0,
        strand_other=access.strand_other or "", strand_other_seq=access.strand_other_seq or 0,
        version_kind=_text(access.version_kind), version_read=_text(access.read), version_base=_text(access.base),
        version_base_source=_text(access.base_source), version_candidates=tuple(map(str, access.candidates)),
        version_base_strand=access.base_strand or "", version_base_seq=access.base_seq or 0,
        version_overwritten=_text(access.overwritten), version_written=_text(access.written),
        version_weak=access.weak, version_expected=_text(access.expected), write_mode=str(access.mode),
        guard=str(access.guard), locks=access.locks, txn_id=access.txn_id or "",
        message_id=access.message.id if access.message is not None else "", size=access.size or 0,
        partial=access.partial, open=access.open, code_function_name=access.code_function or "",
        code_file_path=access.code_file or "", code_line_number=access.code_line or 0,
    )  # fmt: skip


def _text(value: object) -> str:
    return "" if value is None else str(value)
