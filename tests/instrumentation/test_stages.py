"""Whether calls that go through the drain stage by stage come out as if each had gone through it alone."""

from collections.abc import Callable

import pytest

import noclobber
from noclobber import stages
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op
from noclobber.testing import capture


def _program() -> None:
    """Two strands' worth of reads and writes, one of which nobody can describe."""
    from threading import Thread

    notes = noclobber.tracked({"a": 1, "b": 2}, name="notes")
    for number in range(5):
        notes["a"] = notes["a"] + number
        child = Thread(target=lambda: notes.update(b=notes["b"] + 1))
        child.start()
        child.join()
        notes["b"] = notes["a"] + notes["b"]


def _spans_of(program: Callable[[], None]) -> list[dict[str, object]]:
    with capture() as captured:
        program()
        return [dict(span.attributes) for span in captured.spans]


@pytest.mark.parametrize("together", [1, 2, 7])
def test_batches_of_any_size_give_the_same_spans(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """Bases, strands and order do not hang on how many calls happened to be drained together."""
    whole = _spans_of(_program)
    monkeypatch.setattr(stages, "TOGETHER_MAX", together)
    assert _spans_of(_program) == whole
    assert len(whole) > 30


def test_one_that_cannot_be_described_is_a_hole_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dropped and counted; what its strand had read before is no base any more; the others are sent."""
    monkeypatch.setattr(noclobber.guard.GUARD, "reraises", False)

    def told(call: Call) -> list[Access]:
        attributes: dict[str, object] = {Attr.VERSION_KIND: "fingerprint", f"noclobber.version.{call.facts[0]}": "1"}
        return [Access(call.facts[1], "mem://x/a", "memory", attributes=attributes, finds_base=True)]  # type: ignore[arg-type]

    def mute(call: Call) -> list[Access]:
        raise SystemExit(f"number {call.seq}")

    with capture() as captured:
        recorder = captured.recorder
        for build, facts in (
            (told, ("read", Op.READ)), (told, ("written", Op.WRITE)), (mute, ()), (told, ("written", Op.WRITE)),
        ):  # fmt: skip
            recorder.end(recorder.begin("memory"), build, facts)
        seen = [(span.attributes[Attr.SEQ], span.attributes.get(Attr.VERSION_BASE)) for span in captured.spans]
        assert seen == [(1, None), (2, "1"), (4, None)]
        assert recorder.dropped == 1
