"""Retention: settings reach the tables, what was not set stays, and what has run out leaves the disk."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_over_http import ClickHouseOverHttp
from made import accesses
from processes import wait_until

from noclobber_collector.errors import StoreUnusableError
from noclobber_collector.loader import Loader
from noclobber_collector.retention import KEPT, keep, kept_days, wanted_days
from noclobber_collector.segments import frame
from noclobber_collector.store import Store, open_store

DAY_MS = 86_400_000
TTL = (
    "SELECT name, extract(engine_full, 'toIntervalDay\\((\\d+)\\)') FROM system.tables "
    "WHERE database = currentDatabase()"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's data."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A server over it."""
    server = ClickHouseOverHttp(folder)
    yield server.url
    server.close()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The store, as it is made."""
    made = open_store(url)
    yield made
    made.close()


def test_every_table_that_grows_has_a_ttl(store: Store) -> None:
    """Explicit, from the start; the log of issues, some rows an issue, has one when it is set."""
    growing = "engine LIKE '%MergeTree' AND name NOT IN ('schema_migrations', 'transitions')"
    found = dict(store.rows(f"{TTL} AND {growing}"))
    assert all(int(days or 0) > 0 for days in found.values()), found
    assert {table for tables in KEPT.values() for table in tables} <= found.keys() | {"transitions"}


def test_settings_reach_the_tables_and_the_rest_stays(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By variable, by file; a command without them changes nothing."""
    (tmp_path / "noclobber.toml").write_text("[noclobber]\nkeep_findings_days = 77\nkeep_issues_days = 88\n")
    monkeypatch.setenv("NOCLOBBER_CONFIG", str(tmp_path / "noclobber.toml"))
    monkeypatch.setenv("NOCLOBBER_KEEP_ISSUES_DAYS", "99")
    open_store(url).close()
    monkeypatch.delenv("NOCLOBBER_CONFIG")
    monkeypatch.delenv("NOCLOBBER_KEEP_ISSUES_DAYS")
    store = open_store(url)
    found = dict(store.rows(TTL))
    assert (found["findings"], found["transitions"], found["accesses"]) == ("77", "99", "30")
    assert keep(store, {"keep_findings_days": 77}) == []
    assert (kept_days(store, "findings"), kept_days(store, "nowhere")) == (77, None)
    assert keep(store, {"keep_findings_days": 400, "keep_issues_days": 1100}) == ["findings", "transitions"]
    store.close()


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1.5", "99999999"])
def test_what_is_no_number_of_days_is_said(value: str) -> None:
    """Before anything is changed."""
    with pytest.raises(StoreUnusableError, match=r"keep_accesses_days is .* number of days"):
        wanted_days({"NOCLOBBER_KEEP_ACCESSES_DAYS": value})


def size(folder: Path) -> int:
    """Bytes of all files below."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # parts go while we look
            continue
    return found


@pytest.mark.long
@pytest.mark.timeout(400)
def test_what_has_run_out_leaves_the_disk(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old days whole, with their files; today's rows stay. Of findings, which lie mixed in one part, the old rows."""
    monkeypatch.chdir(tmp_path)
    spool = tmp_path / "spool"
    spool.mkdir()
    now = int(time.time() * 1000)
    for ago in range(20, 0, -1):
        number = now - ago * DAY_MS << 16
        (spool / f"{number:020d}.1000.seg").write_bytes(frame(accesses(1000).SerializeToString(), number, 1, b"local"))
    number = now << 16
    (spool / f"{number:020d}.1000.seg").write_bytes(frame(accesses(1000).SerializeToString(), number, 1, b"local"))
    loader = Loader(store, spool)
    loader.start()
    assert loader.stop(60)
    assert store.rows("SELECT count(), uniqExact(arrived) FROM accesses") == [(21_000, 21)]
    body = "".join(chr(33 + number * 7919 % 90) for number in range(20_000))
    ages = [(f"f{ago}-{n}", (now - ago * DAY_MS) * 1_000_000, body[n:]) for ago in (300, 1) for n in range(200)]
    store.insert("findings", ("id", "found_ns", "body"), ages)
    for table in ("accesses", "findings"):
        store.alter("ALTER TABLE {table}{on_cluster} MODIFY SETTING old_parts_lifetime = 1", table)
    before = size(folder)
    assert keep(store, {"keep_accesses_days": 5, "keep_findings_days": 100}) == [
        "accesses", "ingest", "defended", "findings",
    ]  # fmt: skip
    wait_until(lambda: store.rows("SELECT uniqExact(arrived) FROM accesses")[0][0] <= 6, 120, "the end of old days")
    wait_until(lambda: store.rows("SELECT count() FROM findings") == [(200,)], 120, "the end of old findings")
    left = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND NOT active AND table != 'ingest'"
    wait_until(lambda: store.rows(left) == [(0,)], 180, "the end of old parts")
    kept = store.rows("SELECT count() FROM accesses")[0][0]
    after = size(folder)
    print(f"\n{before:,} bytes before, {after:,} after; {kept:,} of 21,000 accesses kept")
    assert kept in (5_000, 6_000)
    assert after < before * 0.6
