"""Forgetting a resource, a run or a service: nothing of it is left, in tables or in files, and all else is."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_over_http import ClickHouseOverHttp
from intake import Agent, Intake, Request
from on_disk import files_with

from noclobber.cli import CommandError, main
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.commands.forget import COMMAND
from noclobber_analyzer.forget import SAID, Target, forget, known_of
from noclobber_analyzer.issue_log import IssueKeeper, read_issues
from noclobber_collector.loader import Loader
from noclobber_collector.segments import closed_segments
from noclobber_collector.store import Store, open_store

SECRET = "redis://h:6379/0/person-zq7kw31"
OTHER = "redis://h:6379/0/shared"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's data."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ClickHouseOverHttp]:
    """A server over it."""
    made = ClickHouseOverHttp(folder)
    yield made
    made.close()


@pytest.fixture
def store(server: ClickHouseOverHttp, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A database of the test's own."""
    url = f"{server.url}/{request.node.name[:40].partition('[')[0]}"
    made = open_store(url)
    yield made
    made.close()


def race(resource: str, run: str, names: tuple[str, str]) -> list[Request]:
    """A lost update on a resource, in one run."""
    first, second = Agent(names[0]), Agent(names[1])
    said = {"run": run}
    return [
        first.read(resource, "1", 1.0, **said), second.read(resource, "1", 1.1, **said),
        first.write(resource, "1", "2", 1.2, version__overwritten="1", **said),
        second.write(resource, "1", "3", 1.3, version__overwritten="2", **said),
    ]  # fmt: skip


def judged(store: Store, url: str) -> list[str]:
    """Resources of the findings that hold, after a judgement of all that is stored and a turn of the issues."""
    main(["analyze", "--store", url])
    IssueKeeper(store, SYSTEM).turn()
    sql = "SELECT argMax(resource, revision) AS r FROM findings GROUP BY id HAVING argMax(status, revision) = 'open'"
    return sorted(str(row[0]) for row in store.rows(sql))


@pytest.mark.long
def test_nothing_of_a_resource_is_left_on_disk(
    store: Store, server: ClickHouseOverHttp, folder: Path, tmp_path: Path
) -> None:
    """Neither in rows nor in files nor after a restart of the collector; the other finding stands, issues know."""
    url = f"{server.url}/{store.rows('SELECT currentDatabase()')[0][0]}"
    intake = Intake(store, tmp_path / "spool")
    scan = Agent("lister").read("redis://h:6379/0/", "1", 3.0, result__resources=[SECRET, OTHER])
    intake.take([*race(SECRET, "r1", ("ann", "bob")), *race(OTHER, "r2", ("cid", "dan")), scan])
    assert judged(store, url) == sorted([SECRET, OTHER])
    assert len(files_with(folder, SECRET.encode())) >= 3  # accesses, findings, transitions
    assert known_of(store, Target(resource=SECRET))[:3] == (5, 1, 1)
    done = forget(store, Target(resource=SECRET), time.time_ns())
    assert done[:3] == (5, 1, 1)
    assert done.gone
    assert files_with(folder, SECRET.encode()) == []
    assert files_with(folder, b"person-zq7kw31") == []
    assert store.rows("SELECT count() FROM accesses") == [(4,)]
    retracted = (
        "SELECT explanation FROM (SELECT JSONExtractString(body, 'explanation') AS explanation, status FROM findings)"
    )
    assert (SAID,) in store.rows(retracted)
    assert judged(store, url) == [OTHER]
    assert sorted(view["state"] for view, _ in read_issues(store, SYSTEM).values()) == ["new", "retracted"]
    _restart_the_collector(store, tmp_path / "spool" / "local")
    assert store.rows("SELECT count() FROM accesses") == [(4,)]
    assert forget(store, Target(resource=SECRET), time.time_ns())[:3] == (0, 0, 0)


def _restart_the_collector(store: Store, spool: Path) -> None:
    """It counts again what it loaded lately."""
    assert any(segment.loaded for segment in closed_segments(spool, loaded=True))
    loader = Loader(store, spool)
    loader.start()
    assert loader.stop(30)
    assert loader.reloaded == 0


@pytest.mark.parametrize(
    "target",
    [
        Target(run="r1"),
        pytest.param(Target(service="ann"), marks=pytest.mark.long),
        pytest.param(Target(resource=SECRET[:-5] + "*"), marks=pytest.mark.long),
    ],
)
def test_by_run_service_and_beginning(store: Store, server: ClickHouseOverHttp, tmp_path: Path, target: Target) -> None:
    """Each takes its own rows and the findings on them, no others."""
    url = f"{server.url}/{store.rows('SELECT currentDatabase()')[0][0]}"
    for table in ("accesses", "findings", "transitions"):
        store.command(f"TRUNCATE TABLE {table}")
    requests = [*race(SECRET, "r1", ("ann", "bob")), *race(OTHER, "r2", ("cid", "dan"))]
    for each in requests[0], requests[2]:
        each["resourceSpans"][0]["resource"]["attributes"].append(
            {"key": "service.name", "value": {"stringValue": "ann"}}
        )
    Intake(store, tmp_path / "spool").take(requests)
    assert judged(store, url) == sorted([SECRET, OTHER])
    done = forget(store, target, time.time_ns(), wait_max_s=0.0)
    assert (done.accesses, done.findings) == (2 if target.service else 4, 1)
    assert store.rows("SELECT count() FROM accesses WHERE resource = {r:String}", {"r": OTHER}) == [(4,)]
    if not target.service:  # what a service replaced is seen later as the work of somebody unknown
        assert judged(store, url) == [OTHER]


def test_the_command(server: ClickHouseOverHttp, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --yes it only says what there is; everything at once is refused."""
    url = f"{server.url}/{store.rows('SELECT currentDatabase()')[0][0]}"
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    assert COMMAND.run(parser.parse_args(["--store", url, "--run", "r9"])) == 0
    assert "Nothing was deleted" in capsys.readouterr().out
    with pytest.raises(CommandError, match="that would be everything"):
        COMMAND.run(parser.parse_args(["--store", url, "--resource", "*"]))
