"""A clock that was set while it was read is no witness; one that only tells one call by several spans stays one."""

from noclobber.contract import Certainty, VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import HistoryBuilder
from story import Story

STALE = "Awx2<1 Brx1 Ary1"
"""B got the version that A had replaced before B asked, if their clock is right; then A does one thing more."""
MINUTE_NS = 60_000_000_000


def found(*, last_ns: int, took_ns: int | None = None) -> Evaluation:
    """What is made of the story if A's last call is recorded so much later than it was made."""
    builder = HistoryBuilder()
    for access in moved(last_ns, took_ns):
        builder.add(access, access.name)
    return evaluate(builder.finish(ended=True))


def moved(last_ns: int, took_ns: int | None = None) -> list[Access]:
    """The accesses of the story, its last one at another time."""
    *first, last = Story(kind=VersionKind.COUNTER).accesses(STALE)
    start_ns = last.start_ns + last_ns
    end_ns = last.end_ns + last_ns if took_ns is None else start_ns + took_ns
    return [*first, changed(last, start_ns=start_ns, end_ns=end_ns)]


def test_a_clock_that_runs_forwards_is_believed() -> None:
    """A read that was called after a write had returned, and got less, is stale for certain."""
    (finding,) = found(last_ns=0).findings
    assert (finding.kind, finding.certainty) == ("stale_read", Certainty.CERTAIN)


def test_a_clock_that_was_set_back_is_not() -> None:
    """A's later call had ended before its earlier one began: nothing that its clock tells is held against B."""
    evaluation = found(last_ns=-MINUTE_NS)
    assert evaluation.findings == []
    (said,) = [text for text in evaluation.unknown if "set back" in text]
    assert said.startswith("what times of clock prove")


def test_calls_that_overlap_prove_nothing_of_it() -> None:
    """One call may be told by several spans, numbered when it returned: a later number that begins earlier is fine."""
    (finding,) = found(last_ns=-6_000_000, took_ns=20_000_000).findings
    assert finding.certainty is Certainty.CERTAIN


def test_what_versions_prove_stays() -> None:
    """A lost update that its versions prove does not hang on the clock."""
    accesses = Story(kind=VersionKind.COUNTER).accesses("Arx1 Brx1 Bwx2<1^1 Awx3<1^2 Bry1")
    builder = HistoryBuilder()
    for access in (*accesses[:-1], changed(accesses[-1], start_ns=1, end_ns=2)):
        builder.add(access, access.name)
    (finding,) = evaluate(builder.finish(ended=True)).findings
    assert (finding.kind, finding.certainty) == ("lost_update", Certainty.CERTAIN)
