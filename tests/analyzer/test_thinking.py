"""The model call between a read and what was done with it: it is the window, and the sentence says when it was lost."""

import pytest

from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding, finding_id
from noclobber_analyzer.history import HistoryBuilder
from story import Story, judge


def only(text: str, **told_with: object) -> Finding:
    """The one finding of a story."""
    (finding,) = judge(text, **told_with).findings
    return finding


def roles(finding: Finding) -> list[tuple[str, str]]:
    return [(access.strand, access.role) for access in finding.accesses]


@pytest.mark.parametrize(
    ("story", "kind"),
    [
        ("Arx1 Brx1 Am Bwx2<1^1 Awx3<1^2", "lost_update"),
        ("Arx1 Am Bwx2<1^1 Awy5", "stale_write"),
        ("Arx1 Am Bwx2<1^1 Afpay", "check_then_act"),
        ("Arx1 Am Bwx2<1^1 As7", "check_then_act"),
    ],
)
def test_the_model_call_joins_the_witness(story: str, kind: str) -> None:
    """Whatever is done with a superseded read: the call is shown between the two, and the advice is to read again."""
    finding = only(story)
    shown = [role for strand, role in roles(finding) if strand == "A"]
    assert (str(finding.kind), shown[1]) == (kind, "model")
    assert "500 µs" in finding.explanation
    assert "Read again after the model call" in finding.advice.text
    act = next(access for access in reversed(finding.accesses) if access.strand == "A")
    assert finding.id == finding_id(finding.kind, finding.resource, [f"{act.trace_id}/{act.span_id}"])


def test_an_answer_from_a_superseded_read() -> None:
    """What was replaced before the model was called is another mistake than what was replaced while it thought."""
    stale = "generated from what had already been replaced"
    assert stale in only("Arx1 Bwx2<1^1 Am Afpay").explanation
    assert stale in only("Arx1 Brx1 Bwx2<1^1 Am Awx3<1^2").explanation
    assert stale not in only("Arx1 Am Bwx2<1^1 Afpay").explanation
    assert "overtaken while `A` thought" in only("Arx1 (Am Bwx2<1^1) Afpay").explanation
    assert "thought" not in only("Arx1 Bwx2<1^1 Afpay").explanation


def test_other_model_calls_are_no_window() -> None:
    """What was thought before the read, after the write, or by somebody else has no part in it."""
    finding = only("Am Arx1 Brx1 Cm Bwx2<1^1 Awx3<1^2 Am")
    assert "model" not in [role for _, role in roles(finding)]


def test_across_tool_calls() -> None:
    """A read in one tool call, the model, a write in another: strands of one run, each waited for."""
    accesses = Story().accesses("Z*A Arx1 Brx1 Z+A Zm Bwx2<1^1 Z*C Cwx3<1^2")
    builder = HistoryBuilder()
    for access in accesses:
        if access.strand in "ZAC":
            access.run = "run"
        if access.strand == "C":
            access.base_strand, access.base_seq = "A", 1
        builder.add(access, access.name)
    (finding,) = evaluate(builder.finish(ended=True)).findings
    assert ("Z", "model") in roles(finding)
    assert finding.agents == ("A", "B", "C")
