"""Decisions that were carried out in the opposite order, by calls that ran beside each other."""

import pytest

from noclobber_analyzer.access import Access, Message, key_of
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.history import HistoryBuilder
from story import Story

TOOLS = "Am A*B Am A*C"


def found(
    story: str, *, named: bool = True, run: str | None = "run", key: str | None = None
) -> list[tuple[str, str, str]]:
    """Kind, certainty and strand of the late call; A decided calls of B by its first model call, of C by its last."""
    accesses = Story(kind=None).accesses(story)
    models = {"B": accesses[0], "C": [a for a in accesses if a.op == "model"][-1]}
    builder = HistoryBuilder()
    for access in accesses:
        access.run = run
        access.key = key_of(accesses[0].trace_id, access.span_id)
        if named and access.strand in models and access.op in ("effect", "write"):
            access.model_span = models[access.strand].span_id
        if key and access.op == "effect":
            access.message = Message("", key=key)
        builder.add(access, access.name)
    findings = evaluate(builder.finish(ended=True)).findings
    return [(str(f.kind), str(f.certainty), _late(f.accesses).strand) for f in findings if f.kind == "out_of_order"]


def _late(accesses: object) -> Access:
    return next(a for a in accesses if a.role == "applied")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(f"{TOOLS} Cwx2 Bwx1", [("out_of_order", "likely", "B")], id="the older decision was written last"),
        pytest.param(f"{TOOLS} Bwx1 Cwx2", [], id="in the order of deciding"),
        pytest.param(f"{TOOLS} (Cwx2 Bwx1)", [], id="the calls overlap: nobody knows which came first"),
        pytest.param(f"{TOOLS} Cwx2 Bwy1", [], id="two resources"),
        pytest.param("Am A*B A*C Cwx2 Bwx1", [], id="one model call decided both"),
        pytest.param(f"{TOOLS} Cwx2 Cs7 Bg7 Bwx1", [], id="the older one was made to wait"),
        pytest.param(f"{TOOLS} Cwx2!error Bwx1", [], id="the newer one failed"),
        pytest.param(f"{TOOLS} Cfb Bfa", [("out_of_order", "possible", "B")], id="two effects of one tool"),
        pytest.param(f"{TOOLS} Bfa Cfb", [], id="two effects in order"),
    ],
)
def test_by_story(story: str, expected: list[tuple[str, str, str]]) -> None:
    """Only what was decided in one order and applied in the other is told."""
    assert found(story) == expected


def test_what_is_known_of_the_decisions() -> None:
    """Strands alone show an order of starting; two runs decide nothing together; one ordering key is one thing."""
    assert found(f"{TOOLS} Cwx2 Bwx1", named=False) == [("out_of_order", "possible", "B")]
    assert found(f"{TOOLS} Cwx2 Bwx1", run=None) == []
    assert found(f"{TOOLS} Cfb Bfa", key="order-7") == [("out_of_order", "likely", "B")]
