"""LlamaIndex workflows: who acts, and what the context's store holds."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("workflows.workflow", reason="llama-index-workflows is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"
STORE = "llama-index://store/"


def test_two_steps_race(account: str, tmp_path: Path) -> None:
    """Steps of one event: their names are the agents, the workflow's run the run."""
    played = play(tmp_path, "llama_index_agents", "plain", account, "account")
    assert played.output == "done\n"
    assert played.kinds == [("lost_update", "likely")]
    assert {agent for agent, _, _ in played.who(ACCOUNT)} == {"deposit", "withdraw"}
    ((run, *others),) = [sorted({str(run) for _, run, _ in played.who(ACCOUNT)})]
    assert (run != "None", others) == (True, [])
    assert all(str(step).startswith(f"{agent}-") for agent, _, step in played.who(ACCOUNT))
    safe = play(tmp_path, "llama_index_agents", "safe", account, "account")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_the_context_s_store(account: str, tmp_path: Path) -> None:
    """Two steps get, then set; `edit_state` keeps the other out."""
    played = play(tmp_path, "llama_index_agents", "plain", account, "store")
    assert played.kinds == [("lost_update", "likely")]
    assert sorted(played.findings[0]["agents"]) == ["deposit", "withdraw"]
    assert {each["scope"] for each in played.of(STORE)} == {"noclobber.llama-index-workflows"}
    safe = play(tmp_path, "llama_index_agents", "safe", account, "store")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"] == {"atomic": 2}


def test_one_step_after_the_other(account: str, tmp_path: Path) -> None:
    """The workflow's loop waits for a step before it starts the next: nothing races."""
    played = play(tmp_path, "llama_index_agents", "plain", account, "chain")
    assert played.output == "done 10000130\n"
    assert played.findings == []
    assert [each["op"] for each in played.of(STORE)] == ["write", "read", "write", "read", "write", "read"]
