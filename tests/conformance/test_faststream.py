"""FastStream's workers on real brokers, under `noclobber run`: handlers are agents, a race is found."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import broker_stage
import pytest
from judging_agents import judged

from noclobber_sidecar.demo.servers import redis_compatible

START, SUM = 1_000_000_100, 1_000_000_130


@contextlib.contextmanager
def address_of(broker: str, folder: Path) -> Iterator[str]:
    """A broker of that kind."""
    stages: dict[str, Any] = {
        "redis": redis_compatible, "nats": broker_stage.nats, "kafka": broker_stage.kafka,
        "rabbit": broker_stage.rabbitmq,
    }  # fmt: skip
    with stages[broker](folder) as found:
        yield found


def spans_of(text: str) -> list[dict[str, Any]]:
    """Attributes of each span in a file."""
    found = []
    for line in text.splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    found.append({each["key"]: next(iter(each["value"].values())) for each in span["attributes"]})
    return found


@pytest.mark.parametrize(
    "broker", ["redis", *(pytest.param(each, marks=pytest.mark.long) for each in ("nats", "kafka", "rabbit"))]
)
def test_race_and_twin(broker: str, tmp_path: Path) -> None:
    """Two handlers change one row: each is an agent, and what it writes carries the message that it works on."""
    partial = 2 if broker == "kafka" else 0  # receipts of which nobody can tell whether they are the first
    with address_of(broker, tmp_path) as address:
        words = (broker, "plain", address, str(tmp_path / "plain.db"))
        plain = judged(tmp_path / "plain.jsonl", "stations.py", *words, scope="sqlite3", partial=partial)
    safe_folder = tmp_path / "safe"
    safe_folder.mkdir()
    with address_of(broker, safe_folder) as address:
        words = (broker, "safe", address, str(safe_folder / "safe.db"))
        safe = judged(safe_folder / "safe.jsonl", "stations.py", *words, scope="sqlite3", partial=partial)
    assert plain.kinds == [("lost_update", "likely")]
    assert plain.findings[0]["agents"] == ["deposit", "withdraw"]
    assert plain.printed in (f"{START + 50}\n", f"{START - 20}\n")
    assert (safe.findings, safe.printed) == ([], f"{SUM}\n")
    assert safe.summary["defended"].get("rejected")
    writes = [each for each in spans_of(plain.spans) if each["noclobber.op"] == "write" and "noclobber.step" in each]
    assert {each["noclobber.agent"] for each in writes} == {"deposit", "withdraw"}
    received = {each["noclobber.message.id"] for each in spans_of(plain.spans) if each["noclobber.op"] == "receive"}
    assert {each["noclobber.message.id"] for each in writes} == received
    assert len({each["noclobber.step"] for each in writes}) == len(received) == 2
