"""Somebody else's `otel_traces` as a source: the same findings as through our own receiver."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from clickhouse_over_http import ClickHouseOverHttp
from exporter import export, make_table
from intake import Agent, Intake, Request, generated, written
from streams import ACCOUNT

from noclobber.cli import main
from noclobber_analyzer.history import History
from noclobber_analyzer.otel_traces import ForeignTableError, history_in_otel_traces
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_collector.store import Store, open_store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseOverHttp]:
    """A server with a collector's database."""
    made = ClickHouseOverHttp(tmp_path_factory.mktemp("engine"))
    first = open_store(made.url)
    first.command("CREATE DATABASE otel ENGINE = Atomic")
    first.close()
    yield made
    made.close()


@pytest.fixture
def otel(server: ClickHouseOverHttp) -> Iterator[Store]:
    """The collector's database, its table empty."""
    store = open_store(f"{server.url}/otel", prepare=False)
    make_table(store, "otel_traces")
    yield store
    store.close()


def all_kinds_of_things() -> list[Request]:
    """A lost update, with attributes of every type, links, foreign spans, an open call and a repeated span."""
    first, second = Agent("first"), Agent("second")
    requests = [
        first.read(ACCOUNT, "1", 1.0), second.read(ACCOUNT, "1", 1.1),
        first.write(ACCOUNT, "1", "2", 1.2, version__overwritten="1", version__verbatim=False),
        second.write(ACCOUNT, "1", "3", 1.3, version__overwritten="2", predicates=["a", "b"], size=0),
        first.mark(2.0), second.mark(2.0),
    ]  # fmt: skip
    foreign = json.loads(json.dumps(requests[0]))
    foreign["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = "opentelemetry.instrumentation.redis"
    opened = json.loads(json.dumps(first.read(ACCOUNT + "/2", "1", 3.0, open=True, part=["a", "b"])))
    span = opened["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["endTimeUnixNano"] = "0"
    edge = {"key": "noclobber.edge", "value": {"stringValue": "message"}}
    span["links"] = [{"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": [edge]}]
    return [*requests, foreign, opened, requests[3]]


def plain(history: History) -> list[object]:
    return [msgspec.to_builtins(access) for access in history.accesses]


@pytest.mark.parametrize("without", [(), ("ScopeName", "ScopeVersion")])
def test_the_same_accesses(otel: Store, tmp_path: Path, without: tuple[str, ...]) -> None:
    """Whatever the exporter's text was made of; in its tables of earlier versions, too."""
    requests = all_kinds_of_things()
    make_table(otel, "otel_traces", without)
    export(otel, "otel_traces", requests, without)
    here, there = history_in_otel_traces(otel), read_otlp([written(tmp_path, requests)])
    assert plain(here) == plain(there)
    assert len(here.accesses) == 5
    assert here.processes == there.processes
    assert here.coverage.frontiers == there.coverage.frontiers


def test_the_same_findings_as_by_our_own_receiver(
    server: ClickHouseOverHttp, otel: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From files, through receiver and store, out of the exporter's table and out of our own view of that name."""
    injected = ("--inject", "lost_update=2", "--inject", "dirty_read=2", "--guarded", "0.2")
    requests = generated(tmp_path, "--ops", "200", *injected)
    export(otel, "otel_traces", requests)
    ours = open_store(server.url)
    Intake(ours, tmp_path / "spool").take(requests)
    ours.close()
    told = []
    for words in (
        ("check", written(tmp_path, requests)),
        ("analyze", "--from-otel-traces", f"{server.url}/otel"),
        ("analyze", "--store", server.url),
        ("analyze", "--from-otel-traces", f"{server.url}/noclobber"),
    ):
        assert main([words[0], "--format", "json", *words[1:]]) == 1
        told.append(capsys.readouterr().out.splitlines())
    assert len(told[0]) > 4
    assert told[1] == told[0]
    assert told[2] == told[0]
    assert told[3][:-1] == told[0][:-1]  # the view has no marks, so the summary knows less


def test_nothing_is_written_and_a_stretch_is_kept_to(
    server: ClickHouseOverHttp, otel: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither findings nor tables; what came true outside of the stretch is not told."""
    export(otel, "otel_traces", all_kinds_of_things())
    tables = otel.rows("SHOW TABLES")
    where = ("--from-otel-traces", f"{server.url}/otel")
    assert main(["analyze", *where]) == 1
    assert "LOST UPDATE" in capsys.readouterr().out
    assert main(["analyze", *where, "--since", "2099-01-01"]) == 0
    assert otel.rows("SHOW TABLES") == tables


def test_tables_that_are_not_the_exporters_are_named(otel: Store) -> None:
    """With what is missing, and what to do."""
    with pytest.raises(ForeignTableError, match="has no table nowhere: name the exporter's database"):
        history_in_otel_traces(otel, "nowhere")
    make_table(otel, "otel_traces", ["Links.TraceId"])
    with pytest.raises(ForeignTableError, match=r"has no column Links\.TraceId"):
        history_in_otel_traces(otel)
    make_table(otel, "otel_traces", SpanAttributes="JSON")
    with pytest.raises(ForeignTableError, match="keeps attributes as JSON"):
        history_in_otel_traces(otel)


def test_sources_that_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one sentence."""
    assert main(["analyze", "--from-otel-traces", "http://127.0.0.1:1/otel"]) == 2
    assert "does not answer" in capsys.readouterr().err
    assert main(["analyze", "--from-otel-traces", "chdb:///nowhere"]) == 2
    assert "read from a server" in capsys.readouterr().err
