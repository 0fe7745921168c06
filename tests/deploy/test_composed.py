"""What `deploy/compose/compose.yaml` starts, started as plain processes: order, health, spans, upgrade, end.

There is no container engine and no ClickHouse server to test with: what stands in for both is said in `composed`.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from composed import Composed
from intake import Agent, Request
from processes import ask, wait_until
from shipped import DEPLOY
from streams import ACCOUNT

from noclobber_collector.segments import closed_segments
from noclobber_collector.store import open_store

OLD_SPOOL = Path(__file__).parents[1] / "faults" / "spools" / "format-1"
OLD_SPANS = 6
TOKEN = "change-me"
SHOWN = {"authorization": f"Bearer {TOKEN}"}

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


def race(resource: str) -> list[Request]:
    """Two agents computed from one version; the second write replaced the first."""
    first, second = Agent(f"one of {resource}"), Agent(f"two of {resource}")
    return [
        first.read(resource, "1", 1.0), second.read(resource, "1", 1.1),
        first.write(resource, "1", "2", 1.2, version__overwritten="1"),
        second.write(resource, "1", "3", 1.3, version__overwritten="2"), first.mark(2.0), second.mark(2.0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All services, healthy, over the spool that a former version left behind."""
    folder = tmp_path_factory.mktemp("composed")
    shutil.copytree(OLD_SPOOL, folder / "spool-volume" / "spool")
    with Composed(DEPLOY / "compose" / "compose.yaml", folder) as made:
        made.up()
        yield made


def send(composed: Composed, requests: list[Request], **headers: str) -> set[int]:
    """Send as an agent would; returns what was answered."""
    url = f"http://127.0.0.1:{composed.ports[4318]}/v1/traces"
    bodies = (json.dumps(each).encode() for each in requests)
    return {ask(url, body, content_type="application/json", **headers).status for body in bodies}


def found(composed: Composed, resource: str) -> list[dict[str, object]]:
    """What the API says of a resource."""
    url = f"http://127.0.0.1:{composed.ports[8501]}/api/v1/findings"
    listed = json.loads(ask(url, **SHOWN).body)
    return [each for each in listed["findings"] if each["resource"] == resource]


def test_services_start_when_what_they_need_is_healthy(composed: Composed) -> None:
    """ClickHouse, collector, then analyzer and dashboard; each is healthy by its own check, and by nobody else's."""
    assert composed.started[:2] == ["clickhouse", "collector"]
    assert sorted(composed.started) == sorted(composed.services)
    assert all(composed.is_healthy(name) for name in composed.started)


def test_the_spool_of_a_former_version_is_loaded(composed: Composed) -> None:
    """An upgrade loses nothing of what the version before had acknowledged."""
    url = composed.services["collector"]["environment"]["NOCLOBBER_STORE"]
    store = open_store(url.replace("clickhouse:8123", f"127.0.0.1:{composed.ports[8123]}"), prepare=False)
    try:
        wait_until(
            lambda: store.rows("SELECT count() FROM accesses WHERE strand = 'old'") == [(OLD_SPANS,)],
            60,
            "the old spans",
        )
    finally:
        store.close()


def test_a_race_that_agents_send_stands_on_the_api(composed: Composed) -> None:
    """With the token; without it agents and readers are turned away."""
    assert send(composed, race(ACCOUNT)) == {401}
    assert ask(f"http://127.0.0.1:{composed.ports[8501]}/api/v1/findings").status == 401
    assert send(composed, race(ACCOUNT), **SHOWN) == {200}
    wait_until(lambda: found(composed, ACCOUNT), 60, "the finding")
    assert [each["kind"] for each in found(composed, ACCOUNT)] == ["lost_update"]


def test_no_service_needs_more_memory_than_it_may_have(composed: Composed) -> None:
    """Half of its limit at most, at rest."""
    shares = {name: composed.rss(name) for name in composed.started if name != "clickhouse"}
    print({name: round(share, 2) for name, share in shares.items()})
    assert {name for name, share in shares.items() if share > 0.5} == set()


def test_a_collector_that_is_replaced_loses_nothing(composed: Composed) -> None:
    """`docker compose up` after a new image: the others go on, and what the old one acknowledged is judged."""
    other = ACCOUNT + "0"
    assert send(composed, race(other)[:3], **SHOWN) == {200}
    assert composed.stop("collector") == 0
    assert composed.is_healthy("analyzer")
    assert composed.is_healthy("dashboard")
    composed.start("collector")
    assert send(composed, race(other)[3:], **SHOWN) == {200}
    wait_until(lambda: found(composed, other), 60, "the finding of what both collectors took")


def test_all_end_in_order_and_in_time(composed: Composed) -> None:
    """With exit code 0 within their grace, no traceback, no secret in a log, and nothing left in the spool."""
    names = list(reversed(composed.started))
    logs = {name: composed.output(name) for name in names if name != "clickhouse"}
    assert {name: composed.stop(name) for name in names if name != "clickhouse"} == dict.fromkeys(logs, 0)
    composed.started.remove("clickhouse")
    composed.kill("clickhouse")
    spool = composed.folder / "spool-volume" / "spool"
    assert closed_segments(spool) == []
    assert list(spool.glob("*.open")) == []
    for name in logs:
        text = composed.output(name)
        assert "Traceback" not in text, text
        assert "change-me" not in text, name
