"""Workers of a Pub/Sub subscription, under `noclobber run`: an order counted twice is found, its twin silent."""

from pathlib import Path

import pytest
from judging_agents import judged
from pubsub_stage import pubsub


@pytest.mark.parametrize("kind", ["stream", pytest.param("pull", marks=pytest.mark.long)])
def test_race_and_twin(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is given back after it was counted is counted again; acknowledged, it comes once."""
    found = []
    for how in ("plain", "safe"):
        with pubsub() as service:
            service.counts = True
            monkeypatch.setenv("PUBSUB_EMULATOR_HOST", service.address)
            words = (kind, how, str(tmp_path / f"{how}.db"))
            found.append(judged(tmp_path / f"{how}.jsonl", "orders.py", *words, scope="google-cloud-pubsub"))
    plain, safe = found
    assert (plain.kinds, plain.printed) == ([("duplicate_delivery", "certain")], "2\n")
    assert (safe.kinds, safe.printed) == ([], "1\n")
