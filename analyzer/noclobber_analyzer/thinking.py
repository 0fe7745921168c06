"""What an agent thought about meanwhile: the model calls between what it had read and what it did with it.

The window of an agent's race is a model call: seconds in which what was read may be replaced. A call belongs to the
window if it lies between the two in sync order: on the strand of the act, or anywhere in the same run with a path from
the read to the call and on to the act (the read and the write are often two tool calls, each a strand of its own); or
if the act names it (`model.span`). It joins the witness in the role `model`; it decides nothing, for a model call is
no access, and no id is taken over it.

Source: detection.md 8 (stale generation), analysis.md 12; contract 2 (`model`, `model.span`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from noclobber.contract import Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.order import Answer
from noclobber_analyzer.verdict import Candidate

__all__ = ["ROLE", "with_models"]

ROLE: Final = "model"
RUN_MAX: Final = 64
"""Model calls of a run that are looked at for one window, the last before the act."""
SHOWN_MAX: Final = 8
"""Model calls of one window that a witness shows, the longest."""


def with_models(candidate: Candidate, evidence: Evidence) -> Candidate:
    """A candidate with the model calls of its windows, each before what was done after it."""
    if not evidence.models:
        return candidate
    known = {access.name for access, _ in candidate.roles}
    named = {anchor.name for anchor in candidate.anchors}
    roles = list(candidate.roles)
    for link in candidate.links:
        if link.type != "base" or (candidate.manifest and link.target.name not in named):
            continue
        found = {model.name: model for model in _between(link.source, link.target, evidence)}
        longest = sorted((model for name, model in found.items() if name not in known), key=_length)[-SHOWN_MAX:]
        fresh = sorted(longest, key=lambda model: (model.start_ns, model.span_id))
        known.update(model.name for model in fresh)
        at = next((n for n, (access, _) in enumerate(roles) if access is link.target), len(roles))
        roles[at:at] = [(model, ROLE) for model in fresh]
    return replace(candidate, roles=tuple(roles)) if len(roles) > len(candidate.roles) else candidate


def _length(model: Access) -> tuple[int, str]:
    return model.end_ns - model.start_ns, model.span_id


def _between(read: Access, act: Access, evidence: Evidence) -> Iterator[Access]:
    if read.strand == act.strand:
        own = evidence.models.get(act.strand, ())
        yield from (model for model in own if read.seq < model.seq < act.seq)
    named = evidence.history.by_name.get((act.trace_id, act.model_span or ""))
    if named is not None and named.op is Op.MODEL and _lies_between(read, named, act, evidence):
        yield named
    if act.run is not None and read.run == act.run:
        of_run = [
            m for m in evidence.models_of_run.get(act.run, ()) if read.start_ns < m.start_ns and m.end_ns <= act.end_ns
        ]
        for model in of_run[-RUN_MAX:]:
            if _lies_between(read, model, act, evidence):
                yield model


def _lies_between(read: Access, model: Access, act: Access, evidence: Evidence) -> bool:
    path = evidence.order.path
    return path(read, model) is Answer.YES and path(model, act) is Answer.YES
