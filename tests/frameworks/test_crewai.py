"""CrewAI: who acts in flows and crews, and what a flow's state holds."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("crewai", reason="crewai is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"


@pytest.mark.parametrize("way", ["flow", "async"])
def test_two_methods_of_a_flow(way: str, account: str, tmp_path: Path) -> None:
    """Listeners of one event race; the methods act, in the flow's run."""
    played = play(tmp_path, "crewai_agents", "plain", account, way)
    assert played.output.splitlines()[-1] == "done"
    assert played.kinds == [("lost_update", "likely")]
    assert sorted(played.findings[0]["agents"]) == ["deposit", "withdraw"]
    assert {(agent, str(step).split("-")[0]) for agent, _, step in played.who(ACCOUNT)} == {
        ("deposit", "deposit"), ("withdraw", "withdraw"),
    }  # fmt: skip
    assert len({run for _, run, _ in played.who(ACCOUNT)}) == 1
    safe = play(tmp_path, "crewai_agents", "safe", account, way)
    assert safe.findings == []
    assert safe.summary["defended"] == {"atomic": 2}


def test_the_state_of_a_flow(account: str, tmp_path: Path) -> None:
    """Each field counts its versions: what replaced an unseen one is certain; other fields do not conflict."""
    played = play(tmp_path, "crewai_agents", "plain", account, "state")
    assert played.kinds == [("lost_update", "certain")]
    assert sorted(played.findings[0]["agents"]) == ["deposit", "withdraw"]
    assert played.findings[0]["resource"].endswith("/balance")
    told = played.of("crewai://flow/")
    assert {each["scope"] for each in told} == {"noclobber.crewai"}
    safe = play(tmp_path, "crewai_agents", "safe", account, "state")
    assert safe.findings == []
    assert {each["resource"].rpartition("/")[2] for each in safe.of("crewai://flow/", "write")} == {"balance", "note"}


def test_two_crews(account: str, tmp_path: Path) -> None:
    """Agents act by their roles, each kickoff is a run."""
    played = play(tmp_path, "crewai_agents", "plain", account, "crew")
    assert played.output.splitlines()[-1] == "done done"
    assert played.kinds == [("lost_update", "likely")]
    assert {agent for agent, _, _ in played.who(ACCOUNT)} == {"payer", "charger"}
    assert len({run for _, run, _ in played.who(ACCOUNT)}) == 2
    assert all(str(step).startswith("deposit-") for _, _, step in played.who(ACCOUNT))
    safe = play(tmp_path, "crewai_agents", "safe", account, "crew")
    assert safe.findings == []
    assert safe.summary["defended"] == {"atomic": 2}
