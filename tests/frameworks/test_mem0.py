"""mem0: two agents update one memory, or add one each."""

from pathlib import Path

import pytest
from framework_stage import play

pytest.importorskip("mem0", reason="mem0ai is not installed: `nox -s frameworks`")


@pytest.mark.parametrize("way", ["sync", "async"])
def test_race_and_twin(way: str, account: str, tmp_path: Path) -> None:
    """Of two updates from one text the first is lost; two additions are two memories."""
    for how in ("plain", "safe"):
        (tmp_path / how).mkdir()
    played = play(tmp_path, "mem0_agents", "plain", account, way, str(tmp_path / "plain"))
    assert played.output.splitlines()[-1] == "1"
    assert played.kinds == [("lost_update", "likely")]
    if way == "sync":  # a thread's own name names its agent
        assert sorted(played.findings[0]["agents"]) == ["barista", "doctor"]
    told = played.of("mem0://")
    assert {each["scope"] for each in told} == {"noclobber.mem0"}
    assert {each["op"] for each in told} == (
        {"read", "write", "scan", "delete"} if way == "sync" else {"scan", "write"}
    )
    assert played.of("sqlite://") == []
    safe = play(tmp_path, "mem0_agents", "safe", account, way, str(tmp_path / "safe"))
    assert safe.output.splitlines()[-1] == "3"
    assert safe.findings == []
