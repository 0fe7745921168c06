"""smolagents: who acts; races found, safe twins silent."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("smolagents", reason="smolagents is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"


@pytest.mark.parametrize("way", ["threads", "code"])
def test_race_and_twin(way: str, account: str, tmp_path: Path) -> None:
    """Two agents in threads, one that calls tools and one that writes code."""
    played = play(tmp_path, "smolagents_agents", "plain", account, way)
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert sorted(played.findings[0]["agents"]) == ["charger", "payer"]
    who = played.who(ACCOUNT)
    assert {agent for agent, _, _ in who} == {"payer", "charger"}
    assert len({run for _, run, _ in who}) == 2
    assert all(str(step).startswith("turn-1" if way == "code" else "deposit") for _, _, step in who)
    safe = play(tmp_path, "smolagents_agents", "safe", account, way)
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_two_tool_calls_of_one_agent_race(account: str, tmp_path: Path) -> None:
    """They run beside each other in one turn."""
    played = play(tmp_path, "smolagents_agents", "plain", account, "parallel")
    assert played.kinds == [("lost_update", "likely")]
    assert len(played.who(ACCOUNT)) == 2


def test_a_managed_agent_acts_under_its_name(account: str, tmp_path: Path) -> None:
    """In the run of the agent that asked it; alone it races with nobody."""
    played = play(tmp_path, "smolagents_agents", "safe", account, "managed")
    ((agent, run, _),) = played.who(ACCOUNT)
    assert agent == "clerk"
    assert str(run).startswith("run-")
    assert played.findings == []
