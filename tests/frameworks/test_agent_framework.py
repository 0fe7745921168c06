"""Microsoft's Agent Framework: who acts, and what a workflow's state holds."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("agent_framework", reason="agent-framework-core is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"
STATE = "agent-framework://state/"


def test_two_agents(account: str, tmp_path: Path) -> None:
    """Agents by name, their sessions as runs, tool calls as steps."""
    played = play(tmp_path, "agent_framework_agents", "plain", account, "agents")
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert played.who(ACCOUNT) == {("payer", "s-payer", "call-payer"), ("charger", "s-charger", "call-charger")}
    safe = play(tmp_path, "agent_framework_agents", "safe", account, "agents")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_two_executors(account: str, tmp_path: Path) -> None:
    """Executors of one superstep race; they act by their ids, in one run."""
    played = play(tmp_path, "agent_framework_agents", "plain", account, "workflow")
    assert played.output == "['done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert {agent for agent, _, _ in played.who(ACCOUNT)} == {"payer", "charger"}
    assert len({run for _, run, _ in played.who(ACCOUNT)}) == 1
    assert all(str(step).startswith(f"{agent}-") for agent, _, step in played.who(ACCOUNT))
    safe = play(tmp_path, "agent_framework_agents", "safe", account, "workflow")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_the_state_of_a_workflow(account: str, tmp_path: Path) -> None:
    """The last to set a value wins, and what it replaces is known; with a value each nothing is lost."""
    played = play(tmp_path, "agent_framework_agents", "plain", account, "state")
    assert played.kinds == [("lost_update", "certain")]
    assert sorted(played.findings[0]["agents"]) == ["charger", "payer"]
    assert {each["scope"] for each in played.of(STATE)} == {"noclobber.agent-framework"}
    safe = play(tmp_path, "agent_framework_agents", "safe", account, "state")
    assert (safe.output, safe.findings) == (played.output, [])
