"""Double claims: two workers, one task."""

import pytest

from noclobber.contract import Op
from noclobber_analyzer.access import Message
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.history import HistoryBuilder
from story import Story, judge, told


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("Arx1 Brx1 Atx7 Btx7", "likely", id="both took the row"),
        pytest.param("Arx1 Brx1 Atx7 Btx7 Ae7 Be7", "certain", id="both took the row, and both went on"),
        pytest.param("Arx1 Atx7 Brx1 Btx7", None, id="it was seen free again after the first had taken it"),
        pytest.param("Arx1 Brx1 Atx7 Btx7!no_effect", None, id="the second got nothing, and stopped"),
        pytest.param("Arx1 Brx1 Atx7 Btx7!no_effect Ae7 Be7", "likely", id="the second got nothing, and went on"),
        pytest.param("Arx1 Brx1 Atx7 Btx7!rejected", None, id="a guard refused the second"),
        pytest.param(
            "Arx1 Brx1 Atx7 Btx7!no_effect Ae7 Awx3 Btx7", None, id="the second got it once it was free again"
        ),
        pytest.param("Arx1 Brx1 Atx7 Btx7!no_effect Be7 Awx3 Ae7", "likely", id="the second did not wait for that"),
        pytest.param("A[ Arx1 Brx1 Atx7 A} Btx7", None, id="the first was rolled back"),
        pytest.param("As7 Bg7 Cg7", "likely", id="both received it"),
        pytest.param("As7 Bg7 Bk7 Cg7 Ck7", "likely", id="both received and acknowledged it"),
        pytest.param("Bg7 Bk7 Cg7 Ck7", "possible", id="who sent it, perhaps twice, was not captured"),
        pytest.param("Bg7 Cg7 Bk7 Ck7", "likely", id="the first was not done with it"),
        pytest.param("As7 As7 Bg7 Cg7", "possible", id="it was sent twice"),
        pytest.param("As7 Bg7 B*C Ctx7", None, id="the receiver has another strand work on it"),
        pytest.param("As7 Bg7 Ctx7", "likely", id="somebody else works on it"),
        pytest.param("As7 Bg7 As8 Cg8", None, id="two messages"),
        pytest.param("As7 Bg7", None, id="one receiver"),
    ],
)
def test_double_claim(story: str, expected: str | None) -> None:
    """A second take is one finding unless the task was given back, or the take was refused."""
    found = [line.split()[1] for line in told(story) if line.startswith("double_claim")]
    assert found == ([expected] if expected else [])


def test_refused_take_is_defended() -> None:
    """A take that had no effect, by a worker who stops, is counted as defended."""
    assert [str(each.reason) for each in judge("Arx1 Brx1 Atx7 Btx7!no_effect").defended] == ["no_effect"]


def test_names_one_finding() -> None:
    """The lost update on the row that the second take is goes to `also`."""
    findings = judge("Arx1 Brx1 Atx7<1^1 Btx7<1^takenA Ae7 Be7").findings
    assert [str(finding.kind) for finding in findings] == ["double_claim"]
    assert "lost_update" in findings[0].also


def test_lost_span_lowers() -> None:
    """With a hole in a strand nobody knows whether the task was given back."""
    assert "double_claim certain x A>B" in told("Arx1 Brx1 Atx7 Btx7 Ae7 Aux5 Be7")
    assert "double_claim certain x A>B" not in told("Arx1 Am Brx1 Atx7 Btx7 Ae7 Be7", lost=(1,))


def test_consequences() -> None:
    """What either worker later does to the row that both claimed is no finding beside the claim."""
    story = "Arx1 Brx1 Atx7<1^1 Btx7<1^takenA Awx8<takenA^takenB Bwx9<takenB^8"
    findings = judge(story).findings
    assert [(str(f.kind), "lost_update" in f.also) for f in findings] == [("double_claim", True)]


def test_other_work_stands_alone() -> None:
    """A lost update on another row is a finding of its own."""
    story = "Arx1 Brx1 Ary1 Bry1 Atx7<1^1 Btx7<1^takenA Awy2<1^1 Bwy3<1^2"
    assert [str(f.kind) for f in judge(story).findings] == ["double_claim", "lost_update"]


@pytest.mark.parametrize(("first", "second", "claimed"), [("^2", "", False), ("", "^2", False), ("", "", True)])
def test_a_later_delivery_that_was_called_first_is_no_claim(first: str, second: str, *, claimed: bool) -> None:
    """Two receipts that overlap: the broker's count says which was the redelivery, not whose call began first."""
    found = told(f"As7 Bg7{first} Cg7{second} Bux2 Cux3 Bk7 Ck7")
    assert any(line.split()[0] == "double_claim" for line in found) is claimed


def test_two_who_went_on_prove_the_most() -> None:
    """Of three who took it the first stopped: the third is held against the second, who went on as well."""
    found = told("Arx1 Brx1 Crx1 Atx7 Btx7 Ctx7 Be7 Ce7")
    assert found == ["double_claim certain x B>C", "double_claim likely x A>B"]


def test_work_is_for_the_group_that_it_was_received_for() -> None:
    """Two groups that each work on a message are right, whether or not their work names the group again."""
    builder = HistoryBuilder()
    for access in Story(system="kafka").accesses("As7 Bg7 Btx7 Cg7 Cty7"):
        if access.op is Op.RECEIVE:
            access.message = Message("7", group=f"group-{access.strand}")
        builder.add(access, access.name)
    assert "double_claim" not in {str(f.kind) for f in evaluate(builder.finish(ended=True)).findings}
