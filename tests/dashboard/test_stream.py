"""The stream of accesses: the window that it takes, its filters, and what is drawn of it."""

import time
from typing import Any

import pytest
import sample

from noclobber_dashboard.pages.live import LANES_MAX, dots
from noclobber_dashboard.queries import LIVE_WINDOWS_S, Queries
from noclobber_dashboard.records import AccessRecord


def access(number: int, agent: str, op: str = "read", **known: Any) -> AccessRecord:
    times = {"start_ns": number * 1_000_000, "end_ns": number * 1_000_000 + 400_000}
    return AccessRecord(f"{number:032x}", f"{number:016x}", op=op, resource="mem://x", agent=agent, strand="s",
                        **times | known)  # fmt: skip


def test_the_shortest_window_with_anything_in_it(filled: Any) -> None:
    """The sample's accesses are half a minute old: not the last ten seconds but the last minute shows them."""
    newest = max(row["start_ns"] for row in filled.dicts("SELECT max(start_ns) AS start_ns FROM accesses"))
    queries = Queries(filled, lambda: newest + 30_000_000_000)
    seconds, shown = queries.stream(5)
    assert seconds == LIVE_WINDOWS_S[1]
    assert [each.start_ns for each in shown] == sorted((each.start_ns for each in shown), reverse=True)
    assert (len(shown), shown[0].start_ns) == (5, newest)


def test_it_is_filtered_by_words_and_operations(filled: Any) -> None:
    """Part of a name in any case, and any of some operations; nothing fits: the longest window is said."""
    newest = filled.dicts("SELECT max(start_ns) AS at FROM accesses")[0]["at"]
    queries = Queries(filled, lambda: newest)
    _, shown = queries.stream(300, "ACCT:42", ["write"])
    assert shown
    assert {(each.op, each.resource) for each in shown} == {("write", sample.ACCOUNT)}
    assert queries.stream(300, "no such name") == (LIVE_WINDOWS_S[-1], [])


def test_what_agents_did_is_counted(queries: Queries) -> None:
    """Reads, writes and resources of the bank's agents."""
    counted = {head.agent: head for head in queries.agents()}
    deposit = counted["deposit-agent"]
    assert (deposit.reads, deposit.writes, deposit.services) == (1, 1, ("deposit-agent",))


def test_lanes_are_bounded() -> None:
    """The busiest agents have lanes of their own, the others share one; an unknown operation is drawn as other."""
    busy = [access(n, "busy") for n in range(3)]
    drawn = dots([*busy, *(access(n, f"a{n:02}", "write") for n in range(20)), access(99, "busy", "new-op")])
    assert len(drawn.lanes) == LANES_MAX
    assert (drawn.lanes[0], drawn.lanes[-1]) == ("busy", f"{21 - LANES_MAX + 1} others")
    assert {lane for lane, *_ in drawn.points} == set(range(LANES_MAX))
    assert [look for _, _, _, look, said in drawn.points if "new-op" in said] == ["other"]


def test_dots_stand_where_their_times_are() -> None:
    """From the first begin to the last end is the whole width; the axis tells the clock at even places."""
    drawn = dots([access(0, "a"), access(2, "b", end_ns=4_000_000)])
    assert [(left, wide) for _, left, wide, _, _ in drawn.points] == [(0.0, 10.0), (50.0, 50.0)]
    assert [left for left, _ in drawn.ticks] == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert (drawn.ticks[0][1], drawn.ticks[-1][1]) == ("00:00:00.000", "00:00:00.004")


def test_an_access_that_has_not_ended_says_so() -> None:
    """A call that hangs is no call of zero length."""
    drawn = dots([access(1, "a", open=True, end_ns=0), access(2, "a")])
    assert [said.rpartition(", ")[2] for *_, said in drawn.points] == ["still open", "400 µs"]


@pytest.mark.parametrize("times", [1, 2, 7])
def test_a_page_is_full_however_often_its_accesses_were_sent(real_store: Any, times: int) -> None:
    """And holds each once, as it ended, newest first; the pages together are all of them."""
    resource = f"mem://page/{times}"
    rows = [{**row, "resource": resource} for row in sample.crowd(time.time_ns() - 3_600 * 10**9, events=60)]
    for number in range(times):  # each differs: the store takes the same rows for a repetition
        sent = [{**row, "end_ns": row["start_ns"], "size": 1 + number, "open": 1} for row in rows]
        sample.insert_accesses(real_store, sent)
    sample.insert_accesses(real_store, rows)
    queries, found = Queries(real_store), list[AccessRecord]()
    after: tuple[int, str] | None = None
    while page := queries.accesses(7, resource=resource, after=after):
        assert len(page) == 7 or len(found) + len(page) == len(rows)
        found += page
        after = (page[-1].start_ns, page[-1].span_id)
    assert [(each.start_ns, each.span_id) for each in found] == sorted(
        ((each.start_ns, each.span_id) for each in found), reverse=True
    )
    assert len(found) == len(rows)
    assert {each.end_ns for each in found} == {row["end_ns"] for row in rows}
