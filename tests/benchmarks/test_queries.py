"""How long do people and the API wait for what is asked most, over an hour of a million (or ten million) accesses?

The statements are the dashboard's own, through its `Queries`: the last ten seconds (the API's list, `since_ns`), who
contends for what in the last five minutes (the page of resources), and one resource's history. Keys are even, or few of
them are most of all (Zipf: the most wanted of 5,000 has an eighth of all accesses). The measure is the least of several
runs, in CPU time of all threads: where nothing else runs, nobody waits for longer than that. Beside it stands a
baseline of the same run, a look at every row's resource: what a question costs that nothing helps. Each answer is
compared with one made by the plainest statement. Run with `nox -s bench`; ten million: `-m "benchmark and long"`.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_report import Ratio

from noclobber_collector.store import Store, open_store
from noclobber_dashboard.queries import PAGE_MAX, SNAPSHOT_MAX, Queries
from noclobber_dashboard.statements import RESOURCES

HOUR_NS, MINUTE_NS, SECOND_NS = 3_600 * 10**9, 60 * 10**9, 10**9
KEYS = 5_000
BATCH = 250_000
SHOWN = 200
EVEN = "intHash64(number * 3 + 1) % {keys:UInt32}"
ZIPF = "toUInt64(pow({keys:UInt32}, (intHash64(number * 3 + 1) % 1000000) / 1000000)) - 1"
FILL = (
    "INSERT INTO accesses (collector, segment, row, minute, start_ns, end_ns, trace_id, span_id, process, clock, host, "
    "service, scope, span_name, op, resource, system, outcome, agent, strand, seq, run, step, unit, unit_kind, "
    "version_kind, version_read, version_base, version_base_source, version_written, guard, size, code_function_name, "
    "code_file_path, code_line_number) SELECT 'local', {segment:UInt64}, number, intDiv(at, 60000000000), at, "
    "at + 200000 + intHash32(number) % 1000000, sipHash128(number), "
    "reinterpretAsFixedString(intHash64(number)), toString(who % 8), 'c10c', 'machine', 'bank', 'noclobber.redis', "
    "if(number % 3, 'read redis', 'write redis'), if(number % 3, 'read', 'write'), "
    "concat('redis://127.0.0.1:6379/0/acct:', toString(KEY)), 'redis', 'ok', "
    "concat('agent-', toString(who % 20)), lower(hex(who)), intDiv(number, 200) + 1, concat('run-', toString(who)), "
    "concat('step-', lower(hex(intDiv(number, 20)))), concat('step-', lower(hex(intDiv(number, 20)))), 'step', "
    "'fingerprint', if(number % 3, lower(hex(intHash64(number + 7))), ''), "
    "if(number % 3, '', lower(hex(intHash64(number + 9)))), if(number % 3, '', 'observed'), "
    "if(number % 3, '', lower(hex(intHash64(number + 8)))), 'none', number % 4000, 'withdraw', "
    "'/srv/bank/withdraw.py', 31 FROM (SELECT number, intHash32(number) % 200 AS who, "
    "{begin:UInt64} + number * {gap:UInt64} AS at FROM numbers({first:UInt64}, {count:UInt64}))"
)


class Hour:
    """An hour of accesses, up to now."""

    def __init__(self, store: Store, rows: int, key: str) -> None:
        self.store, self.rows = store, rows
        self.end_ns = time.time_ns()
        self.queries = Queries(store, lambda: self.end_ns)
        store.command("TRUNCATE TABLE accesses")
        for first in range(0, rows, BATCH):
            store.command(
                FILL.replace("KEY", key),
                {"keys": KEYS, "segment": self.end_ns // 10**6 << 16 | first // BATCH, "first": first,
                 "count": min(BATCH, rows - first), "begin": self.end_ns - HOUR_NS, "gap": HOUR_NS // rows},
            )  # fmt: skip
        store.command("OPTIMIZE TABLE accesses FINAL")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("queries")
    store = open_store(f"chdb://{folder / 'store'}")
    yield store
    store.close()


def least_ms(ask: Callable[[], Any], runs: int = 7) -> tuple[float, float, Any]:
    """CPU and wall time, each the least of several runs, and the answer."""
    cpu, wall = [], []
    for _ in range(runs):
        begun, spent = time.perf_counter(), time.process_time()
        answer = ask()
        cpu.append((time.process_time() - spent) * 1e3)
        wall.append((time.perf_counter() - begun) * 1e3)
    return min(cpu), min(wall), answer


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rows", [1_000_000, pytest.param(10_000_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("key", [EVEN, ZIPF], ids=["even", "zipf"])
def test_questions_are_answered_at_once(store: Store, rows: int, key: str, ratio: Ratio) -> None:
    """Last ten seconds under 100 ms, contended resources of five minutes under 1 s, a history under 150 ms."""
    hour = Hour(store, rows, key)
    base_ms, *_ = least_ms(lambda: store.rows("SELECT uniqExact(resource) FROM accesses"), 3)
    print(f"\n{rows:,} accesses, {'zipf' if key == ZIPF else 'even'} keys; every row's resource once: {base_ms:.0f} ms")
    slow = {}
    for name, limit_ms, ask, right in questions(hour):
        took_ms, wall_ms, answer = least_ms(ask)
        print(f"{name:29}{took_ms:6.0f} ms of {limit_ms}, {took_ms / base_ms:5.2f} baselines; wall {wall_ms:.0f} ms")
        what = f"{rows:,} accesses, {'zipf' if key == ZIPF else 'even'}: {name}"
        ratio("queries", what, took_ms, "ms of CPU", "a look at each row", base_ms)
        assert answer == right
        if took_ms >= limit_ms:
            slow[name] = took_ms
    assert not slow


@pytest.mark.parametrize("key", [EVEN, ZIPF], ids=["even", "zipf"])
def test_questions_are_answered_right(store: Store, key: str) -> None:
    """Of fewer accesses, and however long it takes: so that a statement that changes does not wait for a benchmark."""
    for name, _, ask, right in questions(Hour(store, 20_000, key)):
        assert ask() == right, name


def questions(hour: Hour) -> list[tuple[str, int, Callable[[], Any], Any]]:
    """What is asked, how many milliseconds it may take, how it is asked, and what is right."""
    return [
        ("last 10 s, by the API", 100, hour_tail(hour), right_tail(hour, PAGE_MAX + 1)),
        ("last 10 s, by the page", 100, stream(hour), right_tail(hour, SHOWN)),
        ("contended, 5 min", 1_000, contended(hour), right_contended(hour)),
        ("history of the most wanted", 150, history(hour, 0), right_history(hour, 0)),
        ("history of one in the middle", 150, history(hour, KEYS // 2), right_history(hour, KEYS // 2)),
    ]


def hour_tail(hour: Hour) -> Callable[[], list[str]]:
    """As the API's list of accesses asks."""
    since = hour.end_ns - 10 * SECOND_NS
    return lambda: [each.span_id for each in hour.queries.accesses(PAGE_MAX + 1, since_ns=since)]


def stream(hour: Hour) -> Callable[[], list[str]]:
    """As the page of what happens now asks; what it remembers is forgotten."""

    def ask() -> list[str]:
        _, accesses = Queries(hour.store, lambda: hour.end_ns).stream(SHOWN, "", ())
        return [each.span_id for each in accesses]

    return ask


def right_tail(hour: Hour, limit: int) -> list[str]:
    return _spans(hour, "start_ns >= {since:UInt64}", limit, since=hour.end_ns - 10 * SECOND_NS)


def contended(hour: Hour) -> Callable[[], list[str]]:
    """As the page of resources asks, with five minutes for its window."""
    window = {"minute_from": hour.end_ns // MINUTE_NS - 5}
    asked = {"limit": SNAPSHOT_MAX, "skip": 0, "system": "", "text": "", **window}
    return lambda: [row["resource"] for row in hour.store.dicts(RESOURCES, asked)]


def right_contended(hour: Hour) -> list[str]:
    rows = hour.store.rows(
        "SELECT resource FROM (SELECT resource, uniqExact(strand) AS s, countIf(op = 'write') AS w FROM accesses "
        "WHERE minute >= {m:UInt32} GROUP BY resource) ORDER BY s > 1 DESC, w DESC, resource LIMIT {n:UInt32}",
        {"m": hour.end_ns // MINUTE_NS - 5, "n": SNAPSHOT_MAX},
    )
    return [resource for (resource,) in rows]


def history(hour: Hour, key: int) -> Callable[[], list[str]]:
    """As the page of one resource asks."""
    resource = f"redis://127.0.0.1:6379/0/acct:{key}"
    return lambda: [each.span_id for each in hour.queries.accesses(300, resource=resource)]


def right_history(hour: Hour, key: int) -> list[str]:
    return _spans(hour, "resource = {resource:String}", 300, resource=f"redis://127.0.0.1:6379/0/acct:{key}")


def _spans(hour: Hour, where: str, limit: int, **asked: object) -> list[str]:
    rows = hour.store.rows(
        f"SELECT lower(hex(span_id)) FROM accesses WHERE {where} ORDER BY start_ns DESC LIMIT {limit}",
        asked,
    )
    return [span_id for (span_id,) in rows]
