"""Pydantic AI: who acts, and conversations that two save at once."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("pydantic_ai.tool_manager", reason="pydantic-ai-slim is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"


@pytest.mark.parametrize("way", ["tasks", "threads"])
def test_race_and_twin(way: str, account: str, tmp_path: Path) -> None:
    """Two agents in one process, each with its name, its conversation as run and its tool call as step."""
    played = play(tmp_path, "pydantic_ai_agents", "plain", account, way)
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert sorted(played.findings[0]["agents"]) == ["charger", "payer"]
    assert played.who(ACCOUNT) == {("payer", "c-payer", "call-payer-0"), ("charger", "c-charger", "call-charger-0")}
    safe = play(tmp_path, "pydantic_ai_agents", "safe", account, way)
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_two_tool_calls_of_one_agent_race(account: str, tmp_path: Path) -> None:
    """One agent is not one strand."""
    played = play(tmp_path, "pydantic_ai_agents", "plain", account, "parallel")
    assert played.kinds == [("lost_update", "likely")]
    assert played.who(ACCOUNT) == {("both", "c-both", "call-both-0"), ("both", "c-both", "call-both-1")}


def test_a_conversation_that_two_save(account: str, tmp_path: Path) -> None:
    """A store that looks at the revision refuses the second; one that does not loses the first's."""
    played = play(tmp_path, "pydantic_ai_agents", "plain", account, "conversation")
    assert played.output == "['saved', 'saved']\n"
    assert played.kinds == [("lost_update", "certain")]
    told = played.of("pydantic-ai://conversation/", "write")
    assert {each["scope"] for each in told} == {"noclobber.pydantic-ai"}
    safe = play(tmp_path, "pydantic_ai_agents", "safe", account, "conversation")
    assert safe.output == "['refused', 'saved']\n"
    assert safe.findings == []
    assert safe.summary["defended"] == {"rejected": 1}
    outcomes = [each["outcome"] for each in safe.of("pydantic-ai://conversation/", "write")]
    assert sorted(outcomes) == ["ok", "ok", "rejected"]
