"""Reading by column: the same accesses as row by row, whatever they say."""

from pathlib import Path
from typing import Any

import pytest
from every_kind import STORIES
from intake import Agent, Intake, Request, generated
from told_requests import told_requests

from noclobber_analyzer import columnar
from noclobber_analyzer.access import Access
from noclobber_analyzer.columnar import Stored, decoded, read_accesses
from noclobber_analyzer.rows import read_spans

ALL = "op != ''"
RESOURCE = "redis://cache:6379/0/acct:1"


def assert_the_same(store: Any) -> list[Stored]:
    """Each row is what it is when it is read by itself, and stands where its call was."""
    found = read_accesses(store, ALL, {})
    one_by_one = sorted(map(decoded, read_spans(store, ALL, {})), key=lambda row: row.place)
    assert sorted(found, key=lambda row: row.place) == one_by_one
    assert [type(row.item) for row in sorted(found, key=lambda row: row.place)] == [type(r.item) for r in one_by_one]
    assert [row.called_ns for row in found] == sorted(row.called_ns for row in found)
    return found


def _attributes(request: Request) -> list[dict[str, Any]]:
    attributes: list[dict[str, Any]] = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    return attributes


@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("versions", ["counter", "fingerprint"])
def test_generated_histories(intake: Intake, tmp_path: Path, mode: str, versions: str) -> None:
    """Reads, writes, locks, transactions, scans, messages and effects."""
    words = ("--ops", "1500", "--mode", mode, "--versions", versions, "--locked", "0.2", "--guarded", "0.3")
    intake.take(generated(tmp_path, *words, "--hosts", "2", "--skew", "50", "--inject", "phantom_read=3"))
    found = assert_the_same(intake.store)
    assert sum(isinstance(row.item, Access) for row in found) > 1500


def test_every_kind(intake: Intake) -> None:
    """What the stories of all kinds say."""
    for number, (_, told) in enumerate(sorted(STORIES.items())):
        intake.take(told_requests(told.text, number, **told.told_with))
    assert len(assert_the_same(intake.store)) > 2 * len(STORIES)


def test_what_is_odd(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words and types that nobody knows, facts that are missing, ids that are none, an end before the beginning."""
    monkeypatch.setattr(columnar._lately, "told", 0)
    agent = Agent("one")
    plain = [agent.read(RESOURCE, str(n), 1.0 + n) for n in range(3)]
    weak = agent.read(RESOURCE, "3", 5.0, version__weak=True, version__verbatim=False, size=0, ttl_ms=5)
    unknown = agent.write(RESOURCE, "3", "4", 6.0, guard="magic")
    newer = Agent("newer").write(RESOURCE, "3", "4", 6.5, guard="magic", content__numeric=True)
    for each in newer["resourceSpans"][0]["resource"]["attributes"]:
        if each["key"] == "noclobber.contract":
            each["value"] = {"stringValue": "2"}
    text = agent.read(RESOURCE, "5", 7.0)
    _attributes(text).append({"key": "noclobber.size", "value": {"stringValue": "large"}})
    missing = agent.read(RESOURCE, "5", 8.0)
    _attributes(missing)[:] = [each for each in _attributes(missing) if each["key"] != "noclobber.strand"]
    no_id = agent.read(RESOURCE, "6", 9.0)
    no_id["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "00" * 16
    backwards = agent.read(RESOURCE, "6", 10.0)
    span = backwards["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["startTimeUnixNano"], span["endTimeUnixNano"] = span["endTimeUnixNano"], span["startTimeUnixNano"]
    intake.take([*plain, weak, unknown, newer, text, missing, no_id, backwards, agent.mark(20.0, 20.0)])
    found = assert_the_same(intake.store)
    assert len(found) == 11
    assert sum(row.item is None for row in found) == 3
    assert any(isinstance(row.item, Access) and row.item.partial for row in found)


def test_nothing_is_there(intake: Intake) -> None:
    """A store without a row."""
    assert assert_the_same(intake.store) == []
