"""The analyzer over Distributed tables: the same findings, live and again, and the same states of issues."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from intake import Intake, generated, with_ends
from one_shard import as_one_shard, server_of_one_shard
from streams import a_stream, run_dry

from noclobber.cli import main
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.issue_log import IssueKeeper, read_issues
from noclobber_collector.store import Store, open_store


@pytest.fixture
def spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, str]]:
    """The store on a cluster of one shard, and its URL."""
    server = server_of_one_shard(tmp_path)
    as_one_shard(monkeypatch)
    url = f"{server.url}/noclobber?cluster=main"
    store = open_store(url)
    yield store, url
    store.close()
    server.close()


def test_live_and_again_over_distributed_tables(
    spread: tuple[Store, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What live analysis writes there is what `analyze` finds there, and it writes nothing a second time."""
    store, url = spread
    intake = Intake(store, tmp_path / "spool")
    injected = ("--inject", "lost_update=2", "--inject", "dirty_read=2", "--guarded", "0.2")
    intake.take(with_ends(generated(tmp_path, "--ops", "200", *injected)))
    run_dry(a_stream(store))
    found = [finding.to_json() for finding in intake.findings()]
    assert len(found) > 3
    rows = store.rows("SELECT count() FROM findings_local")
    assert main(["analyze", "--format", "json", "--store", url]) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == found
    assert store.rows("SELECT count() FROM findings") == rows
    assert IssueKeeper(store, SYSTEM).turn()
    assert IssueKeeper(store, SYSTEM).turn() == []
    assert {view["state"] for view, _ in read_issues(store, SYSTEM).values()} == {"new"}
