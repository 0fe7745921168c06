"""What was not seen is said, and what to do about it; where all was seen, nothing is."""

import msgspec
import pytest

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.access import Access, Mark
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.report.summary import Report, Thresholds
from noclobber_analyzer.report.text import text
from noclobber_analyzer.unseen import unseen
from story import Story

RACE = "Arx1 Brx1 Awx2<1^1 Bwx3<1^2"


def history(accesses: list[Access], *, frontier: int = FRONTIER_END, dropped: int = 0, more: int = 0) -> History:
    """The history of accesses whose processes have said how far they are."""
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(access, access.name)
    for number, process in enumerate({a.process.id: a.process for a in accesses}.values()):
        own = sum(a.process.id == process.id for a in accesses)
        last_ns = accesses[-1].end_ns
        mark = Mark(process, frontier, own + more if more else None, dropped, last_ns)
        builder.add(mark, (f"{number:032x}", "f" * 16))
    return builder.finish(ended=True)


def only(made: History) -> str:
    (sentence,) = unseen(made)
    return sentence


def test_nothing_is_missing() -> None:
    """A complete record needs no word."""
    assert unseen(history(Story().accesses(RACE))) == []


def test_lost_spans() -> None:
    """Holes, drops, a lost end, a parent that nobody captured: each says whose they are and what to do."""
    assert only(history(Story(lost=(1,)).accesses("Arx1 Arx1 Arx1"))).startswith("1 numbered spans of agents (pid 1)")
    dropped = only(history(Story().accesses(RACE), dropped=7))
    assert dropped.startswith("agents (pid 1) had to drop 7 accesses: raise NOCLOBBER_RING_MAX")
    assert only(history(Story().accesses(RACE), more=2)).startswith("the last 2 accesses of agents (pid 1)")
    orphans = unseen(history(Story(lost=(0, 1)).accesses("Arx1 A*B Brx1 Bwx2<1")))
    assert any("instrument what starts it" in sentence for sentence in orphans)


def test_partial_and_cut_off() -> None:
    """What was recorded in part, and a process that was killed."""
    assert only(history(Story().accesses("Arx1? Awx2<1?"))).startswith("2 accesses to redis were recorded in part")
    cut = history(Story().accesses(RACE), frontier=1)
    assert "ends at its last mark" in only(cut)


def test_two_keys_on_one_resource() -> None:
    """Two fingerprint keys make one resource two; two keys apart from each other harm nobody."""
    accesses = Story(clocks="host").accesses(RACE)
    keyed = [_with_key(access, f"key-{access.strand}") for access in accesses]
    assert only(history(keyed)).startswith("`mem://x` recorded under 2 fingerprint keys")
    apart = [_with_key(access, f"key-{access.strand}") for access in Story(clocks="host").accesses("Arx1 Bry1")]
    assert unseen(history(apart)) == []


def _with_key(access: Access, key: str) -> Access:
    return msgspec.structs.replace(access, process=msgspec.structs.replace(access.process, key_id=key))


@pytest.mark.parametrize(
    ("peers", "certainty", "told"),
    [
        (("10.0.0.7", "10.0.0.7"), "certain", 0),
        (("10.0.0.7", "10.0.0.8"), "possible", 1),
        (("127.0.0.1", "::1"), "certain", 0),
        (("10.0.0.7", None), "certain", 0),
    ],
)
def test_two_addresses_under_one_name(peers: tuple[str | None, str | None], certainty: str, told: int) -> None:
    """Perhaps these are two servers: `possible` at most, and a loud word; this machine's names are one address."""
    accesses = Story().accesses(RACE)
    for access in accesses:
        access.peer = peers[access.strand == "B"]
    made = history(accesses)
    (finding,) = evaluate(made).findings
    assert str(finding.certainty) == certainty
    assert len(unseen(made)) == told
    if told:
        assert "are one server" in " ".join(finding.missing)
        assert only(made).startswith("`mem://x` is answered by 2 addresses (10.0.0.7, 10.0.0.8)")


def test_the_report_says_it() -> None:
    """In the text a line of its own; in JSON among what is unknown."""
    made = history(Story().accesses(RACE), dropped=7)
    report = Report.of(made, evaluate(made), Thresholds())
    assert any(line.startswith("not seen: agents (pid 1) had to drop 7 accesses") for line in text(report))
    unknown = report.summary.to_json()["unknown"]
    assert isinstance(unknown, list)
    assert any("NOCLOBBER_RING_MAX" in sentence for sentence in unknown)
