"""Google ADK: who acts, and what sessions hold."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("google.adk.runners", reason="google-adk is not installed: `nox -s frameworks`")

ACCOUNT = "redis://"


def test_race_and_twin(account: str, tmp_path: Path) -> None:
    """Two invocations: agents by name, the session as run, the tool call as step."""
    played = play(tmp_path, "google_adk_agents", "plain", account, "account")
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert played.who(ACCOUNT) == {("payer", "one", "call50"), ("charger", "two", "call-20")}
    safe = play(tmp_path, "google_adk_agents", "safe", account, "account")
    assert (safe.output, safe.findings) == (played.output, [])
    assert safe.summary["defended"]["atomic"] >= 2


def test_two_sessions_of_one_user(account: str, tmp_path: Path) -> None:
    """The user's keys are shared by all of their sessions; with a key each nothing is lost."""
    played = play(tmp_path, "google_adk_agents", "plain", account, "user")
    assert played.output == "['done', 'done']\n"
    assert played.kinds == [("lost_update", "likely")]
    assert played.findings[0]["resource"].endswith("/bank/user-1/balance")
    assert sorted(played.findings[0]["agents"]) == ["charger", "payer"]
    assert {each["scope"] for each in played.of("adk://")} == {"noclobber.google-adk"}
    safe = play(tmp_path, "google_adk_agents", "safe", account, "user")
    assert (safe.output, safe.findings) == (played.output, [])


def test_one_session_of_two_invocations(account: str, tmp_path: Path) -> None:
    """A service that keeps sessions in a database refuses who holds an older one."""
    played = play(tmp_path, "google_adk_agents", "plain", account, "stale", str(tmp_path / "sessions.db"))
    assert played.output == "['done', 'refused']\n"
    assert "lost_update" not in {kind for kind, _ in played.kinds}
    assert played.summary["defended"]["rejected"] >= 1
    assert played.of("sqlite://") == []
    assert {each["resource"].split("/")[3].partition("~")[0] for each in played.of("adk://session/")} == {"sessions.db"}


def test_one_after_the_other(account: str, tmp_path: Path) -> None:
    """Agents in a sequence, and invocations in a row, work on what those before them left."""
    played = play(tmp_path, "google_adk_agents", "plain", account, "sequence")
    assert played.output == "['10000160']\n"
    writes = [each for each in played.of("adk://session/", "write") if each["resource"].endswith("/state/balance")]
    assert len(writes) == 5
    assert played.findings == []
