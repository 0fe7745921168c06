"""States that nobody is known to have made, told apart from what was there before."""

import pytest

from noclobber.contract import VersionKind
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import HistoryBuilder
from story import Story, judge

CHAIN, COUNTER, PRINT = VersionKind.CHAIN, VersionKind.COUNTER, VersionKind.FINGERPRINT
UNKNOWN = {"unknown_writer", "garbage_read"}


def _told(story: str, **told_with: object) -> list[str]:
    found = [f for f in judge(story, **told_with).findings if f.kind in UNKNOWN]
    return [f"{finding.kind} {finding.certainty}" for finding in found]


@pytest.mark.parametrize(
    ("story", "kind", "expected"),
    [
        pytest.param("Awx1 Brx2", PRINT, "likely", id="a content that nobody wrote"),
        pytest.param("Awx1 Brx2", CHAIN, "likely", id="a chain value"),
        pytest.param("Awx1 Brx2", COUNTER, "certain", id="a number"),
        pytest.param("Awx1 Bwx3", COUNTER, "certain", id="a number in between"),
        pytest.param("Brx2 Awx1 Brx1", PRINT, None, id="what was there before"),
        pytest.param("Brx2 Awx3<2 Brx3", COUNTER, None, id="a number that was there before"),
        pytest.param("Awx1 Brx1", COUNTER, None, id="all was made"),
        pytest.param("A[ Awx2 Brx2 A}", PRINT, None, id="taken back, but made"),
        pytest.param("Awx1 Cux Brx2", PRINT, None, id="a script may have made it"),
        pytest.param("Awx1 Brx2%", PRINT, None, id="a print that means nothing"),
        pytest.param("Awx1 Adx Brx7", COUNTER, None, id="another life"),
        pytest.param("A[ Awx2 Brx1 A]", PRINT, None, id="what stood there while a transaction was open"),
        pytest.param("A[ Awx2 A] Brx1", PRINT, "likely", id="it was committed when that was read"),
        pytest.param("A[ Awx2 A}!unknown Brx1", CHAIN, None, id="a transaction that may have been taken back"),
        pytest.param("Awx2<1 Brx1", PRINT, None, id="what a write went on from was there before it"),
        pytest.param("Awx2^1 Brx1", CHAIN, None, id="what a write replaced was there before it"),
        pytest.param("Awx2 Cwx3<1 Brx1", PRINT, "likely", id="but not before another one"),
    ],
)  # fmt: skip
def test_unknown_writer(story: str, kind: VersionKind, expected: str | None) -> None:
    """Each version that nobody made is one finding."""
    assert _told(story, kind=kind) == ([f"unknown_writer {expected}"] if expected else [])


def test_lost_spans_may_have_made_it() -> None:
    """Where spans are missing it is only possible."""
    assert _told("Awx1 Cwx2 Crx2 Bwx3", kind=COUNTER, lost=(1,)) == ["unknown_writer possible"]


def test_without_marks_the_end_may_be_lost() -> None:
    """A process that never said that it was complete may have written it."""
    assert _told("Awx1 Brx2", kind=COUNTER, marked=False) == ["unknown_writer likely"]


def test_what_the_store_changes() -> None:
    """Where a store returns something else than it is sent, no print of a request is missed."""
    assert not _told("Awx1 Brx2", kind=PRINT, verbatim=False)


def test_garbage_where_every_writer_is_known() -> None:
    """On a closed resource it is garbage, each read of it."""
    builder = HistoryBuilder()
    for access in Story(kind=PRINT).accesses("Awx1 Brx2 Crx2"):
        builder.add(changed(access, closed=True), access.name)
    found = evaluate(builder.finish(ended=True)).findings
    assert [f.kind for f in found if f.kind in UNKNOWN] == ["garbage_read", "garbage_read"]
