"""AutoGen: who acts, and what messages order."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("autogen_agentchat", reason="autogen-agentchat is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"


def test_two_subscribers_race(account: str, tmp_path: Path) -> None:
    """Each handles the message in its own task: the type is the agent, the topic's source the run."""
    played = play(tmp_path, "autogen_agents", "plain", account, "publish")
    assert played.output == "done\n"
    assert played.kinds == [("lost_update", "likely")]
    assert {(agent, run) for agent, run, _ in played.who(ACCOUNT)} == {("payer", "order-7"), ("charger", "order-7")}
    told = played.of("autogen://")
    assert {each["scope"] for each in told} == {"noclobber.autogen"}
    assert sorted(each["op"] for each in told) == ["receive", "receive", "send"]
    assert {each["step"] for each in played.of(ACCOUNT)} == {each["message.id"] for each in told}
    safe = play(tmp_path, "autogen_agents", "safe", account, "publish")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_who_is_asked_one_after_the_other_does_not_race(account: str, tmp_path: Path) -> None:
    """Messages and answers order them, though each works in a task of the runtime's."""
    played = play(tmp_path, "autogen_agents", "plain", account, "ask")
    assert {agent for agent, _, _ in played.who(ACCOUNT)} == {"payer", "charger", "planner"}
    assert played.findings == []
    assert len({each["strand"] for each in played.of(ACCOUNT)}) == 3
    bases = [each["version.base.source"] for each in played.of(ACCOUNT, "write")]
    assert bases == ["observed"] * 3


def test_two_assistants_race(account: str, tmp_path: Path) -> None:
    """Each acts under its name, in its own run, a tool call as step."""
    played = play(tmp_path, "autogen_agents", "plain", account, "chat")
    assert played.kinds == [("lost_update", "likely")]
    assert {(agent, step) for agent, _, step in played.who(ACCOUNT)} == {
        ("payer", "call-payer"), ("charger", "call-charger"),
    }  # fmt: skip
    assert len({run for _, run, _ in played.who(ACCOUNT)}) == 2
    safe = play(tmp_path, "autogen_agents", "safe", account, "chat")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_a_team_takes_turns(account: str, tmp_path: Path) -> None:
    """One after the other, by messages: nothing races."""
    played = play(tmp_path, "autogen_agents", "plain", account, "team")
    assert {agent for agent, _, _ in played.who(ACCOUNT)} == {"payer", "charger"}
    assert played.findings == []
