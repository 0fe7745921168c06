"""FAISS in process: what each method is told as, and agents that race."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vector_stage import judged, printed, told

from noclobber.testing import capture

faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed; run `nox -s vectors`")

VECTOR = np.array([0.1, 0.2, 0.3], dtype="float32")


def ids(*numbers: int) -> Any:
    return np.array(numbers, dtype="int64")


def made() -> Any:
    index = faiss.IndexIDMap2(faiss.IndexFlatL2(3))
    index.add_with_ids(VECTOR[None, :], ids(7))
    return index


def test_a_change_whole() -> None:
    """A read, and the removal and the addition that follow it."""
    index = made()
    with capture(agent="planner") as captured:
        vector = index.reconstruct(7)
        index.remove_ids(ids(7))
        index.add_with_ids((vector + 1)[None, :], ids(7))
        read, removal, addition = captured.accesses
    assert read == {
        "noclobber.op": "read",
        "noclobber.resource": read["noclobber.resource"],
        "noclobber.system": "faiss",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.seq": 1,
        "noclobber.size": 12,
        "noclobber.version.kind": "fingerprint",
        "noclobber.version.verbatim": False,
        "noclobber.version.read": printed(VECTOR.tobytes()),
        "db.operation.name": "reconstruct",
        "code.function.name": "test_a_change_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert removal["noclobber.version.base"] == read["noclobber.version.read"]
    assert (addition["noclobber.write.mode"], addition["noclobber.version.base"]) == ("insert", "absent")
    assert (captured.spans[1].name, captured.spans[1].library) == ("delete faiss", "faiss")


TABLE: list[tuple[Callable[[Any], Any], list[tuple[str, ...]]]] = [
    (lambda i: i.reconstruct(9), [("read", "9", "not_found")]),
    (lambda i: i.search(VECTOR[None, :], 2), [("scan", "", "ok")]),
    (lambda i: i.remove_ids(ids(7)), [("delete", "7", "ok")]),
    (lambda i: i.remove_ids(ids(9)), [("delete", "9", "no_effect")]),
    (lambda i: i.remove_ids(ids(7, 9)), [("delete", "7", "unknown"), ("delete", "9", "unknown")]),
    (lambda i: i.remove_ids(faiss.IDSelectorRange(0, 9)), [("update", "", "ok")]),
    (lambda i: i.add_with_ids(np.zeros((2, 3), "float32"), ids(1, 2)), [("write", "1", "ok"), ("write", "2", "ok")]),
    (lambda i: i.add_with_ids(np.zeros((100, 3), "float32"), ids(*range(100))), [("update", "", "ok")]),
    (lambda i: i.add_with_ids(np.zeros((1, 5), "float32"), ids(1)), [("write", "1", "error")]),
    (lambda i: i.reset(), [("delete", "", "ok")]),
    (lambda i: i.ntotal, []),
]


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_method(act: Callable[[Any], Any], expected: list[tuple[str, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def attempt() -> str:
        index = made()
        try:
            return repr(act(index))
        except (RuntimeError, AssertionError) as error:
            return type(error).__name__

    plain = attempt()
    with capture() as captured:
        watched = attempt()
    assert watched == plain
    assert told(captured)[1:] == expected


def test_two_indexes_are_two_places() -> None:
    """The same id in another index is another vector."""
    with capture() as captured:
        made()
        made()
    assert len({each["noclobber.resource"] for each in captured.accesses}) == 2


def test_race_and_twin(tmp_path: Path) -> None:
    """Who removes what another has put there since loses that one's work; under a lock nobody does."""
    (finding,), _, place = judged(tmp_path / "plain.jsonl", "index", "plain", str(tmp_path / "lock"))
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert place in ("2.0", "1.25")
    findings, summary, place = judged(tmp_path / "locked.jsonl", "index", "locked", str(tmp_path / "lock"))
    assert (findings, place) == ([], "1.75")
    assert "lock" in summary["defended"]
