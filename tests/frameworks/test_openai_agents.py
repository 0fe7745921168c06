"""OpenAI Agents SDK: who acts, what sessions hold; races found, safe twins silent."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("agents.run", reason="openai-agents is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"


@pytest.mark.parametrize("way", ["runs", "threads", "streamed"])
def test_race_and_twin(way: str, account: str, tmp_path: Path) -> None:
    """Two agents in one process, each with its name, its session as run and its tool call as step."""
    played = play(tmp_path, "openai_agents", "plain", account, way)
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert sorted(played.findings[0]["agents"]) == ["charger", "payer"]
    assert played.who(ACCOUNT) == {("payer", "s-payer", "call-payer"), ("charger", "s-charger", "call-charger")}
    safe = play(tmp_path, "openai_agents", "safe", account, way)
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_two_tool_calls_of_one_agent_race(account: str, tmp_path: Path) -> None:
    """One agent is not one strand; without a session the runner's call is the run."""
    played = play(tmp_path, "openai_agents", "plain", account, "parallel")
    assert played.kinds == [("lost_update", "likely")]
    assert {(agent, step) for agent, _, step in played.who(ACCOUNT)} == {("both", "call-1"), ("both", "call-2")}
    assert len({run for _, run, _ in played.who(ACCOUNT)}) == 1
    assert len({each["strand"] for each in played.of(ACCOUNT)}) == 2


def test_a_handoff_changes_the_agent(account: str, tmp_path: Path) -> None:
    """Whoever has the turn acts; one alone races with nobody."""
    played = play(tmp_path, "openai_agents", "safe", account, "handoff")
    assert played.who(ACCOUNT) == {("second", "s-first", "call-second")}
    assert played.findings == []


def test_runs_in_a_row_share_a_conversation(account: str, tmp_path: Path) -> None:
    """One after the other: nothing races, and each adds to what the one before left."""
    played = play(tmp_path, "openai_agents", "safe", account, "row")
    assert played.output == "['done', 'done', 'done']\n"
    assert {agent for agent, _, _ in played.who("openai-agents://")} == {"one", "two", "three"}
    assert played.findings == []


def test_two_runs_in_one_conversation(account: str, tmp_path: Path) -> None:
    """What two runs add to one session alternates; in sessions of their own nothing does."""
    file = str(tmp_path / "talk.db")
    played = play(tmp_path, "openai_agents", "plain", account, "session", file)
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("interleaved_writes", "likely")]
    told = played.of("openai-agents://session/talk.db~")
    assert {each["scope"] for each in told} == {"noclobber.openai-agents"}
    assert {each["op"] for each in told} == {"read", "update"}
    assert {each["agent"] for each in told} == {"left", "right"}
    assert played.of("sqlite://") == []
    safe = play(tmp_path, "openai_agents", "safe", account, "session", file)
    assert (safe.output, safe.findings) == (played.output, [])
