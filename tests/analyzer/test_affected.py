"""Blast radius: who came to know what a finding spoilt."""

from noclobber_analyzer.affected import ACCESSES_MAX
from noclobber_analyzer.cascades import follows
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.summary import Report, Summary
from noclobber_analyzer.report.text import finding_lines, text
from story import judge


def reached(story: str, **told_with: object) -> list[tuple[str, str]]:
    """The affected accesses of a story's first finding, as (strand, op)."""
    return [(access.strand, access.op) for access in judge(story, **told_with).findings[0].affected.accesses]


def test_readers_and_what_they_wrote_from_it() -> None:
    """Whoever read the overwriting version, and the write that was computed from it, and its readers."""
    story = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Cwx4<3^3 Drx4"
    assert reached(story) == [("C", "read"), ("C", "write"), ("D", "read")]


def test_who_read_another_version_is_not_affected() -> None:
    """A reader of the lost version itself knows nothing wrong."""
    assert reached("Arx1 Brx1 Awx2<1^1 Crx2 Bwx3<1^2") == []


def test_messages_carry_it_on() -> None:
    """What the reader then sent, and who received it."""
    assert reached("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Cs9 Dg9") == [("C", "read"), ("C", "send"), ("D", "receive")]


def test_an_effect_makes_it_worse() -> None:
    """Something outside that came of it raises the severity."""
    quiet = judge("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3").findings[0]
    loud = judge("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Ce9").findings[0]
    assert loud.severity.rank > quiet.severity.rank
    assert loud.id == quiet.id


LOST = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2"


def test_what_a_message_set_off() -> None:
    """The receiver's writes and effects follow from the message, and who then reads those."""
    assert reached(f"{LOST} Crx3 Cs9 Dg9 Dwy5 Ery5 Efpay") == [
        ("C", "read"), ("C", "send"), ("D", "receive"), ("D", "write"), ("E", "read"), ("E", "effect"),
    ]  # fmt: skip


def test_a_write_without_a_base_rests_on_what_its_unit_read() -> None:
    """Another resource carries it on; what was computed from its own older state, or failed, does not."""
    assert reached(f"{LOST} Crx3 Cwy7 Dry7") == [("C", "read"), ("C", "write"), ("D", "read")]
    assert reached(f"{LOST} Crx3 Cwy7<6 Dry7") == [("C", "read")]
    assert reached(f"{LOST} Crx3 Cfpay!error") == [("C", "read")]
    assert reached(f"{LOST} Crx3 Cwy7 Dry7", step=False) == [("C", "read")]


def test_a_number_of_another_resource_is_no_base() -> None:
    """Equal versions of two resources are two things."""
    assert reached(f"{LOST} Crx3 Cwy4<3") == [("C", "read")]


def test_what_a_strand_did_that_was_started_because_of_it() -> None:
    """A spawned strand acts on what its parent had read."""
    assert reached(f"{LOST} Crx3 C*D Dfpay") == [("C", "read"), ("C", "spawn"), ("D", "effect")]


def test_each_says_where_it_comes_from() -> None:
    """By span id of what it follows from, and how: the cone can be drawn."""
    affected = judge(f"{LOST} Crx3 Cs9 Dg9").findings[0].affected
    spans = [access.span_id for access in affected.accesses]
    overwriter = judge(LOST).findings[0].accesses[-1].span_id
    assert [(access.after, access.how, access.strength) for access in affected.accesses] == [
        (overwriter, "read", "strong"), (spans[0], "unit", "weak"), (spans[1], "message", "weak"),
    ]  # fmt: skip


def test_the_first_effect_is_told() -> None:
    """What left the system first because of it is marked, and the sentence ends with it."""
    finding = judge(f"{LOST} Crx3 Cfpay Drx3 Dfmail").findings[0]
    first = next(access for access in finding.affected.accesses if access.op == "effect")
    assert (finding.affected.first_effect, first.agent) == (first.span_id, "C")
    assert finding.explanation.endswith("Because of it `C` then called `send`.")
    assert judge(f"{LOST} Crx3").findings[0].affected.first_effect == ""
    assert "Because of it" in judge(f"{LOST} Bfpay").findings[0].explanation
    assert "Because of it" not in judge(f"{LOST} Bfpay", step=False).findings[0].explanation


def test_where_the_search_stops_is_said() -> None:
    """At a version that others made as well, and at its limit."""
    again = judge(f"{LOST} Crx3 Cwy7 Dwy7 Ery7").findings[0].affected
    assert [access.strand for access in again.accesses] == ["C", "C"]
    assert again.stopped is not None
    assert "others made as well" in again.stopped
    assert judge(f"{LOST} Crx3").findings[0].affected.stopped is None
    crowd = " ".join(f"Crx3 Cs{number} Dg{number}" for number in range(800))
    many = judge(f"{LOST} {crowd}").findings[0].affected
    assert (len(many.accesses), many.stopped) == (ACCESSES_MAX, f"more than {ACCESSES_MAX} accesses came of it")


def test_a_cascade_leads_back_to_its_beginning() -> None:
    """A later finding on what came of an earlier one follows from it; one on something else does not."""
    cascade = judge(f"{LOST} Crx3 Drx3 Dwx4<3^3 Cwx5<3^4").findings
    assert {one.id: [cause.id for cause in causes] for one, causes in _by_finding(cascade)} == {
        cascade[1].id: [cascade[0].id]
    }
    apart = judge(f"{LOST} Cry3 Dry3 Dwy4<3^3 Cwy5<3^4").findings
    assert len(apart) == 2
    assert follows(apart) == {}
    printed = "\n".join(text(Report(tuple(cascade), frozenset(), Summary())))
    assert f"follows from: lost update on `x` (id {cascade[0].id[:12]})" in printed


def _by_finding(findings: list[Finding]) -> list[tuple[Finding, list[Finding]]]:
    causes = follows(findings)
    return [(finding, causes[finding.id]) for finding in findings if finding.id in causes]


def test_the_report_shows_it_by_agent() -> None:
    """Who came to know of it and what each did, the first effect marked."""
    lines = list(finding_lines(judge(f"{LOST} Crx3 Cs9 Dg9 Dfpay").findings[0]))
    shown = [line.split(maxsplit=1) for line in lines if line.startswith("    ") and "`" in line]
    assert ["C", "read `x`, perhaps send `queue`"] in shown
    assert ["D", "perhaps receive `queue`, perhaps effect `send` (the first that left the system)"] in shown
