"""What the recording lacks, in sentences that say what to do, over rows as a store gives them and over a real one."""

from typing import Any

import pytest
import sample

from noclobber.contract import FRONTIER_END
from noclobber_dashboard.lacks import lacks, mixed_keys, mixed_servers, state_of
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import ProcessRecord, ResourceHead

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def process(**changed: Any) -> ProcessRecord:
    """A process that ended in order and lost nothing."""
    words: dict[str, Any] = {
        "process": "p1", "service": "bank", "host": "h", "pid": 7, "clock": "c", "keys": ("k",),
        "frontier_ns": FRONTIER_END, "dropped": 0, "announced": 3, "received": 3, "holes": 0, "last_ns": NOW,
        "agents": ("a",),
    }  # fmt: skip
    return ProcessRecord(**{**words, **changed})


class Answers(Queries):
    """Questions with given answers."""

    def __init__(self, *processes: ProcessRecord, partial: int = 0, orphans: dict[str, int] | None = None) -> None:
        self._processes_given, self._partial, self._orphans_given = processes, partial, orphans or {}

    def processes(self) -> tuple[ProcessRecord, ...]:
        return self._processes_given

    def resources(self) -> list[ResourceHead]:
        return []

    def addresses(self) -> list[dict[str, Any]]:
        return []

    def orphans(self) -> dict[str, int]:
        return self._orphans_given

    def totals(self) -> dict[str, int]:
        return {"partial": self._partial}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Answers(process()), []),
        (Answers(process(holes=2)), ["2 accesses of bank (7) never arrived", "noclobber doctor"]),
        (Answers(process(dropped=1)), ["bank (7) had to drop 1 access", "NOCLOBBER_RING_MAX"]),
        (Answers(process(frontier_ns=1, last_ns=NOW - 11 * SECOND)), ["1 process fell silent", "killed"]),
        (Answers(process(), partial=3), ["3 accesses were captured only in part", "noclobber.access"]),
        (Answers(process(), orphans={"p1": 2}), ["2 strands of bank (7) were started", "instrument what starts them"]),
        (Answers(process(), orphans={"gone": 2}), []),
    ],
)
def test_each_lack_says_what_to_do(given: Queries, words: list[str]) -> None:
    """One sentence each, and none where nothing is missing."""
    said = lacks(given, NOW)
    assert len(said) == bool(words)
    assert all(word in said[0] for word in words)


def test_states_of_processes() -> None:
    """Ended, live, silent for more than ten seconds, or never heard of how far it is."""
    made = [process(), process(frontier_ns=NOW - SECOND), process(frontier_ns=5, last_ns=NOW - 11 * SECOND)]
    assert [state_of(record, NOW) for record in (*made, process(frontier_ns=0))] == [
        "ended", "live", "silent", "no marks",
    ]  # fmt: skip


def test_mixed_names() -> None:
    """Two keys count on one resource only; two addresses under one name, this machine's own being one."""
    head = ResourceHead("redis://h/0/x", "redis", 2, 1, 2, (), (), NOW, ("k1", "k2"))
    assert mixed_keys([sample.replace(head, keys=("k1",)), sample.replace(head, keys=("k2", ""))]) == []
    assert "redis://h/0/x" in mixed_keys([head])[0]
    assert "NOCLOBBER_KEY" in mixed_keys([head])[0]
    rows = [{"authority": "redis://h", "address": address} for address in ("127.0.0.1", "::1")]
    assert mixed_servers(rows) == []
    (said,) = mixed_servers([*rows, {"authority": "redis://h", "address": "10.0.0.9"}])
    assert "redis://h is answered by 2 addresses (10.0.0.9, loopback)" in said


def test_what_a_store_shows(filled: Any) -> None:
    """Over real rows: addresses by server, and a strand whose parent is in no row."""
    queries = Queries(filled)
    assert (queries.addresses(), queries.orphans(), lacks(queries, sample.bank()[0].last_ns)) == ([], {}, [])
    _, rows = sample.bank()
    marked = [
        {**row, "span_id": f"{0xFACE + n:016x}", "network_peer_address": f"10.0.0.{n % 2}", "seq": 1,
         "strand": f"orphan-{n}", "strand_parent": "nobody", "strand_parent_seq": 4}
        for n, row in enumerate(rows[:2])
    ]  # fmt: skip
    sample.insert_accesses(filled, marked)
    queries = Queries(filled)
    assert [tuple(row.values()) for row in queries.addresses()] == [
        ("redis://bank:6379", "10.0.0.0"), ("redis://bank:6379", "10.0.0.1"),
    ]  # fmt: skip
    assert sum(queries.orphans().values()) == 2
    said = " ".join(lacks(queries, sample.bank()[0].last_ns))
    assert "redis://bank:6379 is answered by 2 addresses" in said
    assert "started by strands of which nothing arrived" in said
