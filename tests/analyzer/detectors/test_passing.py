"""Messages that were passed over, applied too late, or given one position: Jepsen's Kafka stories and their twins."""

import pytest

from story import judge, told

KAFKA = {"system": "kafka", "group": "g"}


def _only(of: str, story: str, **told_with: object) -> list[str]:
    return [line.split()[1] for line in told(story, **told_with) if line.startswith(of)]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("As7<1 As8<2 As9<3 Bg7<1 Bg9<3", ["certain"], id="passed between two receipts"),
        pytest.param("As7<1 As8<2 As9<3 Bg7<1 Bg8<2 Bg9<3", [], id="all received"),
        pytest.param("As7<1 As8<2 As9<3 Bg7<1 Bg8<2", [], id="above the highest position: not lost yet"),
        pytest.param("As7<1 As8<2 As9<3 Bg9<3", [], id="before a session's first receipt: it began there"),
        pytest.param("As7<1 As8<2!error As9<3 Bg7<1 Bg9<3", [], id="it was never sent"),
        pytest.param("As7<1 As8<2!unknown As9<3 Bg7<1 Bg9<3", [], id="perhaps it was never sent"),
        pytest.param("As7<1 A[ As8<2 A} As9<3 Bg7<1 Bg9<3", [], id="its transaction was rolled back"),
        pytest.param("As7<1 As8<2 As9<3 Bg7<1 B[ Bg8<2 B} Bg9<3", ["certain"], id="received, rolled back, and passed"),
        pytest.param("As7<1 As8<2 As9<3 Bg7<1 B[ Bg8<2 B] Bg9<3", [], id="received in a transaction that stayed"),
        pytest.param("As7<1 As8<2 As9<3 Cg8<2 Bg7<1 Bg9<3", [], id="another of the group received it"),
        pytest.param("As6<1 As7<2 As8<3 As9<4 Bg6<1 Cg7<2 Bg9<4", ["possible"], id="a queue that consumers share"),
        pytest.param("A[ As7<1 As8<2!unknown A]!unknown As9<3 Cg7<1 Bg9<3", ["likely"], id="half of an atomic send"),
        pytest.param("As7 Bg7 Bux2!error Bk7", ["likely"], id="acknowledged although its handler failed"),
        pytest.param("As7 Bg7 Bux2!error Bux2 Bk7", [], id="failed, tried again, acknowledged"),
        pytest.param("As7 Bg7 Bux2!rejected Bk7", [], id="refused: somebody else had done it"),
        pytest.param("As7 Bg7 Bux2!error Bj7", [], id="failed and given back"),
    ],
)
def test_lost_message(story: str, expected: list[str]) -> None:
    """A message is lost if its consumer passed it within a session and nobody has it."""
    assert _only("lost_message", story, **KAFKA) == expected


def test_lost_message_limits() -> None:
    """Queues that consumers share, groups that nobody tells and lost spans lower it."""
    story = "As7<1 As8<2 As9<3 Bg7<1 Bg9<3"
    assert _only("lost_message", story) == ["likely"]
    assert _only("lost_message", story, system="kafka") == ["likely"]
    assert _only("lost_message", "As7<1 As8<2 As9<3 Bg7<1 Bg8<2 Bg9<3", lost=(4,), **KAFKA) == ["possible"]
    assert _only("lost_message", story, session=False, **KAFKA) == []


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("As7<1 As8<2 Bg8<2 Bk8 Bg7<1 Bk7", ["certain"], id="the older one was applied last"),
        pytest.param("As7<1 As8<2 Bg7<1 Bk7 Bg8<2 Bk8", [], id="in order"),
        pytest.param("As7<1 As8<2 Bg8<2 Bg7<1", ["likely"], id="nobody knows whether they were applied"),
        pytest.param("As7<1 As8<2 Bg8<2 Bk8 Cg7<1 Ck7", [], id="two sessions"),
        pytest.param("As7<1 As8<2 Bg7<1 Bk7 Bg8<2 Bk8 Bg7<1^2 Bk7", [], id="a repetition is a duplicate"),
        pytest.param("As7<1 As8<2 Bg8<2 Bk8 Bg7<1^2 Bk7", [], id="handed out again, and no key promised an order"),
        pytest.param("As7<1 As8<2 Bg8<2 Bux2 Bg7<1 Bux3!no_effect", [], id="the handler checks the position"),
        pytest.param("As7<1 As8<2 Bg8<2 Bk8 B[ Bg7<1 Bk7 B}", [], id="the late one was rolled back"),
        pytest.param("As7 As8 Bg8 Bk8 Bg7 Bk7", [], id="no key, no position: nothing was promised"),
        pytest.param("As7<1 As8<2 Bg8<2 Bg7<1 Be7 Be8", [], id="received against the order, applied in order"),
        pytest.param("As7<1 As8<2 Bg7<1 Bg8<2 Be8 Be7", ["certain"], id="received in order, applied against it"),
        pytest.param("As7<1 As8<2 Bg8<2 Bg7<1 Bk7 Bk8", [], id="received both, and was done in order"),
        pytest.param("As7<1 As8<2 Bg8<2 Bg7<1 Bk8 Bk7", ["likely"], id="received both, and was done against it"),
        pytest.param("As7<1 As8<2 Bg7<1 Bg8<2 Bk8 Bk7", [], id="acknowledged against the order of receipt"),
        pytest.param(
            "As6<1 As7<2 As8<3 Bg8<3 Bg7<2 Be7 Bg6<1 Be6", ["certain", "likely"], id="after one applied, one received"
        ),
    ],
)
def test_out_of_order(story: str, expected: list[str]) -> None:
    """A message that a session applied after a later one is out of order."""
    assert _only("out_of_order", story) == expected


def test_out_of_order_by_key() -> None:
    """Under one ordering key the sender's own order counts, and so does what is handed out again."""
    assert _only("out_of_order", "As7 As8 Bg8 Bk8 Bg7 Bk7", key="k") == ["likely"]
    assert _only("out_of_order", "As7<1 As8<2 Bg8<2 Bk8 Bg7<1^2 Bk7", key="k") == ["certain"]
    assert _only("out_of_order", "As7 Cs8 Bg8 Bk8 Bg7 Bk7", key="k") == []


def test_position_fork() -> None:
    """Two messages at one position of one queue: only one of them will ever be received."""
    findings = judge("As7<1 Bs8<1").findings
    assert [(str(f.kind), str(f.certainty)) for f in findings] == [("fork", "certain")]
    assert "gave position 1" in findings[0].explanation
    assert judge("As7<1 As7<1").findings == []
    assert judge("As7<1 As8<2").findings == []


def test_sentences() -> None:
    """They say who, which message, and what became of it."""
    (finding,) = judge("As7<1 As8<2 As9<3 Bg7<1 Bg9<3", **KAFKA).findings
    assert finding.explanation == (
        "`B` went on past message `8` of `queue`, which `A` had sent at position 2, to a later one at position 3. "
        "Nobody of the group received it, and nobody will."
    )
